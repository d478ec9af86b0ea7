"""The network of Xu, Lv & Jia, "Convolutional Neural Networks System for the MIREX 2017 Audio Classification Tasks".

The paper's (section 2.3): kernels, filter counts and pools, zero padding at the border, ELU, dropout on the fully
connected layer, an input of several random slices joined in time (section 2.2; here 120 frames each).

Ours, where it is silent: the convolutions keep the size and the pools drop an incomplete last step; 200 hidden units;
dropout 0.5; Glorot uniform weights (the default of its TensorFlow 1.0) and zero biases; the standardisation of each mel
band in front.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from models.errors import ConfigError
from models.heads import Heads
from models.initialise import start_glorot_uniform
from models.normalise import Standardise

HIDDEN_UNITS = 200
DROPOUT = 0.5


class XuNetwork(nn.Module):
    """Three convolutions, two max-pools, one hidden layer, one linear layer for each head.

    Args:
        bands, frames: size of the input, mel bands x frames of the joined slices.
        heads: classes of each head by its name.

    Raises:
        ConfigError: the input is smaller than the pools need.
    """

    def __init__(self, *, bands: int, frames: int, heads: Mapping[str, int]) -> None:
        super().__init__()
        if bands < 4 or frames < 16:
            raise ConfigError(
                f"expected an input of at least 4 mel bands x 16 frames for the pools 2x8 and 2x2, "
                f"got {bands} mel bands x {frames} frames"
            )
        self.normalise = Standardise(bands)
        # TensorFlow's "same": a kernel of even length has one zero more after than before. ELU rises everywhere, so
        # pooling before it gives the same values for a fraction of the work.
        self.maps = nn.Sequential(
            nn.ZeroPad2d((5, 6, 4, 5)),
            nn.Conv2d(1, 30, (10, 12)),
            nn.MaxPool2d((2, 8)),
            nn.ELU(),
            nn.ZeroPad2d((1, 2, 1, 1)),
            nn.Conv2d(30, 30, (3, 4)),
            nn.MaxPool2d((2, 2)),
            nn.ELU(),
            nn.ZeroPad2d((2, 2, 0, 1)),
            nn.Conv2d(30, 60, (2, 5)),
            nn.ELU(),
        )
        self.hidden = nn.Sequential(
            nn.Flatten(),
            nn.Linear(60 * (bands // 4) * (frames // 16), HIDDEN_UNITS),
            nn.ELU(),
            nn.Dropout(DROPOUT),
        )
        self.heads = Heads(HIDDEN_UNITS, heads)
        start_glorot_uniform(self)

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """``features`` (batch, bands, frames), mel in decibels; returns each head's logits, (batch, classes)."""
        logits: dict[str, Tensor] = self.heads(self.hidden(self.maps(self.normalise(features).unsqueeze(1))))
        return logits
