"""The four networks of Veselinov, "Music Genre Classification Using Convolutional Neural Networks".

The paper's (section 2): TFLearn, an input of 1300 frames x 13 MFCC, the network "simple" layer by layer, and AlexNet,
VGG and GoogLeNet, which are taken from TFLearn's examples (VGG is the one of 19 layers; GoogLeNet's 5x5 convolution of
block 3b has no activation there, so it has none here). All of TFLearn's meanings hold: "same" padding at the end first,
``dropout(0.8)`` keeps 80 %, a local response normalisation of radius 5 whose alpha is not divided by its width,
convolutions that start uniform within ``sqrt(3 / inputs)``, dense layers that start from a normal distribution of 0.02
cut at two deviations, zero biases. All kernels are square, so frequency x time here equals his time x frequency.

Ours: the standardisation of each coefficient in front; the setting ``normalise=0`` leaves it out, as he did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.heads import Heads
from models.normalise import Standardise

_Layers = list[nn.Module]


def same_padding(size: int, *, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's "same" padding of one axis, (before, after): the output has ``ceil(size / stride)`` steps."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class SamePadding(nn.Module):
    """Pads the last two axes for the layer that follows, with ``value``: torch itself pads both ends alike."""

    def __init__(self, *, kernel: int, stride: int, value: float = 0.0) -> None:
        super().__init__()
        self.kernel, self.stride, self.value = kernel, stride, value

    def forward(self, image: Tensor) -> Tensor:
        """``image`` (batch, channels, height, width)."""
        height, width = image.shape[-2:]
        top, bottom = same_padding(height, kernel=self.kernel, stride=self.stride)
        left, right = same_padding(width, kernel=self.kernel, stride=self.stride)
        return functional.pad(image, (left, right, top, bottom), value=self.value)


def _convolution(inputs: int, filters: int, kernel: int, *, stride: int = 1) -> _Layers:
    if stride == 1 and kernel % 2:
        return [nn.Conv2d(inputs, filters, kernel, padding=kernel // 2)]
    return [SamePadding(kernel=kernel, stride=stride), nn.Conv2d(inputs, filters, kernel, stride)]


def _rectified(inputs: int, filters: int, kernel: int, *, stride: int = 1) -> _Layers:
    return [*_convolution(inputs, filters, kernel, stride=stride), nn.ReLU()]


def _pool(kernel: int) -> _Layers:
    # Minus infinity, because not every map that is pooled has gone through a ReLU.
    return [SamePadding(kernel=kernel, stride=2, value=float("-inf")), nn.MaxPool2d(kernel, 2)]


def _response_norm() -> nn.Module:
    # Torch divides alpha by the width of the window, TensorFlow does not.
    width = 2 * 5 + 1
    return nn.LocalResponseNorm(width, alpha=1e-4 * width, beta=0.75, k=1.0)


def _simple() -> _Layers:
    # ReLU never falls, so pooling before it gives the same values for a quarter of the work; so too below.
    return [
        *_convolution(1, 32, 2), *_pool(2), nn.ReLU(),
        *_convolution(32, 64, 2), *_pool(2), nn.ReLU(),
    ]  # fmt: skip


def _alexnet() -> _Layers:
    return [
        *_convolution(1, 96, 11, stride=4), *_pool(3), nn.ReLU(), _response_norm(),
        *_convolution(96, 256, 5), *_pool(3), nn.ReLU(), _response_norm(),
        *_rectified(256, 384, 3),
        *_rectified(384, 384, 3),
        *_convolution(384, 256, 3), *_pool(3), nn.ReLU(), _response_norm(),
    ]  # fmt: skip


def _vgg() -> _Layers:
    layers: _Layers = []
    inputs = 1
    for filters, convolutions in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _ in range(convolutions - 1):
            layers += _rectified(inputs, filters, 3)
            inputs = filters
        layers += [*_convolution(inputs, filters, 3), *_pool(2), nn.ReLU()]
    return layers


class Inception(nn.Module):
    """GoogLeNet's block: four branches over one input, joined.

    Args:
        inputs: channels in.
        ones: filters of the branch of 1x1 alone.
        threes, fives: filters of the 1x1 and of the 3x3 (5x5) after it.
        pooled: filters of the 1x1 after the max-pool.
        linear_fives: the 5x5 has no activation.
    """

    def __init__(
        self,
        inputs: int,
        *,
        ones: int,
        threes: tuple[int, int],
        fives: tuple[int, int],
        pooled: int,
        linear_fives: bool = False,
    ) -> None:
        super().__init__()
        five = _convolution(*fives, 5) if linear_fives else _rectified(*fives, 5)
        self.branches = nn.ModuleList(
            nn.Sequential(*layers)
            for layers in (
                _rectified(inputs, ones, 1),
                [*_rectified(inputs, threes[0], 1), *_rectified(*threes, 3)],
                [*_rectified(inputs, fives[0], 1), *five],
                [nn.MaxPool2d(3, 1, padding=1), *_rectified(inputs, pooled, 1)],
            )
        )

    def forward(self, image: Tensor) -> Tensor:
        """``image`` (batch, inputs, height, width); the height and the width stay."""
        return torch.cat([branch(image) for branch in self.branches], dim=1)


def _googlenet() -> _Layers:
    return [
        *_convolution(1, 64, 7, stride=2), *_pool(3), nn.ReLU(), _response_norm(),
        *_rectified(64, 64, 1),
        *_rectified(64, 192, 3), _response_norm(), *_pool(3),
        Inception(192, ones=64, threes=(96, 128), fives=(16, 32), pooled=32),
        Inception(256, ones=128, threes=(128, 192), fives=(32, 96), pooled=64, linear_fives=True),
        *_pool(3),
        Inception(480, ones=192, threes=(96, 208), fives=(16, 48), pooled=64),
        Inception(512, ones=160, threes=(112, 224), fives=(24, 64), pooled=64),
        Inception(512, ones=128, threes=(128, 256), fives=(24, 64), pooled=64),
        Inception(512, ones=112, threes=(144, 288), fives=(32, 64), pooled=64),
        Inception(528, ones=256, threes=(160, 320), fives=(32, 128), pooled=128),
        *_pool(3),
        Inception(832, ones=256, threes=(160, 320), fives=(32, 128), pooled=128),
        Inception(832, ones=384, threes=(192, 384), fives=(48, 128), pooled=128),
        # TensorFlow leaves the padding out of the mean.
        nn.AvgPool2d(7, 1, padding=3, count_include_pad=False),
        nn.Dropout(0.6),
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trunk:
    """What is between the input and the heads: ``layers`` end in ``channels`` maps of ``ceil(size / stride)`` steps
    each way; they are flattened and go through dense layers of ``dense`` units, each with activation and dropout."""

    layers: Callable[[], _Layers]
    channels: int
    stride: int
    dense: tuple[int, ...] = ()
    activation: type[nn.Module] = nn.ReLU
    dropout: float = 0.0

    def features(self, bands: int, frames: int) -> int:
        """Length of the flattened maps."""
        return self.channels * -(-bands // self.stride) * -(-frames // self.stride)


SIMPLE = Trunk(_simple, channels=64, stride=4, dense=(1024,), dropout=0.2)
ALEXNET = Trunk(_alexnet, channels=256, stride=32, dense=(4096, 4096), activation=nn.Tanh, dropout=0.5)
VGG = Trunk(_vgg, channels=512, stride=32, dense=(4096, 4096), dropout=0.5)
GOOGLENET = Trunk(_googlenet, channels=1024, stride=32)


class VeselinovNetwork(nn.Module):
    """One of the four trunks and one linear layer for each head. Any size of input will do: all padding is "same".

    Args:
        trunk: which of the four.
        bands, frames: size of the input, coefficients x frames.
        heads: classes of each head by its name.
        normalise: 1 to standardise each coefficient first, 0 to take them as they are.
    """

    def __init__(self, trunk: Trunk, *, bands: int, frames: int, heads: Mapping[str, int], normalise: int = 1) -> None:
        super().__init__()
        self.normalise = Standardise(bands) if normalise else nn.Identity()
        self.maps = nn.Sequential(*trunk.layers())
        self.dense = nn.Sequential(nn.Flatten())
        features = trunk.features(bands, frames)
        for units in trunk.dense:
            self.dense.extend([nn.Linear(features, units), trunk.activation(), nn.Dropout(trunk.dropout)])
            features = units
        self.heads = Heads(features, heads)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                bound = sqrt(3 / module.weight[0].numel())
                nn.init.uniform_(module.weight, -bound, bound)
            elif isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02, a=-0.04, b=0.04)
            if isinstance(module, nn.Conv2d | nn.Linear):
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """``features`` (batch, bands, frames), MFCC; returns each head's logits, (batch, classes)."""
        logits: dict[str, Tensor] = self.heads(self.dense(self.maps(self.normalise(features).unsqueeze(1))))
        return logits
