"""genrescope-base: our own network, a small residual network over mel bands whose weights know where a band lies.

What it takes from whom: residual blocks (He et al. 2016); a bias for every band after the first layer, because a
pattern means something else at another pitch, unlike an object elsewhere in a picture (Koutini et al., "Receptive-field
regularized CNNs for music classification and tagging", 2021, section 3, tell the network its frequency likewise); mean
and deviation over time instead of the mean alone (Snyder et al., "X-vectors", 2018).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.errors import ConfigError
from models.heads import Heads
from models.normalise import Standardise

_LEAST_VARIANCE = 1e-4
"""Below the root: its slope at nothing is without bound."""


class _Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut; halves both sides of the maps and may widen them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, maps: Tensor) -> Tensor:
        return torch.relu(self.maps(maps) + self.shortcut(maps))


class BaseNetwork(nn.Module):
    """A strided convolution, three residual blocks, statistics over time, an embedding, one linear layer a head.

    The convolutions see a picture without its level, the mean over the window; the embedding is told how loud it was.

    Args:
        bands, frames: size of the input, mel bands x frames.
        heads: classes of each head by its name.
        width: maps of the first layer; the blocks have two, four and six times as many.
        embedding: length of what all heads look at.
        dropout: of the statistics and of the embedding.

    Raises:
        ConfigError: the input is smaller than four halvings need.
    """

    def __init__(
        self,
        *,
        bands: int,
        frames: int,
        heads: Mapping[str, int],
        width: int = 24,
        embedding: int = 256,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        if bands < 16 or frames < 32:
            raise ConfigError(
                f"expected an input of at least 16 mel bands x 32 frames, got {bands} mel bands x {frames} frames"
            )
        self.normalise = Standardise(bands)
        self.stem = nn.Conv2d(1, width, 5, stride=2, padding=2)
        self.band_bias = nn.Parameter(torch.zeros(width, _halved(bands), 1))
        self.blocks = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.ReLU(),
            _Residual(width, 2 * width),
            _Residual(2 * width, 4 * width),
            _Residual(4 * width, 6 * width),
        )
        rows = bands
        for _ in range(4):
            rows = _halved(rows)
        statistics = 2 * 6 * width * rows + 1
        self.embedding = nn.Sequential(
            nn.BatchNorm1d(statistics),
            nn.Dropout(dropout),
            nn.Linear(statistics, embedding),
            nn.BatchNorm1d(embedding),
            nn.ReLU(),
        )
        self.dropout = nn.Dropout(dropout)
        self.embedding_length = embedding
        self.heads = Heads(embedding, heads)

    def embed(self, features: Tensor) -> Tensor:
        """``features`` (batch, bands, frames), log10 mel; returns what the heads look at, (batch, embedding)."""
        # The same music louder is the same picture, but for what lies at the floor; its level tells silence.
        level = features.mean((1, 2), keepdim=True)
        picture = self.normalise(features - level + self.normalise.mean.mean())
        maps = self.stem(picture.unsqueeze(1))
        # In half precision, where the maps are: sums of both would be in full.
        maps = self.blocks(maps + self.band_bias.to(maps.dtype))
        mean = maps.mean(3)
        deviation = (maps - mean.unsqueeze(3)).square().mean(3).add(_LEAST_VARIANCE).sqrt()
        statistics = torch.cat([mean, deviation], dim=1).flatten(1)
        embedded: Tensor = self.embedding(torch.cat([statistics, level[:, 0].to(statistics.dtype)], dim=1))
        return embedded

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """``features`` as ``embed``'s; returns each head's logits, (batch, classes)."""
        return self.answer(self.embed(features))

    def answer(self, embedded: Tensor) -> dict[str, Tensor]:
        """Each head's logits of what ``embed`` returned."""
        logits: dict[str, Tensor] = self.heads(self.dropout(embedded))
        return logits


def _halved(length: int) -> int:
    """What a convolution of stride two leaves, its border padded."""
    return (length + 1) // 2
