"""A programme that the program itself makes up, so that the page moves on a machine without sound.

Its pieces differ as plainly as music does (strings, machines, swing, guitars), but they are not music: what a model
calls them says nothing about the model. They are named by what sounds, not by genres that a label would seem to deny.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count

import numpy as np

from stream import synthesis as play_on
from stream.pace import BLOCK_S, play
from stream.source import Chunk, FloatArray
from stream.synthesis import RATE_HZ, Random
from stream.threaded_source import Run, ThreadedSource

FADE_S = 1.5
SEED = 20
_BLOCK_FRAMES = round(BLOCK_S * RATE_HZ)
_PEAK = 0.7


class _Loop:
    """Some bars that repeat. What sounds beyond the end is heard at the beginning, so that there is no seam."""

    def __init__(self, *, beats: int, beats_per_minute: float) -> None:
        self.beats = beats
        self._frames_per_beat = 60.0 * RATE_HZ / beats_per_minute
        self.samples = np.zeros(round(beats * self._frames_per_beat), dtype=np.float32)
        self.beat_s = 60.0 / beats_per_minute

    def add(self, beat: float, sound: FloatArray, gain: float = 1.0) -> None:
        """Sound something at a beat, counted from 0."""
        where = (round(beat * self._frames_per_beat) + np.arange(len(sound))) % len(self.samples)
        self.samples[where] += gain * sound

    def finished(self) -> FloatArray:
        """The samples (frames,), as loud as the other loops."""
        return np.asarray(self.samples * (_PEAK / np.abs(self.samples).max()), dtype=np.float32)


def _plucked_strings(random: Random) -> FloatArray:
    loop = _Loop(beats=16, beats_per_minute=84)
    chords = ((57, 60, 64, 69), (53, 57, 60, 65), (48, 55, 60, 64), (55, 59, 62, 67))
    for bar, chord in enumerate(chords):
        loop.add(4 * bar, play_on.pluck(chord[0] - 12, 2.8, random, damping=0.998), 0.8)
        for eighth, voice in enumerate((0, 1, 2, 3, 2, 3, 1, 2)):
            loop.add(4 * bar + eighth / 2, play_on.pluck(chord[voice], 1.4, random), 0.6)
        loop.add(4 * bar + 2, play_on.pluck(chord[3] + 12, 2.0, random), 0.5)
    return loop.finished()


def _drum_machine(random: Random) -> FloatArray:
    loop = _Loop(beats=16, beats_per_minute=126)
    for beat in range(loop.beats):
        loop.add(beat, play_on.kick(), 1.0)
        loop.add(beat + 0.5, play_on.hat(random, decay_s=0.08), 0.35)
        if beat % 2:
            loop.add(beat, play_on.snare(random), 0.3)
        root = (33, 33, 36, 31)[beat // 4]
        for quarter, octave in enumerate((0, 0, 12, 0)):
            loop.add(beat + quarter / 4, play_on.saw_bass(root + octave, 0.11), 0.5)
            loop.add(beat + quarter / 4, play_on.saw_bass(root + (36, 43, 48, 51)[(3 * beat + quarter) % 4], 0.1), 0.35)
    return loop.finished()


def _walking_bass(random: Random) -> FloatArray:
    loop = _Loop(beats=16, beats_per_minute=150)
    walk = (41, 45, 48, 50, 51, 50, 48, 45, 46, 50, 53, 55, 48, 46, 45, 43)
    for beat, note in enumerate(walk):
        loop.add(beat, play_on.pluck(note, 0.55, random, damping=0.985), 1.0)
        loop.add(beat, play_on.ride(random), 0.35)
        if beat % 2:
            loop.add(beat + 2 / 3, play_on.ride(random), 0.25)
            loop.add(beat, play_on.hat(random), 0.25)
    for at, chord in (
        (2.67, (57, 60, 63, 67)),
        (6.67, (58, 62, 65, 69)),
        (9.67, (57, 62, 65)),
        (13.67, (58, 64, 67)),
    ):
        loop.add(at, play_on.organ(chord, 0.3), 0.1)
    return loop.finished()


def _guitars(random: Random) -> FloatArray:
    loop = _Loop(beats=16, beats_per_minute=140)
    for beat in range(loop.beats):
        root = (40, 43, 45, 38)[beat // 4]
        for half in (0.0, 0.5):
            loop.add(beat + half, play_on.power_chord(root, 0.5 * loop.beat_s), 0.5)
        loop.add(beat, play_on.hat(random, decay_s=0.12), 0.3)
        loop.add(beat, play_on.snare(random) if beat % 2 else play_on.kick(), 0.9)
    return loop.finished()


def _offbeat(random: Random) -> FloatArray:
    loop = _Loop(beats=16, beats_per_minute=76)
    for beat in range(loop.beats):
        chord = (57, 60, 64) if beat // 4 % 2 == 0 else (55, 59, 62)
        loop.add(beat + 0.5, play_on.organ(chord, 0.25), 0.3)
        loop.add(beat + 0.5, play_on.pluck(chord[2] + 12, 0.2, random), 0.3)
        loop.add(beat, play_on.hat(random), 0.2)
        if beat % 4 == 2:
            loop.add(beat, play_on.kick(), 0.9)
            loop.add(beat, play_on.snare(random), 0.4)
        for step, note in ((0.0, chord[0] - 24), (0.75, chord[1] - 24)):
            loop.add(beat + step, play_on.sub_bass(note, 0.3), 0.6)
    return loop.finished()


def _slow_beat(random: Random) -> FloatArray:
    loop = _Loop(beats=16, beats_per_minute=88)
    for bar in range(4):
        for beat, sound, gain in (
            *((b, play_on.kick(), 1.0) for b in (0.0, 0.75, 2.5)),
            *((b, play_on.snare(random), 0.7) for b in (1.0, 3.0)),
            *((b / 4, play_on.hat(random), 0.25) for b in range(0, 16, 2)),
            (0.0, play_on.sub_bass((33, 33, 29, 31)[bar], 1.2), 0.8),
            (2.5, play_on.sub_bass((33, 36, 29, 31)[bar], 0.6), 0.8),
        ):
            loop.add(4 * bar + beat, sound, gain)
    return loop.finished()


def _vowels(random: Random) -> FloatArray:
    loop = _Loop(beats=12, beats_per_minute=60)
    second = 0.0
    while second < loop.beats * loop.beat_s - 1.0:
        sound = play_on.syllable(random)
        loop.add(second / loop.beat_s, sound)
        second += len(sound) / RATE_HZ + float(random.choice([0.02, 0.02, 0.03, 0.35]))
    return loop.finished()


def _silence(_: Random) -> FloatArray:
    return np.zeros(RATE_HZ, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Section:
    """One piece of the programme: ``render`` makes the loop that is repeated for ``duration_s``."""

    name: str
    duration_s: float
    render: Callable[[Random], FloatArray]


SECTIONS = (
    Section("plucked strings", 32.0, _plucked_strings),
    Section("drum machine", 32.0, _drum_machine),
    Section("walking bass", 32.0, _walking_bass),
    Section("silence", 6.0, _silence),
    Section("electric guitars", 32.0, _guitars),
    Section("offbeat", 32.0, _offbeat),
    Section("vowels", 14.0, _vowels),
    Section("slow beat", 32.0, _slow_beat),
)


def programme() -> Iterator[tuple[Section, FloatArray]]:
    """The sections for ever, fading into each other, in blocks of 10 ms, samples (frames,). The same at every call."""

    def render(number: int) -> FloatArray:
        index = number % len(SECTIONS)
        return SECTIONS[index].render(np.random.default_rng([SEED, index]))

    fade_blocks = round(FADE_S / BLOCK_S)
    rising = np.sin(np.linspace(0.0, np.pi / 2, fade_blocks * _BLOCK_FRAMES, dtype=np.float32))
    falling = rising[::-1]
    before, before_at = np.zeros(_BLOCK_FRAMES, dtype=np.float32), 0
    # The next loop is made beside the present one, so that no block is late for it; three are in memory at most.
    with ThreadPoolExecutor(1, thread_name_prefix="demo") as beside:
        coming = beside.submit(render, 0)
        for number in count():
            section, loop, at = SECTIONS[number % len(SECTIONS)], coming.result(), 0
            coming = beside.submit(render, number + 1)
            for block in range(round(section.duration_s / BLOCK_S)):
                samples = _around(loop, at)
                if block < fade_blocks:
                    part = slice(at, at + _BLOCK_FRAMES)
                    samples = samples * rising[part] + _around(before, before_at + at) * falling[part]
                at += _BLOCK_FRAMES
                yield section, samples
            before, before_at = loop, at


def _around(loop: FloatArray, start: int) -> FloatArray:
    return np.take(loop, np.arange(start, start + _BLOCK_FRAMES), mode="wrap")


class Demo(ThreadedSource):
    """The programme above, mono. ``title`` names the section."""

    def __init__(self, *, speed: float = 1.0) -> None:
        super().__init__("demo", name="demo", live=math.isfinite(speed), synthetic=True)
        self._speed = speed

    def _produce(self, run: Run) -> Generator[Chunk]:
        self.sample_rate_hz = RATE_HZ
        yield from play(self._pieces(), run, sample_rate_hz=RATE_HZ, speed=self._speed)

    def _pieces(self) -> Iterator[tuple[FloatArray, int]]:
        for section, samples in programme():
            self.title = f"synthetic: {section.name}"
            yield samples[:, None], 0
