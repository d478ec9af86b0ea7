"""Standardisation as the first layer of a network, so that a model file carries it and live audio cannot forget it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Standardise(nn.Module):
    """``(x - mean) / deviation`` for each mel band; both are buffers, saved with the weights but not trained.

    Starts as the identity; ``fit`` sets it from training features.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, n_mels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_mels, 1))
        self.register_buffer("deviation", torch.ones(n_mels, 1))

    def forward(self, features: Tensor) -> Tensor:
        """``features`` (batch, n_mels, frames), log10 units; returns the same shape without unit."""
        return (features - self.mean) / self.deviation

    @torch.no_grad()
    def fit(self, frames: Tensor) -> None:
        """Take mean and deviation of each band from training features, ``frames`` (frames, n_mels)."""
        # float64 sums: a million frames lose digits in float32.
        wide = frames.double()
        self.mean.copy_(wide.mean(0)[:, None])
        # A band that never moves (above the bandwidth of every file) has no deviation; it must not become inf.
        self.deviation.copy_(wide.std(0, correction=0).clamp_min(1e-3)[:, None])
