"""Normalisation as the first layer of a network, so that a model file carries it and live audio cannot forget it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from models.errors import DatasetError

_LEAST_SPREAD = 1e-3
"""A band that never moves (above the bandwidth of every file) must not be divided by zero."""


class Normaliser(nn.Module, ABC):
    """A layer whose constants are taken from training features: buffers, saved with the weights but not trained."""

    @abstractmethod
    def fit(self, chunks: Iterable[Tensor]) -> None:
        """Set the constants from all training features, streamed as ``chunks`` of shape (frames, bands).

        Raises:
            DatasetError: there is not one frame.
        """


class Standardise(Normaliser):
    """``(x - mean) / deviation`` for each band. The identity until ``fit``."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(bands, 1))
        self.register_buffer("deviation", torch.ones(bands, 1))

    def forward(self, features: Tensor) -> Tensor:
        """``features`` (batch, bands, frames) in their own unit; returns the same shape without unit."""
        return (features - self.mean) / self.deviation

    @torch.no_grad()
    def fit(self, chunks: Iterable[Tensor]) -> None:
        """Take mean and deviation of each band; see ``Normaliser.fit``."""
        frames = 0
        # float64 sums: a million frames lose digits in float32.
        total, squares = torch.zeros(2, len(self.mean), dtype=torch.float64)
        for chunk in chunks:
            wide = chunk.double()
            frames += len(wide)
            total += wide.sum(0)
            squares += wide.square().sum(0)
        _require_frames(frames)
        mean = total / frames
        variance = (squares / frames - mean.square()).clamp_min(0.0)
        self.mean.copy_(mean[:, None])
        self.deviation.copy_(variance.sqrt().clamp_min(_LEAST_SPREAD)[:, None])


class UnitRange(Normaliser):
    """From the training features' ``minimum .. maximum``, over all bands, to [0, 1]; what lies outside is clamped."""

    minimum: Tensor
    maximum: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("minimum", torch.tensor(0.0))
        self.register_buffer("maximum", torch.tensor(1.0))

    def forward(self, features: Tensor) -> Tensor:
        """``features`` (batch, bands, frames) in their own unit; returns the same shape in [0, 1]."""
        return ((features - self.minimum) / (self.maximum - self.minimum)).clamp(0.0, 1.0)

    @torch.no_grad()
    def fit(self, chunks: Iterable[Tensor]) -> None:
        """Take the least and the greatest value; see ``Normaliser.fit``."""
        frames, least, greatest = 0, float("inf"), float("-inf")
        for chunk in chunks:
            if len(chunk):
                frames += len(chunk)
                least, greatest = min(least, chunk.min().item()), max(greatest, chunk.max().item())
        _require_frames(frames)
        self.minimum.fill_(least)
        self.maximum.fill_(max(greatest, least + _LEAST_SPREAD))


def _require_frames(frames: int) -> None:
    if not frames:
        raise DatasetError("expected at least one frame of training features to normalise by, got none")
