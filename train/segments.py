"""Training windows cut from features in memory, a whole batch at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from train.dataset import Track


class Batch(NamedTuple):
    """``windows`` (batch, n_mels, frames), and for each the index of its label and of its track, both (batch,)."""

    windows: Tensor
    targets: Tensor
    tracks: Tensor


@dataclass(frozen=True, slots=True)
class LabelledFrames:
    """Features of many tracks end to end: ``frames`` (all frames, n_mels); track ``i`` has ``lengths[i]`` of them from
    ``starts[i]`` on and the label ``targets[i]``. At 40 bands a thousand clips of 30 s take 160 MB."""

    frames: Tensor
    starts: Tensor
    lengths: Tensor
    targets: Tensor

    @classmethod
    def join(
        cls, tracks: Sequence[Track], features: Mapping[Path, npt.NDArray[np.float32]], labels: Sequence[str]
    ) -> Self:
        """Put the tracks' features end to end, in the order of ``tracks``."""
        pieces = [torch.from_numpy(features[track.path]) for track in tracks]
        lengths = torch.tensor([len(piece) for piece in pieces])
        return cls(
            frames=torch.cat(pieces),
            starts=lengths.cumsum(0) - lengths,
            lengths=lengths,
            targets=torch.tensor([labels.index(track.label) for track in tracks]),
        )

    def cut(self, tracks: Tensor, offsets: Tensor, frames: int) -> Tensor:
        """Windows (n, n_mels, frames) that begin ``offsets`` (n,) frames into ``tracks`` (n,)."""
        rows = (self.starts[tracks] + offsets)[:, None] + torch.arange(frames)
        return self.frames[rows].transpose(1, 2)


@dataclass(frozen=True)
class RandomSegments:
    """One epoch of segments from random positions: ``per_file`` of each track, all shuffled.

    ``gain_db`` shifts each segment's level by up to so many decibels either way; nothing falls below ``floor`` (log10).
    The same ``seed`` gives the same epoch.
    """

    data: LabelledFrames
    frames: int
    per_file: int
    batch_size: int
    seed: int
    gain_db: float
    floor: float

    def __len__(self) -> int:
        return math.ceil(len(self.data.targets) * self.per_file / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        random = torch.Generator().manual_seed(self.seed)
        tracks = torch.arange(len(self.data.targets)).repeat(self.per_file)
        tracks = tracks[torch.randperm(len(tracks), generator=random)]
        room = self.data.lengths[tracks] - self.frames + 1
        offsets = (torch.rand(len(tracks), generator=random, dtype=torch.float64) * room).long()
        # log10 of power: 10 dB are one unit.
        gains = (torch.rand(len(tracks), generator=random) * 2 - 1) * (self.gain_db / 10)
        for batch in range(0, len(tracks), self.batch_size):
            chosen = slice(batch, batch + self.batch_size)
            windows = self.data.cut(tracks[chosen], offsets[chosen], self.frames)
            if self.gain_db:
                windows = (windows + gains[chosen, None, None]).clamp_min(self.floor)
            yield Batch(windows, self.data.targets[tracks[chosen]], tracks[chosen])


@dataclass(frozen=True)
class ConsecutiveSegments:
    """Segments side by side from each track's beginning, at most ``per_file`` of each (None: all).

    Shuffled by ``seed``; in the order of the tracks if it is None.
    """

    data: LabelledFrames
    frames: int
    per_file: int | None
    batch_size: int
    seed: int | None

    def _counts(self) -> Tensor:
        counts = self.data.lengths // self.frames
        return counts if self.per_file is None else counts.clamp_max(self.per_file)

    def __len__(self) -> int:
        return math.ceil(int(self._counts().sum()) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        counts = self._counts()
        tracks = torch.arange(len(counts)).repeat_interleave(counts)
        first = (counts.cumsum(0) - counts).repeat_interleave(counts)
        offsets = (torch.arange(len(tracks)) - first) * self.frames
        if self.seed is not None:
            order = torch.randperm(len(tracks), generator=torch.Generator().manual_seed(self.seed))
            tracks, offsets = tracks[order], offsets[order]
        for batch in range(0, len(tracks), self.batch_size):
            chosen = slice(batch, batch + self.batch_size)
            windows = self.data.cut(tracks[chosen], offsets[chosen], self.frames)
            yield Batch(windows, self.data.targets[tracks[chosen]], tracks[chosen])
