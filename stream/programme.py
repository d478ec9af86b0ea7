"""Radio programmes made of labelled clips: what is on is known at every moment, so decisions on them can be measured.

Clips follow each other by hard cuts, crossfades, jingles and silences; within them somebody talks over the music, the
level jumps, a stretch goes through a lossy codec. All of it follows from a seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from models.audio import load
from models.errors import ConfigError
from models.recode import CODECS, recode
from stream import synthesis
from stream.source import FloatArray

T = TypeVar("T")

CROSSFADE_S: Final = 2.0
PIECES_S: Final = (18.0, 40.0)
"""Of so many seconds, from the shortest to the longest, pieces are: collections have clips of half a minute."""
SAME_LABEL_SHARE: Final = 0.2
"""Of the boundaries: another piece, but the same label. A good decision does not move."""

_BOUNDARIES: Final = {"cut": 0.4, "crossfade": 0.35, "jingle": 0.125, "silence": 0.125}
_EVENTS: Final = {"none": 0.4, "talk-over": 0.2, "level": 0.2, "codec": 0.2}
_REPEATED_BY_S: Final = 0.5
_DUCKED: Final = 10 ** (-12 / 20)
_LEVELS_DB: Final = (-18.0, 6.0)
_KBIT_S: Final = (24, 32, 48, 64)
_LOUDNESS: Final = 0.05
"""Root mean square that every clip is brought to: stations do so too, and a level must not give a label away."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A labelled recording to make programmes of."""

    path: Path
    label: str


@dataclass(frozen=True, slots=True)
class Stretch:
    """From ``start`` to ``end`` (seconds) this ``label`` is on; None where there is nothing to name: a jingle, silence,
    two pieces at once. ``event`` is what happens to the music on the way, ``boundary`` how it begins."""

    start: float
    end: float
    label: str | None
    boundary: str = "cut"
    event: str = "none"


@dataclass(frozen=True, slots=True)
class Programme:
    """``samples`` (n,) mono at ``sample_rate_hz``, and what is on, without a hole from 0 to the end."""

    samples: FloatArray
    sample_rate_hz: int
    stretches: tuple[Stretch, ...]

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.stretches[-1].end


