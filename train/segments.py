"""Training windows cut from the features of many tracks, a whole batch at a time."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.windowing import tile
from train.question import Question, all_tracks

FloatArray = npt.NDArray[np.float32]


class Batch(NamedTuple):
    """``windows``: (batch, bands, frames) of each input; ``targets``: shares of the labels of each question, (batch,
    classes), all 0 where its answer is not known; ``tracks`` (batch,): which track each window is of. ``size`` is the
    number of windows in the batch over all processes, of which these are a share."""

    windows: tuple[Tensor, ...]
    targets: tuple[Tensor, ...]
    tracks: Tensor
    size: int


@dataclass(frozen=True, slots=True)
class LabelledFrames:
    """Features of many tracks, left where they are (in memory-mapped files) and looked up when windows are cut, so that
    other processes are sent no more than where they are.

    ``features[paths[i]]`` has those of each input, all of ``lengths[i]`` frames, (frames, bands); ``targets`` has the
    shares of the labels of each question, (tracks, classes): 1 for the one label of a track, all 0 where it has none.
    """

    features: Mapping[Path, tuple[FloatArray, ...]]
    paths: tuple[Path, ...]
    lengths: Tensor
    targets: tuple[Tensor, ...]

    @classmethod
    def join(cls, questions: Sequence[Question], features: Mapping[Path, tuple[FloatArray, ...]]) -> Self:
        """Of the tracks of all questions, each once, in their order."""
        paths = tuple(track.path for track in all_tracks(questions))
        return cls(
            features,
            paths,
            torch.tensor([len(features[path][0]) for path in paths]),
            tuple(_targets(question, paths) for question in questions),
        )

    def describe(self) -> str:
        """How many tracks, and a digest that changes with their names, order, labels or lengths."""
        digest = hashlib.sha256()
        answers = torch.cat(self.targets, dim=1).tolist()
        for path, frames, answer in zip(self.paths, self.lengths.tolist(), answers, strict=True):
            digest.update(f"{path}\0{frames}\0{answer}\n".encode(errors="surrogateescape"))
        return f"{len(self.paths)} (digest of names, labels, lengths: {digest.hexdigest()[:12]})"

    def frames_of(self, at: int) -> Iterator[Tensor]:
        """The frames of input ``at``, (frames, bands), track by track."""
        for path in self.paths:
            yield torch.from_numpy(np.array(self.features[path][at]))

    def cut(self, tracks: Tensor, offsets: Tensor, frames: int) -> tuple[Tensor, ...]:
        """Windows (n, bands, frames) of each input from ``tracks`` (n,): each made of slices of equal length that begin
        ``offsets`` (n, slices) frames into its track, joined in time. Where a track is too short it is repeated."""
        n, slices = offsets.shape
        length = frames // slices
        sounds = [self.features[self.paths[track]] for track in tracks.tolist()]
        starts = offsets.tolist()
        windows = []
        for at, first in enumerate(sounds[0]):
            batch = np.empty((n, slices, length, first.shape[1]), dtype=np.float32)
            for row, sound in enumerate(sounds):
                values = sound[at]
                for piece, start in enumerate(starts[row]):
                    cut = values[start : start + length]
                    batch[row, piece] = cut if len(cut) == length else tile(cut, length)
            # The frames stay side by side in memory; frequency x time is a view of it.
            windows.append(torch.from_numpy(batch.reshape(n, frames, -1)).transpose(1, 2))
        return tuple(windows)


def _targets(question: Question, paths: Sequence[Path]) -> Tensor:
    by_path = {track.path: track for track in question.tracks}
    shares = torch.zeros(len(paths), len(question.labels))
    for row, path in enumerate(paths):
        track = by_path.get(path)
        if track is not None and track.shares:
            shares[row] = torch.tensor(track.shares)
        elif track is not None:
            shares[row, question.labels.index(track.label)] = 1.0
    return shares


@dataclass(frozen=True, slots=True)
class Gain:
    """A random level for each window of mel bands: up to ``most`` either way, in the features' unit, never below
    ``floor``."""

    most: float
    floor: float

    def apply(self, windows: tuple[Tensor, ...], random: Tensor) -> tuple[Tensor, ...]:
        """``windows`` at levels that follow from ``random`` (n,) in [0, 1)."""
        shift = ((random * 2 - 1) * self.most)[:, None, None]
        return tuple((each + shift).clamp_min(self.floor) for each in windows)


@dataclass(frozen=True)
class Segments(ABC):
    """One epoch of batches of windows of ``frames`` frames. The same ``seed`` gives the same epoch; None leaves the
    windows in the order of the tracks. Batches are as even as they can be: one of a single window would have no
    variance for a batch normalisation. With several processes, each (``rank`` of ``world``) takes its share of every
    batch."""

    data: LabelledFrames
    frames: int
    batch_size: int
    seed: int | None
    rank: int = 0
    world: int = 1

    @abstractmethod
    def _windows(self, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """Tracks (n,) and offsets (n, slices) of all windows, in the order of the tracks."""

    def __len__(self) -> int:
        return len(self._batches(len(self._windows(torch.Generator())[0])))

    @property
    def least_batch(self) -> int:
        """Windows in the smallest batch, over all processes."""
        return min(len(places) for places in self._batches(len(self._windows(torch.Generator())[0])))

    def _batches(self, windows: int) -> list[Tensor]:
        return list(torch.arange(windows).tensor_split(max(1, math.ceil(windows / self.batch_size))))

    def __iter__(self) -> Iterator[Batch]:
        random = torch.Generator().manual_seed(self.seed or 0)
        tracks, offsets = self._windows(random)
        order = torch.arange(len(tracks)) if self.seed is None else torch.randperm(len(tracks), generator=random)
        levels = torch.rand(len(tracks), generator=random)
        for places in self._batches(len(tracks)):
            mine = order[places][self.rank :: self.world]
            windows = self._adjust(self.data.cut(tracks[mine], offsets[mine], self.frames), levels[mine])
            targets = tuple(each[tracks[mine]] for each in self.data.targets)
            yield Batch(windows, targets, tracks[mine], len(places))

    def _adjust(self, windows: tuple[Tensor, ...], _random: Tensor) -> tuple[Tensor, ...]:
        return windows


@dataclass(frozen=True)
class RandomSegments(Segments):
    """Windows from random places: ``per_file`` of each track, each joined from ``slices`` pieces."""

    per_file: int = 1
    slices: int = 1
    gain: Gain | None = None

    def _windows(self, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        lengths = self.data.lengths
        tracks = torch.arange(len(lengths)).repeat_interleave(self.per_file)
        room = (lengths[tracks] - self.frames // self.slices + 1).clamp_min(1)
        places = torch.rand(len(tracks), self.slices, generator=draw, dtype=torch.float64)
        return tracks, (places * room[:, None]).long()

    def _adjust(self, windows: tuple[Tensor, ...], random: Tensor) -> tuple[Tensor, ...]:
        return windows if self.gain is None else self.gain.apply(windows, random)


@dataclass(frozen=True)
class ConsecutiveSegments(Segments):
    """Windows one after the other from each track's beginning, at most ``per_file`` of each (0: all), each beginning
    ``step`` frames after the one before. A track shorter than a window has one, repeated."""

    step: int = 1
    per_file: int = 0

    def _windows(self, draw: torch.Generator) -> tuple[Tensor, Tensor]:  # noqa: ARG002  # nothing is drawn
        counts = ((self.data.lengths - self.frames) // self.step + 1).clamp_min(1)
        if self.per_file:
            counts = counts.clamp_max(self.per_file)
        tracks = torch.arange(len(counts)).repeat_interleave(counts)
        first = (counts.cumsum(0) - counts).repeat_interleave(counts)
        return tracks, ((torch.arange(len(tracks)) - first) * self.step)[:, None]
