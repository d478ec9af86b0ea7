"""Veselinov's networks against the specification's sizes and TFLearn's meanings."""

from __future__ import annotations

import copy
from math import sqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from network_checks import Shape, on_meta, parameters, shapes_of, stages
from torch import nn

from models.architectures import ARCHITECTURES
from models.veselinov import same_padding

MFCC = (13, 1300)

SIMPLE = [(32, 13, 1300), (32, 7, 650), (64, 7, 650), (64, 4, 325)]
ALEXNET = [
    (96, 4, 325), (96, 2, 163), (256, 2, 163), (256, 1, 82),
    (384, 1, 82), (384, 1, 82), (256, 1, 82), (256, 1, 41),
]  # fmt: skip
VGG = [
    *[(64, 13, 1300)] * 2, (64, 7, 650),
    *[(128, 7, 650)] * 2, (128, 4, 325),
    *[(256, 4, 325)] * 4, (256, 2, 163),
    *[(512, 2, 163)] * 4, (512, 1, 82),
    *[(512, 1, 82)] * 4, (512, 1, 41),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "maps", "dense", "at_8", "at_10"),
    [
        ("simple", SIMPLE, [(83_200,), (1024,)], 85_214_440, 85_216_490),
        ("alexnet", ALEXNET, [(10_496,), (4096,), (4096,)], 63_533_768, 63_541_962),
        ("vgg", VGG, [(20_992,), (4096,), (4096,)], 122_824_648, 122_832_842),
    ],
)
def test_shapes_and_parameters(name: str, maps: list[Shape], dense: list[Shape], at_8: int, at_10: int) -> None:
    network = on_meta(f"veselinov-{name}", MFCC, classes=8)
    seen = stages(network, MFCC)
    assert shapes_of(seen, "Conv2d", "MaxPool2d") == maps
    assert shapes_of(seen, "Flatten", "Linear") == [*dense, (8,)]
    assert parameters(network) == at_8
    assert parameters(on_meta(f"veselinov-{name}", MFCC)) == at_10


def test_googlenet_shapes_and_parameters() -> None:
    network = on_meta("veselinov-googlenet", MFCC, classes=8)
    blocks: list[Shape] = []
    for module in network.modules():
        if type(module).__name__ in ("Inception", "AvgPool2d"):
            module.register_forward_hook(lambda _block, _arguments, maps: blocks.append(tuple(maps.shape[1:])))
    seen = stages(network, MFCC)
    stem = [(64, 7, 650), (64, 4, 325), (64, 4, 325), (192, 4, 325), (192, 2, 163)]
    assert shapes_of(seen, "Conv2d", "MaxPool2d")[:5] == stem
    assert blocks == [
        (256, 2, 163), (480, 2, 163),
        (512, 1, 82), (512, 1, 82), (512, 1, 82), (528, 1, 82), (832, 1, 82),
        (832, 1, 41), (1024, 1, 41), (1024, 1, 41),
    ]  # fmt: skip
    assert shapes_of(seen, "Flatten", "Linear") == [(41_984,), (8,)]
    assert parameters(network) == 6_303_160
    assert parameters(on_meta("veselinov-googlenet", MFCC)) == 6_387_130


@given(size=st.integers(1, 2000), kernel=st.integers(1, 12), stride=st.integers(1, 4))
def test_same_padding_gives_a_step_for_every_stride_and_pads_the_end_first(size: int, kernel: int, stride: int) -> None:
    before, after = same_padding(size, kernel=kernel, stride=stride)
    assert 0 <= before <= after <= before + 1
    if kernel >= stride:
        assert (size + before + after - kernel) // stride + 1 == -(-size // stride)
    if before + after:  # no more than is needed
        assert (size + before + after - kernel) % stride == 0


@pytest.mark.parametrize(("size", "kernel", "stride", "expected"), [(1300, 11, 4, (3, 4)), (13, 2, 2, (0, 1))])
def test_same_padding_is_tensorflows(size: int, kernel: int, stride: int, expected: tuple[int, int]) -> None:
    assert same_padding(size, kernel=kernel, stride=stride) == expected