class Composer:
    """Makes programmes of ``clips``, with ``speech`` to talk over them, at ``sample_rate_hz``; programme ``number`` of
    a ``seed`` is always the same. The next clip is any one of another label or, one time in five, of the same: a label
    of many clips is on more often than one of few, but less so than it has clips. Pieces are as long as the shortest
    and the longest of ``pieces_s`` say (seconds), or as their clip; one shorter than the shortest is repeated.

    Raises:
        ConfigError: clips of fewer than two labels; pieces of impossible lengths.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        *,
        speech: Sequence[Path] = (),
        sample_rate_hz: int,
        seed: int,
        pieces_s: tuple[float, float] = PIECES_S,
    ) -> None:
        labels = sorted({clip.label for clip in clips})
        if len(labels) < 2:
            raise ConfigError(f"expected clips of at least two labels to make programmes of, got {labels}")
        if not _REPEATED_BY_S < pieces_s[0] <= pieces_s[1] < math.inf:
            raise ConfigError(
                f"expected pieces of more than {_REPEATED_BY_S:g} seconds, the shortest first, "
                f"got {pieces_s[0]:g} to {pieces_s[1]:g}"
            )
        self._pieces_s = pieces_s
        self._clips = tuple(clips)
        self._speech = tuple(speech)
        self._rate = sample_rate_hz
        self._seed = seed

    def compose(self, number: int, *, minutes: float) -> Programme:
        """A programme of so many minutes, up to a clip more.

        Raises:
            AudioError: a clip cannot be read.
        """
        random = np.random.default_rng([self._seed, number])
        sound: list[FloatArray] = []
        stretches: list[Stretch] = []
        clip, boundary = _any(self._clips, random), "cut"
        while not stretches or stretches[-1].end < 60 * minutes:
            music, event = self._stretch(clip.path, random)
            self._join(sound, stretches, music, label=clip.label, boundary=boundary, event=event, random=random)
            same = random.random() < SAME_LABEL_SHARE
            clip = _any([each for each in self._clips if (each.label == clip.label) is same], random)
            boundary = _one_of(_BOUNDARIES, random)
        return Programme(np.concatenate(sound), self._rate, tuple(stretches))

    def _stretch(self, path: Path, random: np.random.Generator) -> tuple[FloatArray, str]:
        """A piece of a clip, and what is done to it."""
        music = _levelled(load(path, self._rate))
        shortest_s, longest_s = self._pieces_s
        length = round(random.uniform(shortest_s, longest_s) * self._rate)
        if len(music) < shortest_s * self._rate:
            music = _repeated(music, length, round(_REPEATED_BY_S * self._rate))
        begin = int(random.integers(max(1, len(music) - length + 1)))
        music = music[begin : begin + length].copy()
        event = _one_of(_EVENTS, random)
        if event == "talk-over" and not self._speech:
            event = "none"
        # In the middle half, so that what happens at the boundary and what happens within are told apart.
        part = slice(len(music) // 4, len(music) * 3 // 4)
        if event == "talk-over":
            voice = _levelled(load(_any(self._speech, random), self._rate))[: part.stop - part.start]
            music[part] *= _DUCKED
            music[part.start : part.start + len(voice)] += voice
        elif event == "level":
            music[part] *= 10 ** (random.uniform(*_LEVELS_DB) / 20)
        elif event == "codec":
            codec, kbit_s = str(random.choice(CODECS)), int(random.choice(_KBIT_S))
            music[part] = recode(music[part], self._rate, codec=codec, kbit_s=kbit_s)
        return music, event

    def _join(
        self,
        sound: list[FloatArray],
        stretches: list[Stretch],
        music: FloatArray,
        *,
        label: str,
        boundary: str,
        event: str,
        random: np.random.Generator,
    ) -> None:
        """Add music after what there is."""
        at = stretches[-1].end if stretches else 0.0
        if not stretches:
            boundary = "cut"
        if boundary == "crossfade":
            overlap = min(round(CROSSFADE_S * self._rate), len(music) // 2, len(sound[-1]) // 2)
            fade = np.linspace(0.0, 1.0, overlap, dtype=np.float32)
            before, sound[-1] = sound[-1][-overlap:], sound[-1][:-overlap]
            music[:overlap] = music[:overlap] * np.sqrt(fade) + before * np.sqrt(1 - fade)
            # Both are on: before the middle of it there is nothing to name, from there on it is the new one.
            last = stretches[-1]
            stretches[-1] = Stretch(last.start, at - overlap / self._rate, last.label, last.boundary, last.event)
            stretches.append(Stretch(at - overlap / self._rate, at - overlap / 2 / self._rate, None))
            at -= overlap / 2 / self._rate
            end = stretches[-2].end + len(music) / self._rate
        else:
            if boundary in ("jingle", "silence"):
                between = _jingle(self._rate, random) if boundary == "jingle" else _silence(self._rate, random)
                sound.append(between)
                stretches.append(Stretch(at, at + len(between) / self._rate, None))
                at = stretches[-1].end
            end = at + len(music) / self._rate
        sound.append(music)
        stretches.append(Stretch(at, end, label, boundary, event))


def _any(things: Sequence[T], random: np.random.Generator) -> T:
    return things[int(random.integers(len(things)))]


def _one_of(shares: dict[str, float], random: np.random.Generator) -> str:
    return str(random.choice(list(shares), p=list(shares.values())))


def _levelled(samples: FloatArray) -> FloatArray:
    rms = float(np.sqrt(np.mean(samples**2, dtype=np.float64)))
    return np.asarray(samples * np.float32(_LOUDNESS / max(rms, 1e-6)), dtype=np.float32)


def _repeated(music: FloatArray, length: int, overlap: int) -> FloatArray:
    """Over and over, to ``length`` samples at least; the end of one goes over into the beginning of the next."""
    overlap = min(overlap, len(music) // 2)
    fade = np.linspace(0.0, 1.0, overlap, dtype=np.float32)
    joint = music[len(music) - overlap :] * np.sqrt(1 - fade) + music[:overlap] * np.sqrt(fade)
    again = np.concatenate([joint, music[overlap : len(music) - overlap]])
    times = math.ceil(max(0, length - len(music)) / max(1, len(again))) + 1
    return np.concatenate([music[: len(music) - overlap], *[again] * times])


def _silence(rate: int, random: np.random.Generator) -> FloatArray:
    return np.zeros(round(random.uniform(1.0, 4.0) * rate), dtype=np.float32)


def _jingle(rate: int, random: np.random.Generator) -> FloatArray:
    """A few notes on an organ: a station's sign, of no genre."""
    notes = random.choice([60, 62, 64, 67, 69, 72], size=6)
    tune = np.concatenate([synthesis.organ([note, note + 7], random.uniform(0.25, 0.5)) for note in notes])
    # Nearest samples are near enough for a jingle.
    at = (np.arange(round(len(tune) * rate / synthesis.RATE_HZ)) * synthesis.RATE_HZ / rate).astype(int)
    return _levelled(tune[np.minimum(at, len(tune) - 1)])
