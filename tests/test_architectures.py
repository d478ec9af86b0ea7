"""What every network must do, whatever its paper: answer several questions, export, and refuse what it cannot take."""

from __future__ import annotations

import pytest
import torch
from network_checks import Shape, on_meta, onnx_difference

from models.architectures import ARCHITECTURES, build
from models.errors import ConfigError, ModelFileError
from models.spec import Architecture, Head, LogMel, ModelCard, Provenance, WindowSpec

SMALL: dict[str, tuple[Shape, ...]] = {
    "base": ((16, 32),),
    "xu": ((128, 32),),
    "lidy-timbral": ((40, 80),),
    "lidy-parallel": ((40, 80),),
    "lidy-parallel-frequency": ((40, 80),),
    "veselinov-simple": ((13, 37),),
    "veselinov-alexnet": ((13, 37),),
    "veselinov-vgg": ((13, 37),),
    "veselinov-googlenet": ((13, 37),),
    "zhang-1d": ((128, 30),),
    "zhang-2d": ((40, 37),),
    "benito-raw": ((64, 9),),
    "benito-spectrogram": ((65, 9),),
    "benito-both": ((65, 9), (64, 9)),
}
"""Sizes that take little time; those of the papers are in the papers' tests."""


def test_every_network_is_tested() -> None:
    assert set(SMALL) == set(ARCHITECTURES)


@pytest.mark.parametrize("name", SMALL)
def test_it_answers_two_questions_and_onnx_runtime_agrees(name: str) -> None:
    torch.manual_seed(0)
    network = ARCHITECTURES[name](inputs=SMALL[name], heads={"genre": 3, "mood": 2})
    logits = network(*(torch.randn(2, *shape) for shape in SMALL[name]))
    assert {head: tuple(values.shape) for head, values in logits.items()} == {"genre": (2, 3), "mood": (2, 2)}
    assert onnx_difference(network, *SMALL[name]) < 1e-4


@pytest.mark.parametrize("name", SMALL)
def test_every_weight_is_trained(name: str) -> None:
    torch.manual_seed(0)
    network = ARCHITECTURES[name](inputs=SMALL[name], heads={"genre": 3})
    network(*(torch.randn(4, *shape) for shape in SMALL[name]))["genre"].square().sum().backward()
    without = [parameter for parameter, values in network.named_parameters() if values.grad is None]
    assert not without


@pytest.mark.parametrize("name", SMALL)
def test_another_number_of_inputs_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="input"):
        on_meta(name, *SMALL[name], SMALL[name][0])


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("base", (15, 138)),
        ("base", (80, 31)),
        ("xu", (128, 15)),
        ("xu", (3, 120)),
        ("lidy-parallel", (12, 80)),
        ("lidy-parallel-frequency", (40, 52)),
        ("zhang-1d", (128, 12)),
        ("zhang-2d", (35, 130)),
        ("zhang-2d", (128, 35)),
        ("benito-raw", (1024, 2)),
        ("benito-spectrogram", (1025, 3)),
    ],
)
def test_an_input_smaller_than_the_kernels_and_pools_is_refused(name: str, shape: Shape) -> None:
    with pytest.raises(ConfigError, match=rf"{shape[0]}\D+{shape[1]}\D*$"):
        on_meta(name, shape)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("base", (16, 32)),
        ("xu", (4, 16)),
        ("lidy-parallel", (18, 31)),
        ("zhang-1d", (128, 13)),
        ("zhang-2d", (36, 36)),
        ("veselinov-googlenet", (1, 1)),
        ("benito-raw", (1024, 3)),
        ("benito-spectrogram", (1025, 4)),
    ],
)
def test_the_smallest_input_is_taken(name: str, shape: Shape) -> None:
    assert on_meta(name, shape)(torch.empty(2, *shape, device="meta"))["genre"].shape == (2, 10)


def card(architecture: Architecture) -> ModelCard:
    return ModelCard(
        name="test",
        description="",
        architecture=architecture,
        inputs=(LogMel(sample_rate_hz=22_050, n_fft=1536, hop_samples=768, n_mels=40, fmax_hz=11_025),),
        normalisation="per band",
        window=WindowSpec(frames=80, hop_frames=10),
        heads=(Head(name="genre", labels=("a", "b", "c")),),
        provenance=Provenance(data="", protocol="", epochs=0, seed=0, commit="", licence=""),
    )


def test_a_card_builds_its_network() -> None:
    assert build(card(Architecture(name="lidy-parallel")))(torch.zeros(2, 40, 80))["genre"].shape == (2, 3)


@pytest.mark.parametrize(
    ("architecture", "named"),
    [
        (Architecture(name="lidy-serial"), "lidy-parallel"),
        (Architecture(name="lidy-parallel", settings={"filters": 3}), "filters"),
        (Architecture(name="benito-spectrogram", settings={"dropout": 2.0}), "dropout"),
    ],
)
def test_unknown_names_and_settings_are_refused(architecture: Architecture, named: str) -> None:
    with pytest.raises(ModelFileError, match=named):
        build(card(architecture))
