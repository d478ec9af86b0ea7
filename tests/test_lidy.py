"""The Lidy & Schindler networks against the sizes that the paper quotes and the specification derives."""

from __future__ import annotations

import pytest
import torch
from network_checks import Shape, on_meta, parameters, shapes_of, stages
from torch import nn

from models.architectures import ARCHITECTURES
from models.lidy import LidyNetwork


@pytest.mark.parametrize(
    ("name", "shape", "convolved", "pooled", "count"),
    [
        ("lidy-timbral", (40, 80), [(30, 31, 69)], [(30, 31, 3)], 563_840),
        ("lidy-parallel", (40, 80), [(32, 27, 66), (32, 37, 73)], [(32, 27, 3), (32, 2, 73)], 1_462_818),
        ("lidy-parallel-frequency", (40, 80), [(30, 31, 69), (30, 31, 47)], [(30, 31, 3), (30, 31, 2)], 946_070),
        ("lidy-timbral", (80, 82), [(30, 71, 71)], [(30, 71, 3)], 1_283_840),
        # Section 2.2.2: 67 x 68 pooled to 67 x 4, and 5 x 75.
        ("lidy-parallel", (80, 82), [(32, 67, 68), (32, 77, 75)], [(32, 67, 4), (32, 5, 75)], 4_125_218),
        ("lidy-parallel-frequency", (80, 82), [(30, 71, 71), (30, 71, 49)], [(30, 71, 3), (30, 71, 2)], 2_146_070),
    ],
)
def test_shapes_and_parameters(
    name: str, shape: Shape, convolved: list[Shape], pooled: list[Shape], count: int
) -> None:
    network = on_meta(name, shape)
    seen = stages(network, shape)
    assert shapes_of(seen, "Conv2d") == convolved
    assert shapes_of(seen, "MaxPool2d") == pooled
    assert shapes_of(seen, "Linear") == [(200,), (10,)]
    assert parameters(network) == count


def test_pooling_before_the_activation_changes_nothing() -> None:
    maps = torch.randn(2, 4, 27, 66, generator=torch.Generator().manual_seed(0))
    pool, leak = nn.MaxPool2d((1, 17)), nn.LeakyReLU(0.3)
    assert torch.equal(pool(leak(maps)), leak(pool(maps)))


def test_initialisation_is_glorot_uniform_with_zero_biases() -> None:
    torch.manual_seed(0)
    network = ARCHITECTURES["lidy-parallel"](inputs=((40, 80),), heads={"genre": 10})
    assert isinstance(network, LidyNetwork)
    bound = (6 / (7264 + 200)) ** 0.5
    assert network.hidden.weight.abs().max() <= bound
    assert network.hidden.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.01)
    assert not network.hidden.bias.any()
