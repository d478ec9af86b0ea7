"""The two networks of Zhang, "A study on music classification based on convolutional neural network".

The paper's: for one dimension (section III.A) 128 filters of width 3 without padding, ReLU, normal weights, batch
normalisation, max-pooling of 3 with stride 2, dropout 0.25, 128 hidden units; for two (section III.B) three blocks of
two 3x3 convolutions and a 2x2 pool, a global average, 128 hidden units; features scaled to [0, 1] (section IV.B).

Ours, where it is silent: the one-dimensional convolution runs over the frames and takes the mel bands as channels; the
two-dimensional one has no padding either; the scale runs from the least to the greatest value of the training files.
The rest is the default of Keras, whose layers it names: normal weights of deviation 0.05, Glorot uniform elsewhere,
zero biases, batch normalisation with a momentum of 0.99 and an epsilon of 0.001.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from models.errors import ConfigError
from models.heads import Heads
from models.initialise import start_glorot_uniform
from models.normalise import UnitRange

HIDDEN_UNITS = 128
DROPOUT = 0.25


def _start_as_keras(network: nn.Module) -> None:
    start_glorot_uniform(network)
    for module in network.modules():
        if isinstance(module, nn.Conv1d):
            nn.init.normal_(module.weight, std=0.05)
            assert module.bias is not None
            nn.init.zeros_(module.bias)


class Zhang1d(nn.Module):
    """Two convolutions over time, one hidden layer, one linear layer for each head.

    Args:
        bands, frames: size of the input, mel bands x frames.
        heads: classes of each head by its name.

    Raises:
        ConfigError: there are too few frames for the kernels and pools.
    """

    def __init__(self, *, bands: int, frames: int, heads: Mapping[str, int]) -> None:
        super().__init__()
        steps = frames
        for _ in range(2):
            steps = (steps - 2 - 3) // 2 + 1  # a kernel of 3, then a pool of 3 with stride 2
        if steps < 1:
            raise ConfigError(
                f"expected an input of at least 13 frames for the kernels and pools, "
                f"got {bands} mel bands x {frames} frames"
            )
        self.normalise = UnitRange()
        self.maps = nn.Sequential(*self._block(bands), *self._block(128))
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(128 * steps, HIDDEN_UNITS), nn.ReLU(), nn.Dropout(DROPOUT))
        self.heads = Heads(HIDDEN_UNITS, heads)
        _start_as_keras(self)

    @staticmethod
    def _block(channels: int) -> list[nn.Module]:
        return [
            nn.Conv1d(channels, 128, 3),
            nn.ReLU(),
            nn.BatchNorm1d(128, eps=1e-3, momentum=0.01),  # torch's momentum is the share of the new
            nn.MaxPool1d(3, 2),
            nn.Dropout(DROPOUT),
        ]

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """``features`` (batch, bands, frames), mel in decibels; returns each head's logits, (batch, classes)."""
        logits: dict[str, Tensor] = self.heads(self.hidden(self.maps(self.normalise(features))))
        return logits


class Zhang2d(nn.Module):
    """Six convolutions, a global average, one hidden layer, one linear layer for each head. Arguments: ``Zhang1d``."""

    def __init__(self, *, bands: int, frames: int, heads: Mapping[str, int]) -> None:
        super().__init__()
        if min(bands, frames) < 36:
            raise ConfigError(
                f"expected an input of at least 36 mel bands x 36 frames for the kernels and pools, "
                f"got {bands} mel bands x {frames} frames"
            )
        self.normalise = UnitRange()
        self.maps = nn.Sequential(*self._block(1, 32), *self._block(32, 64), *self._block(64, 128))
        self.hidden = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, HIDDEN_UNITS), nn.ReLU())
        self.heads = Heads(HIDDEN_UNITS, heads)
        _start_as_keras(self)

    @staticmethod
    def _block(channels: int, filters: int) -> list[nn.Module]:
        return [
            nn.Conv2d(channels, filters, 3),
            nn.ReLU(),
            nn.Conv2d(filters, filters, 3),
            # ReLU never falls, so pooling before it gives the same values for a quarter of the work.
            nn.MaxPool2d(2),
            nn.ReLU(),
        ]

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """``features`` (batch, bands, frames), mel in decibels; returns each head's logits, (batch, classes)."""
        logits: dict[str, Tensor] = self.heads(self.hidden(self.maps(self.normalise(features).unsqueeze(1))))
        return logits