def test_padding_never_wins_a_max_pool() -> None:
    network = ARCHITECTURES["veselinov-simple"](inputs=((5, 5),), heads={"genre": 2})
    padding, pool = network.maps[2], network.maps[3]
    assert pool(padding(torch.full((1, 1, 5, 5), -3.0))).tolist() == [[[[-3.0] * 3] * 3]]


def test_the_mean_of_googlenet_leaves_the_padding_out() -> None:
    (mean,) = (layer for layer in on_meta("veselinov-googlenet", MFCC).modules() if isinstance(layer, nn.AvgPool2d))
    assert torch.allclose(mean(torch.ones(1, 1, 1, 41)), torch.ones(1, 1, 1, 41))


@pytest.mark.parametrize("name", ["alexnet", "googlenet"])
def test_the_response_norm_is_tensorflows(name: str) -> None:
    norms = [layer for layer in on_meta(f"veselinov-{name}", MFCC).modules() if isinstance(layer, nn.LocalResponseNorm)]
    assert len(norms) == {"alexnet": 3, "googlenet": 2}[name]
    maps = 30 * torch.rand(1, 20, 1, 1, generator=torch.Generator().manual_seed(0))
    values = maps.flatten()
    expected = [values[i] / (1 + 1e-4 * values[max(0, i - 5) : i + 6].square().sum()) ** 0.75 for i in range(20)]
    for norm in norms:
        assert torch.allclose(norm(maps).flatten(), torch.stack(expected))


@pytest.mark.parametrize(
    ("name", "rates"), [("simple", [0.2]), ("alexnet", [0.5, 0.5]), ("vgg", [0.5, 0.5]), ("googlenet", [0.6])]
)
def test_dropout_is_what_tflearn_does_not_keep(name: str, rates: list[float]) -> None:
    network = on_meta(f"veselinov-{name}", MFCC)
    assert [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)] == pytest.approx(rates)


def test_one_convolution_of_googlenet_is_linear_as_in_tflearns_example() -> None:
    network = on_meta("veselinov-googlenet", MFCC)
    convolutions = sum(isinstance(layer, nn.Conv2d) for layer in network.modules())
    rectifiers = sum(isinstance(layer, nn.ReLU) for layer in network.modules())
    assert (convolutions, rectifiers) == (57, 56)


@pytest.mark.parametrize("name", ["simple", "alexnet", "googlenet"])
def test_frequency_by_time_is_equivalent_to_his_time_by_frequency(name: str) -> None:
    torch.manual_seed(0)
    network = ARCHITECTURES[f"veselinov-{name}"](inputs=((13, 101),), heads={"genre": 2}).eval()
    turned = copy.deepcopy(network.maps)
    for layer in turned.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.data = layer.weight.data.mT.contiguous()
    image = torch.randn(2, 1, 13, 101)
    maps = network.maps(image)
    assert torch.allclose(turned(image.mT), maps.mT, atol=1e-5 * maps.abs().max().item())


def test_weights_start_as_tflearns() -> None:
    torch.manual_seed(0)
    network = ARCHITECTURES["veselinov-simple"](inputs=((13, 40),), heads={"genre": 8})
    convolution = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)][1]
    dense = network.dense[1]
    bound = sqrt(3 / (2 * 2 * 32))
    assert convolution.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
    assert convolution.weight.std().item() == pytest.approx(bound / sqrt(3), rel=0.02)
    assert dense.weight.abs().max() <= 0.04
    # A normal distribution cut at two deviations has 0.88 of its deviation left.
    assert dense.weight.std().item() == pytest.approx(0.02 * 0.8796, rel=0.01)
    assert not convolution.bias.any()
    assert not dense.bias.any()


def test_the_coefficients_are_standardised_unless_told_otherwise() -> None:
    features = torch.full((1, 13, 40), 7.0)
    for normalise, expected in ((1, 0.0), (0, 7.0)):
        network = ARCHITECTURES["veselinov-simple"](inputs=((13, 40),), heads={"genre": 8}, normalise=normalise)
        for buffer, value in zip(network.normalise.buffers(), (7.0, 2.0), strict=False):
            buffer.fill_(value)
        assert torch.equal(network.normalise(features), torch.full_like(features, expected))
