"""The Lidy & Schindler networks against the sizes that the paper quotes and the specification derives."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models.architectures import ARCHITECTURES, build
from models.errors import ConfigError, ModelFileError
from models.lidy import PARALLEL, LidyNetwork, PipelineShape
from models.spec import Architecture, FeatureSpec, Head, ModelCard, Provenance, WindowSpec


def network(name: str, n_mels: int, frames: int, classes: int = 10) -> nn.Module:
    return ARCHITECTURES[name](n_mels=n_mels, frames=frames, heads={"genre": classes})


@pytest.mark.parametrize(
    ("name", "n_mels", "frames", "parameters"),
    [
        ("lidy-timbral", 40, 80, 563_840),
        ("lidy-parallel", 40, 80, 1_462_818),
        ("lidy-parallel-frequency", 40, 80, 946_070),
        ("lidy-timbral", 80, 82, 1_283_840),
        ("lidy-parallel", 80, 82, 4_125_218),
        ("lidy-parallel-frequency", 80, 82, 2_146_070),
    ],
)
def test_parameter_counts(name: str, n_mels: int, frames: int, parameters: int) -> None:
    assert sum(p.numel() for p in network(name, n_mels, frames).parameters()) == parameters


def test_feature_maps_are_those_of_the_paper() -> None:
    """Section 2.2.2: 67 x 68 pooled to 67 x 4, and 5 x 75, at 80 mel x 82 frames."""
    frequency, temporal = PARALLEL
    assert frequency.output(80, 82) == (32, 67, 4)
    assert temporal.output(80, 82) == (32, 5, 75)
    net = network("lidy-parallel", 80, 82)
    assert isinstance(net, LidyNetwork)
    image = torch.zeros(1, 1, 80, 82)
    first = net.pipelines[0]
    assert isinstance(first, nn.Sequential)
    assert first[0](image).shape == (1, 32, 67, 68)
    assert first[:2](image).shape == (1, 32, 67, 4)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_computed_shapes_are_the_real_ones(name: str) -> None:
    logits = network(name, 40, 80, classes=7)(torch.randn(3, 40, 80))
    assert set(logits) == {"genre"}
    assert logits["genre"].shape == (3, 7)


def test_pooling_before_the_activation_changes_nothing() -> None:
    maps = torch.randn(2, 4, 27, 66, generator=torch.Generator().manual_seed(0))
    pool, leak = nn.MaxPool2d((1, 17)), nn.LeakyReLU(0.3)
    assert torch.equal(pool(leak(maps)), leak(pool(maps)))


def test_initialisation_is_glorot_uniform_with_zero_biases() -> None:
    torch.manual_seed(0)
    net = network("lidy-parallel", 40, 80)
    assert isinstance(net, LidyNetwork)
    bound = (6 / (7264 + 200)) ** 0.5
    assert net.hidden.weight.abs().max() <= bound
    assert net.hidden.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.01)
    assert not net.hidden.bias.any()


def test_standardisation_centres_each_band() -> None:
    net = network("lidy-timbral", 40, 80)
    assert isinstance(net, LidyNetwork)
    frames = torch.randn(500, 40) * torch.linspace(0.5, 3, 40) + torch.linspace(-8, 1, 40)
    frames[:, 39] = -10.0  # above the bandwidth of every file
    net.standardise.fit(frames)
    after = net.standardise(frames.T[None])[0]
    assert torch.allclose(after.mean(1), torch.zeros(40), atol=1e-3)
    assert torch.allclose(after[:39].std(1, correction=0), torch.ones(39), atol=1e-3)
    assert torch.isfinite(after).all()


def test_too_small_an_input_is_refused() -> None:
    with pytest.raises(ConfigError, match="12 mel bands x 80 frames"):
        LidyNetwork((PipelineShape(8, (14, 15), (1, 17)),), n_mels=12, frames=80, heads={"genre": 2})


def card(architecture: Architecture) -> ModelCard:
    return ModelCard(
        name="test",
        description="",
        architecture=architecture,
        inputs=(FeatureSpec(sample_rate_hz=22_050, n_fft=1536, hop_samples=768, n_mels=40, fmax_hz=11_025),),
        normalisation="per band",
        window=WindowSpec(frames=80, hop_frames=10),
        heads=(Head(name="genre", labels=("a", "b", "c")),),
        provenance=Provenance(data="", protocol="", epochs=0, seed=0, commit="", licence=""),
    )


def test_a_card_builds_its_network() -> None:
    assert build(card(Architecture(name="lidy-parallel")))(torch.zeros(2, 40, 80))["genre"].shape == (2, 3)


def test_unknown_names_and_settings_are_refused() -> None:
    with pytest.raises(ModelFileError, match="lidy-parallel"):
        build(card(Architecture(name="lidy-serial")))
    with pytest.raises(ModelFileError, match="filters"):
        build(card(Architecture(name="lidy-parallel", settings={"filters": 3})))
