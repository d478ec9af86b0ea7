"""Instruments for the demo: each makes one sound, float32 mono at ``RATE_HZ``, from numpy alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stream.source import FloatArray

RATE_HZ = 44_100

Random = np.random.Generator

_VOWELS_HZ = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
"""First three formants of five vowels (Peterson & Barney 1952)."""


def hertz(note: float) -> float:
    """Frequency of a MIDI note number (69 is A at 440 Hz)."""
    return float(440.0 * 2.0 ** ((note - 69.0) / 12.0))


def _seconds(duration_s: float) -> FloatArray:
    return np.arange(round(duration_s * RATE_HZ), dtype=np.float32) / np.float32(RATE_HZ)


def _shaped(sound: FloatArray, *, attack_s: float, decay_s: float) -> FloatArray:
    """A linear attack, an exponential decay, and an end without a click."""
    t = _seconds(len(sound) / RATE_HZ)
    ends = np.minimum(1.0, (t[-1] - t) / 0.005)
    return np.asarray(sound * np.minimum(1.0, t / attack_s) * np.exp(-t / decay_s) * ends, dtype=np.float32)


def _harmonics(frequency_hz: float, duration_s: float, amplitudes: Sequence[float]) -> FloatArray:
    t = _seconds(duration_s)
    audible = [(n, a) for n, a in enumerate(amplitudes, start=1) if n * frequency_hz < RATE_HZ / 2]
    total = sum(a * np.sin(2 * np.pi * n * frequency_hz * t) for n, a in audible)
    return np.asarray(total, dtype=np.float32)


def _hiss(random: Random, duration_s: float) -> FloatArray:
    """Noise without its low end."""
    noise = random.standard_normal(round(duration_s * RATE_HZ) + 2)
    return np.asarray(np.diff(noise, n=2) / 2, dtype=np.float32)


def pluck(note: float, duration_s: float, random: Random, *, damping: float = 0.996) -> FloatArray:
    """A plucked string (Karplus & Strong 1983): noise that goes round a delay line and loses its edges."""
    period = max(2, round(RATE_HZ / hertz(note)))
    line = random.uniform(-1.0, 1.0, period).astype(np.float32)
    turns = np.empty((-(-round(duration_s * RATE_HZ) // period), period), dtype=np.float32)
    for turn in turns:
        turn[:] = line
        line = damping * 0.5 * (line + np.roll(line, 1))
    sound = turns.ravel()[: round(duration_s * RATE_HZ)]
    return _shaped(sound, attack_s=0.002, decay_s=duration_s)


def saw_bass(note: float, duration_s: float) -> FloatArray:
    """A sawtooth whose upper harmonics are held back."""
    sound = _harmonics(hertz(note), duration_s, [1 / n / (1 + (n / 9) ** 2) for n in range(1, 40)])
    return _shaped(sound, attack_s=0.004, decay_s=duration_s)


def sub_bass(note: float, duration_s: float) -> FloatArray:
    """Almost a sine."""
    return _shaped(_harmonics(hertz(note), duration_s, [1.0, 0.15]), attack_s=0.01, decay_s=2 * duration_s)


def organ(notes: Sequence[float], duration_s: float) -> FloatArray:
    """A chord on drawbars, cut short."""
    total = sum(_harmonics(hertz(note), duration_s, [1.0, 0.6, 0.4, 0.3, 0.0, 0.15]) for note in notes)
    return _shaped(np.asarray(total, dtype=np.float32), attack_s=0.003, decay_s=0.12)


def power_chord(note: float, duration_s: float) -> FloatArray:
    """Root, fifth and octave through an overdriven amplifier and its cabinet."""
    amplitudes = [1 / n for n in range(1, 16)]
    strings = sum(_harmonics(hertz(note + step), duration_s, amplitudes) for step in (0.0, 7.02, 12.0))
    driven = np.tanh(6.0 * np.asarray(strings))
    cabinet = np.convolve(driven, np.hanning(14) / np.hanning(14).sum(), mode="same")
    return _shaped(cabinet.astype(np.float32), attack_s=0.003, decay_s=2.5 * duration_s)


def kick() -> FloatArray:
    """A bass drum: a sine that falls from 180 to 45 Hz."""
    t = _seconds(0.3)
    phase = 2 * np.pi * (45.0 * t + 135.0 * 0.03 * (1.0 - np.exp(-t / 0.03)))
    return _shaped(np.sin(phase), attack_s=0.001, decay_s=0.09)


def snare(random: Random) -> FloatArray:
    """A snare drum: a tone and its rattle."""
    rattle = 0.7 * _hiss(random, 0.22) + 0.5 * random.standard_normal(round(0.22 * RATE_HZ)).astype(np.float32)
    return _shaped(rattle + _harmonics(190.0, 0.22, [0.8, 0.4]), attack_s=0.001, decay_s=0.06)


def hat(random: Random, *, decay_s: float = 0.03) -> FloatArray:
    """A hi-hat, closed unless it decays slowly."""
    return _shaped(_hiss(random, 5 * decay_s), attack_s=0.001, decay_s=decay_s)


def ride(random: Random) -> FloatArray:
    """A ride cymbal: partials that belong to no note, and a hiss."""
    t = _seconds(0.7)
    partials = sum(np.sin(2 * np.pi * f * t) for f in (2_837.0, 3_643.0, 4_427.0, 5_381.0, 6_719.0, 8_123.0))
    return _shaped(
        0.12 * np.asarray(partials, dtype=np.float32) + 0.5 * _hiss(random, 0.7), attack_s=0.001, decay_s=0.2
    )


def syllable(random: Random) -> FloatArray:
    """A consonant and a vowel of a voice that says nothing."""
    duration_s = float(random.uniform(0.12, 0.24))
    pitch_hz = float(random.uniform(95.0, 135.0))
    formants_hz = _VOWELS_HZ[random.integers(len(_VOWELS_HZ))]

    def loudness(harmonic: int) -> float:
        peaks = (
            g * np.exp(-(((harmonic * pitch_hz - f) / 120.0) ** 2))
            for f, g in zip(formants_hz, (1.0, 0.6, 0.3), strict=True)
        )
        return float(sum(peaks)) + 0.02

    vowel = _harmonics(pitch_hz, duration_s, [loudness(n) for n in range(1, 32)])
    consonant = 0.5 * _hiss(random, float(random.uniform(0.03, 0.09)))
    parts = (_shaped(consonant, attack_s=0.01, decay_s=0.04), _shaped(vowel, attack_s=0.02, decay_s=0.2))
    return np.concatenate(parts)
