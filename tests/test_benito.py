"""Benito & Pacheco against the specification's sizes, and its first convolutions against their definition."""

from __future__ import annotations

import pytest
import torch
from network_checks import Shape, on_meta, parameters, shapes_of, stages
from torch import nn
from torch.nn import functional

from models.architectures import ARCHITECTURES
from models.errors import ConfigError

SEGMENT = {
    "benito-raw": ((1024, 128),),
    "benito-spectrogram": ((1025, 129),),
    "benito-both": ((1025, 129), (1024, 129)),
}
FIRST = {
    "benito-raw": [(256, 126)],
    "benito-spectrogram": [(256, 126)],
    "benito-both": [(128, 126), (128, 126)],
}


@pytest.mark.parametrize(
    ("name", "at_8", "at_10"),
    [
        ("benito-spectrogram", 1_777_350, 1_777_652),
        ("benito-raw", 1_514_182, 1_514_484),
        ("benito-both", 1_645_766, 1_646_068),
    ],
)
def test_shapes_and_parameters(name: str, at_8: int, at_10: int) -> None:
    network = on_meta(name, *SEGMENT[name], classes=8)
    seen = stages(network, *SEGMENT[name])
    assert shapes_of(seen, "Conv1d") == [*FIRST[name], (256, 126), (256, 126)]
    assert shapes_of(seen, "BatchNorm1d") == [(256, 126)] * 3 + [(300,), (150,)]
    assert shapes_of(seen, "Linear") == [(300,), (150,), (8,)]
    assert network.dense[0][0].in_features == 512
    assert parameters(network) == at_8
    assert parameters(on_meta(name, *SEGMENT[name])) == at_10


@pytest.mark.parametrize(
    ("name", "inputs", "length"),
    [
        ("benito-spectrogram", ((1025, 977),), 974),
        ("benito-raw", ((1024, 976),), 974),
        ("benito-both", ((1025, 977), (1024, 977)), 974),
    ],
)
def test_a_whole_clip_of_a_million_samples(name: str, inputs: tuple[Shape, ...], length: int) -> None:
    """Section V: matrices of 1 x 974 after the first convolution, and no more parameters than for a segment."""
    network = on_meta(name, *inputs)
    assert {shape[-1] for shape in shapes_of(stages(network, *inputs), "Conv1d")} == {length}
    assert parameters(network) == parameters(on_meta(name, *SEGMENT[name]))


def test_the_first_convolution_of_raw_audio_is_the_papers() -> None:
    """256 filters of 3072 samples, stride 1024, no padding, over the wave of 131,072 samples."""
    network = ARCHITECTURES["benito-raw"](inputs=SEGMENT["benito-raw"], heads={"genre": 8})
    frames = torch.randn(2, 1024, 128, generator=torch.Generator().manual_seed(0))
    (layer,) = network.first[0].convolutions
    wave = frames.mT.reshape(2, 1, 131_072)
    kernel = layer.weight.mT.reshape(256, 1, 3072)
    expected = functional.conv1d(wave, kernel, layer.bias, stride=1024)
    assert expected.shape == (2, 256, 126)
    assert torch.allclose(layer(frames), expected, atol=1e-5)


def test_the_first_convolution_of_the_spectrogram_is_the_papers() -> None:
    """256 filters of 1025 x 4, frequency x time, without padding."""
    network = ARCHITECTURES["benito-spectrogram"](inputs=SEGMENT["benito-spectrogram"], heads={"genre": 8})
    magnitudes = torch.rand(2, 1025, 129, generator=torch.Generator().manual_seed(0))
    (layer,) = network.first[0].convolutions
    expected = functional.conv2d(magnitudes.unsqueeze(1), layer.weight.unsqueeze(1), layer.bias).squeeze(2)
    assert torch.allclose(layer(magnitudes), expected, atol=1e-5)


def test_of_both_the_last_raw_frame_is_left_over() -> None:
    network = ARCHITECTURES["benito-both"](inputs=((65, 12), (64, 12)), heads={"genre": 8}).eval()
    magnitudes, raw = torch.rand(1, 65, 12), torch.randn(1, 64, 12)
    logits = network(magnitudes, raw)["genre"]
    for frame, matters in ((-1, False), (-2, True)):
        changed = raw.clone()
        changed[..., frame] += 10.0
        assert torch.equal(network(magnitudes, changed)["genre"], logits) is not matters


def test_the_block_is_residual_and_both_poolings_are_joined() -> None:
    network = ARCHITECTURES["benito-spectrogram"](inputs=((65, 12),), heads={"genre": 8}).eval()
    magnitudes = torch.rand(2, 65, 12)
    pooled: list[torch.Tensor] = []
    network.dense.register_forward_pre_hook(lambda _layer, arguments: pooled.append(arguments[0]))
    network(magnitudes)
    first = network.first([magnitudes])
    total = first + network.rest[1](network.rest[0](first))
    assert torch.allclose(pooled[0], torch.cat([total.max(dim=-1).values, total.mean(dim=-1)], dim=1), atol=1e-6)


def test_every_layer_but_the_last_has_batch_normalisation_elu_and_dropout() -> None:
    network = on_meta("benito-both", *SEGMENT["benito-both"], dropout=0.2)
    layers = [layer for layer in network.modules() if not list(layer.children())]
    assert sum(isinstance(layer, nn.ELU) for layer in layers) == 5
    assert [layer.p for layer in layers if isinstance(layer, nn.Dropout)] == [0.2] * 5
    plain = on_meta("benito-both", *SEGMENT["benito-both"])
    assert {layer.p for layer in plain.modules() if isinstance(layer, nn.Dropout)} == {0.0}


def test_inputs_out_of_step_are_refused() -> None:
    with pytest.raises(ConfigError, match="as many frames"):
        on_meta("benito-both", (1025, 129), (1024, 128))
