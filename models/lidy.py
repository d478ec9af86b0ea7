"""The three networks of Lidy & Schindler, "Parallel Convolutional Neural Networks for Music Genre and Mood
Classification", MIREX 2016.

The paper's: kernels, pools, filter counts, the merge by concatenation, 200 sigmoid units (section 2.2); LeakyReLU 0.3,
dropout 0.2, Glorot uniform (section 2.3). Ours, where it is silent or contradicts itself: valid padding (only this fits
its quoted feature maps, at 80 mel x 82 frames), zero biases (the default of Keras, which it used), and the
standardisation of each mel band in front.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from models.errors import ConfigError
from models.heads import Heads
from models.initialise import start_glorot_uniform
from models.normalise import Standardise

HIDDEN_UNITS = 200
LEAK = 0.3
DROPOUT = 0.2


@dataclass(frozen=True, slots=True)
class PipelineShape:
    """One convolution and the max-pool after it; sizes are (mel bands, frames)."""

    filters: int
    kernel: tuple[int, int]
    pool: tuple[int, int]

    def output(self, bands: int, frames: int) -> tuple[int, int, int]:
        """Shape of the pooled maps, (filters, bands, frames); sizes below 1 mean that the input is too small."""
        pooled_bands = (bands - self.kernel[0] + 1) // self.pool[0]
        pooled_frames = (frames - self.kernel[1] + 1) // self.pool[1]
        return self.filters, pooled_bands, pooled_frames


TIMBRAL = (PipelineShape(30, (10, 12), (1, 20)),)
"""Model 1 (section 2.2.1): pools along time, keeps the frequency axis."""
PARALLEL = (PipelineShape(32, (14, 15), (1, 17)), PipelineShape(32, (4, 8), (15, 1)))
"""Model 2 (section 2.2.2): a pipeline for frequency relations beside one for temporal relations."""
PARALLEL_FREQUENCY = (PipelineShape(30, (10, 12), (1, 20)), PipelineShape(30, (10, 34), (1, 20)))
"""Model 3 (section 2.2.3): two widths of filter, both pooled along time."""


class LidyNetwork(nn.Module):
    """Convolutional pipelines side by side over one input, joined in a hidden layer, one linear layer for each head.

    Args:
        pipelines: the convolutions; each sees the whole input.
        bands, frames: size of the input, mel bands x frames.
        heads: classes of each head by its name.

    Raises:
        ConfigError: the input is smaller than a pipeline's kernel and pool need.
    """

    def __init__(
        self, pipelines: tuple[PipelineShape, ...], *, bands: int, frames: int, heads: Mapping[str, int]
    ) -> None:
        super().__init__()
        shapes = [pipeline.output(bands, frames) for pipeline in pipelines]
        if any(min(shape) < 1 for shape in shapes):
            raise ConfigError(
                f"expected an input large enough for every kernel and pool of {list(pipelines)}, "
                f"got {bands} mel bands x {frames} frames"
            )
        self.normalise = Standardise(bands)
        self.pipelines = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(1, pipeline.filters, pipeline.kernel),
                # LeakyReLU rises everywhere, so pooling first gives the same values for a fifteenth of the work.
                nn.MaxPool2d(pipeline.pool),
                nn.LeakyReLU(LEAK),
                nn.Flatten(),
            )
            for pipeline in pipelines
        )
        self.hidden = nn.Linear(sum(prod(shape) for shape in shapes), HIDDEN_UNITS)
        self.dropout = nn.Dropout(DROPOUT)
        self.heads = Heads(HIDDEN_UNITS, heads)
        start_glorot_uniform(self)

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """``features`` (batch, bands, frames), log10 mel; returns each head's logits, (batch, classes)."""
        image = self.normalise(features).unsqueeze(1)
        joined = torch.cat([pipeline(image) for pipeline in self.pipelines], dim=1)
        logits: dict[str, Tensor] = self.heads(self.dropout(torch.sigmoid(self.hidden(joined))))
        return logits
