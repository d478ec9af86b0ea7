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
from train.augment import Augmentation
from train.question import Question, all_tracks
from train.teacher import Teacher

FloatArray = npt.NDArray[np.float32]


class Batch(NamedTuple):
    """``windows``: (batch, bands, frames) of each input; ``targets``: shares of the labels of each question, (batch,
    classes), all 0 where its answer is not known; ``lessons``: what a teacher says of each window, (batch, outputs),
    not numbers where it says nothing, and of no outputs where there is no teacher; ``soft_targets``: what it would
    answer to each question, as ``targets``, and none where it is not asked; ``tracks`` (batch,): which track each
    window is of. ``size`` is the number of windows in the batch over all processes, of which these are a share."""

    windows: tuple[Tensor, ...]
    targets: tuple[Tensor, ...]
    lessons: Tensor
    soft_targets: tuple[Tensor, ...]
    tracks: Tensor
    size: int


@dataclass(frozen=True, slots=True)
class LabelledFrames:
    """Features of many tracks, left where they are (in memory-mapped files) and looked up when windows are cut, so that
    other processes are sent no more of them than where they are.

    ``features[paths[i]]`` has those of each input, all of ``lengths[i]`` frames, (frames, bands); ``targets`` has the
    shares of the labels of each question, (tracks, classes): 1 for the one label of a track, all 0 where it has none;
    ``of_shares`` says which questions have shares of several labels; ``teacher`` says more about the tracks, and
    ``soft_targets`` what it would answer, question by question; ``recoded`` are features of the same tracks, of as many
    frames, after lossy codecs: one of each track a codec.
    """

    features: Mapping[Path, tuple[FloatArray, ...]]
    paths: tuple[Path, ...]
    lengths: Tensor
    targets: tuple[Tensor, ...]
    of_shares: tuple[bool, ...]
    teacher: Teacher | None = None
    soft_targets: Teacher | None = None
    recoded: tuple[Mapping[Path, tuple[FloatArray, ...]], ...] = ()

    @classmethod
    def join(
        cls,
        questions: Sequence[Question],
        features: Mapping[Path, tuple[FloatArray, ...]],
        teacher: Teacher | None = None,
        soft_targets: Teacher | None = None,
        recoded: tuple[Mapping[Path, tuple[FloatArray, ...]], ...] = (),
    ) -> Self:
        """Of the tracks of all questions, each once, in their order."""
        paths = tuple(track.path for track in all_tracks(questions))
        return cls(
            features,
            paths,
            torch.tensor([len(features[path][0]) for path in paths]),
            tuple(_targets(question, paths) for question in questions),
            tuple(question.of_shares for question in questions),
            teacher,
            soft_targets,
            recoded,
        )

    def describe(self) -> str:
        """How many tracks, and a digest that changes with their names, order, labels or lengths."""
        digest = hashlib.sha256()
        answers = torch.cat(self.targets, dim=1).tolist()
        for path, frames, answer in zip(self.paths, self.lengths.tolist(), answers, strict=True):
            digest.update(f"{path}\0{frames}\0{answer}\n".encode(errors="surrogateescape"))
        return f"{len(self.paths)} (digest of names, labels, lengths: {digest.hexdigest()[:12]})"

    def lessons(self, tracks: Tensor, offsets: Tensor) -> Tensor:
        """What the teacher says of windows that begin ``offsets`` (n,) frames into ``tracks`` (n,): (n, outputs)."""
        if self.teacher is None:
            return torch.empty(len(tracks), 0)
        return self.teacher.lessons([self.paths[track] for track in tracks.tolist()], offsets.tolist())

    def answers(self, tracks: Tensor, offsets: Tensor) -> tuple[Tensor, ...]:
        """What the teacher would answer of these windows, question by question, (n, classes): all 0 where it would not
        answer, and nothing at all where it is not asked."""
        if self.soft_targets is None:
            return ()
        said = self.soft_targets.lessons([self.paths[track] for track in tracks.tolist()], offsets.tolist())
        return torch.split(said.nan_to_num(), [targets.shape[1] for targets in self.targets], dim=1)

    def frames_of(self, at: int) -> Iterator[Tensor]:
        """The frames of input ``at``, (frames, bands), track by track."""
        for path in self.paths:
            yield torch.from_numpy(np.array(self.features[path][at]))

    def cut(
        self, tracks: Tensor, offsets: Tensor, frames: int, codecs: Sequence[int] | None = None
    ) -> tuple[Tensor, ...]:
        """Windows (n, bands, frames) of each input from ``tracks`` (n,): each made of slices of equal length that begin
        ``offsets`` (n, slices) frames into its track, joined in time. Where a track is too short it is repeated.
        ``codecs`` (n,) says after which codec each window is cut: 0 none, the track itself, 1 the first."""
        n, slices = offsets.shape
        length = frames // slices
        versions = (self.features, *self.recoded)
        sounds = [
            versions[codec][self.paths[track]] for track, codec in zip(tracks.tolist(), codecs or [0] * n, strict=True)
        ]
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
        batches = self._batches(len(tracks))
        draws = torch.randint(2**62, (len(batches), self.world), generator=random)[:, self.rank].tolist()
        for places, draw in zip(batches, draws, strict=True):
            mine = order[places][self.rank :: self.world]
            generator = torch.Generator().manual_seed(draw)
            batch = Batch(
                self.data.cut(tracks[mine], offsets[mine], self.frames, self._codecs(len(mine), generator)),
                tuple(each[tracks[mine]] for each in self.data.targets),
                self.data.lessons(tracks[mine], offsets[mine, 0]),
                self.data.answers(tracks[mine], offsets[mine, 0]),
                tracks[mine],
                len(places),
            )
            yield self._adjust(batch, generator)

    def _codecs(self, n: int, _draw: torch.Generator) -> list[int]:
        """After which codecs ``n`` windows are cut, as ``LabelledFrames.cut`` numbers them."""
        return [0] * n

    def _adjust(self, batch: Batch, _draw: torch.Generator) -> Batch:
        return batch


@dataclass(frozen=True)
class RandomSegments(Segments):
    """Windows from random places: ``per_file`` of each track, each joined from ``slices`` pieces, the share
    ``recoded_share`` of them after a lossy codec, and changed by the ``augmentation`` (the first input is)."""

    per_file: int = 1
    slices: int = 1
    recoded_share: float = 0.0
    augmentation: Augmentation | None = None

    def _windows(self, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        lengths = self.data.lengths
        tracks = torch.arange(len(lengths)).repeat_interleave(self.per_file)
        room = (lengths[tracks] - self.frames // self.slices + 1).clamp_min(1)
        places = torch.rand(len(tracks), self.slices, generator=draw, dtype=torch.float64)
        return tracks, (places * room[:, None]).long()

    def _codecs(self, n: int, draw: torch.Generator) -> list[int]:
        if not self.recoded_share:
            return [0] * n
        codecs = torch.randint(1, len(self.data.recoded) + 1, (n,), generator=draw)
        return torch.where(torch.rand(n, generator=draw) < self.recoded_share, codecs, 0).tolist()

    def _adjust(self, batch: Batch, draw: torch.Generator) -> Batch:
        if self.augmentation is None:
            return batch
        first, *others = batch.windows
        known = (batch.lessons, *batch.targets, *batch.soft_targets)
        first, (lessons, *answers) = self.augmentation.apply(first, known, draw)
        targets, soft = answers[: len(batch.targets)], answers[len(batch.targets) :]
        return batch._replace(
            windows=(first, *others), targets=tuple(targets), lessons=lessons, soft_targets=tuple(soft)
        )


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
