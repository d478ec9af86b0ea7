"""The three networks of Benito Calvino & Pacheco Garcia, "Data Input Approaches for CNNs towards Music Genre
Recognition".

The paper's (section V and figure 2): a first convolution for each kind of input, half the filters each where there are
two; two more convolutions, the output of the first added to that of the third; global max and average pooling, joined;
three dense layers; batch normalisation and ELU after each layer but the last; dropout 0.2 as an experiment that hurt.

Ours, where it is silent: 300 and 150 hidden units; weights that start as torch starts them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from models.errors import ConfigError
from models.heads import Heads

FILTERS = 256
HIDDEN_UNITS = (300, 150)

SPECTROGRAM_KERNEL = 4
"""Frames under the first kernel, which spans all bins: as a convolution over time, the bins are its channels."""
RAW_KERNEL = 3
"""Frames under the first kernel: 3072 samples moving by 1024 are three frames of 1024 samples moving by one, so that
no frame needs to be unrolled and the samples of a frame are the channels."""


def _activated(layer: nn.Module, features: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(layer, nn.BatchNorm1d(features), nn.ELU(), nn.Dropout(dropout))


class _Joined(nn.Module):
    """A convolution for each input, their maps joined as channels."""

    def __init__(self, convolutions: Sequence[nn.Conv1d]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(convolutions)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """One (batch, channels, frames) for each convolution."""
        return torch.cat([layer(each) for layer, each in zip(self.convolutions, inputs, strict=True)], dim=1)


class BenitoNetwork(nn.Module):
    """The residual network over magnitudes, samples or both.

    Args:
        kernels: frames under the first kernel of each input: ``SPECTROGRAM_KERNEL``, ``RAW_KERNEL`` or both.
        inputs: (bands, frames) of each: bins of a magnitude spectrum, samples of a raw frame. Beside a spectrogram
            the last raw frame is left over, so that both maps are as long.
        heads: classes of each head by its name.
        dropout: probability after each layer but the last.

    Raises:
        ConfigError: another number of inputs, unlike numbers of frames, or fewer frames than a kernel spans.
    """

    def __init__(
        self,
        kernels: tuple[int, ...],
        *,
        inputs: Sequence[tuple[int, int]],
        heads: Mapping[str, int],
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        lengths = {frames for _, frames in inputs}
        if len(inputs) != len(kernels) or len(lengths) != 1 or lengths.pop() < max(kernels):
            raise ConfigError(
                f"expected {len(kernels)} inputs of as many frames, at least {max(kernels)}, "
                f"got (bands, frames) {list(inputs)}"
            )
        self.excess = tuple(max(kernels) - kernel for kernel in kernels)
        filters = FILTERS // len(kernels)
        convolutions = [nn.Conv1d(bands, filters, k) for (bands, _), k in zip(inputs, kernels, strict=True)]
        self.first = _activated(_Joined(convolutions), FILTERS, dropout)
        self.rest = nn.Sequential(*(self._convolution(dropout) for _ in range(2)))
        features = 2 * FILTERS
        self.dense = nn.Sequential()
        for units in HIDDEN_UNITS:
            self.dense.append(_activated(nn.Linear(features, units), units, dropout))
            features = units
        self.heads = Heads(features, heads)

    @staticmethod
    def _convolution(dropout: float) -> nn.Module:
        # Three zeros keep the length; as in torch's and TensorFlow's "same", the odd one is at the end.
        layer = nn.Sequential(nn.ZeroPad1d((1, 2)), nn.Conv1d(FILTERS, FILTERS, 4))
        return _activated(layer, FILTERS, dropout)

    def forward(self, features: Tensor, second: Tensor | None = None) -> dict[str, Tensor]:
        """Each input (batch, bands, frames); returns each head's logits, (batch, classes)."""
        # Not ``*features``: torch's exporter would take them for one input.
        inputs = (features,) if second is None else (features, second)
        cropped = [each[..., : each.shape[-1] - excess] for each, excess in zip(inputs, self.excess, strict=True)]
        first = self.first(cropped)
        maps = first + self.rest(first)
        pooled = torch.cat([maps.amax(-1), maps.mean(-1)], dim=1)
        logits: dict[str, Tensor] = self.heads(self.dense(pooled))
        return logits
