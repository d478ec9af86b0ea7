"""Xu's network against the sizes that the specification derives, for two joined slices and for one."""

from __future__ import annotations

import pytest
import torch
from network_checks import Shape, on_meta, parameters, shapes_of, stages
from torch import nn

from models.architectures import ARCHITECTURES


@pytest.mark.parametrize(
    ("slices", "maps", "flattened", "count"),
    [
        (2, [(30, 128, 240), (30, 64, 30), (30, 64, 30), (30, 32, 15), (60, 32, 15)], 28_800, 5_794_730),
        (1, [(30, 128, 120), (30, 64, 15), (30, 64, 15), (30, 32, 7), (60, 32, 7)], 13_440, 2_722_730),
    ],
)
def test_shapes_and_parameters(slices: int, maps: list[Shape], flattened: int, count: int) -> None:
    shape = (128, 120 * slices)
    network = on_meta("xu", shape)
    seen = stages(network, shape)
    assert shapes_of(seen, "Conv2d", "MaxPool2d") == maps
    assert shapes_of(seen, "Flatten", "Linear") == [(flattened,), (200,), (10,)]
    assert parameters(network) == count


def test_the_zeros_at_the_border_are_those_of_same_padding() -> None:
    network = on_meta("xu", (128, 240))
    pads = [layer.padding for layer in network.modules() if isinstance(layer, nn.ZeroPad2d)]
    kernels = [layer.kernel_size for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert kernels == [(10, 12), (3, 4), (2, 5)]
    for (left, right, top, bottom), (height, width) in zip(pads, kernels, strict=True):
        assert (top, bottom) == ((height - 1) // 2, height // 2)
        assert (left, right) == ((width - 1) // 2, width // 2)


def test_every_convolution_and_the_hidden_layer_go_through_elu_and_the_hidden_layer_through_dropout() -> None:
    torch.manual_seed(0)
    network = ARCHITECTURES["xu"](inputs=((128, 120),), heads={"genre": 10})
    assert sum(isinstance(layer, nn.ELU) for layer in network.modules()) == 4
    assert [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)] == [0.5]


def test_pooling_before_the_activation_changes_nothing() -> None:
    maps = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    pool, elu = nn.MaxPool2d((2, 8)), nn.ELU()
    assert torch.equal(pool(elu(maps)), elu(pool(maps)))
