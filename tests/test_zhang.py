"""Zhang's networks against the specification's sizes, and Keras's meanings."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from network_checks import on_meta, parameters, shapes_of, stages
from networks import export_random
from torch import nn

from models.architectures import ARCHITECTURES

MEL = (128, 130)


def test_one_dimension() -> None:
    network = on_meta("zhang-1d", MEL)
    seen = stages(network, MEL)
    assert shapes_of(seen, "Conv1d", "BatchNorm1d", "MaxPool1d") == [
        (128, 128), (128, 128), (128, 63),
        (128, 61), (128, 61), (128, 30),
    ]  # fmt: skip
    assert shapes_of(seen, "Flatten", "Linear") == [(3840,), (128,), (10,)]
    assert parameters(network) == 592_010
    running = sum(values.numel() for name, values in network.named_buffers() if "running" in name)
    assert parameters(network) + running == 592_522


def test_two_dimensions() -> None:
    network = on_meta("zhang-2d", MEL)
    seen = stages(network, MEL)
    assert shapes_of(seen, "Conv2d", "MaxPool2d") == [
        (32, 126, 128), (32, 124, 126), (32, 62, 63),
        (64, 60, 61), (64, 58, 59), (64, 29, 29),
        (128, 27, 27), (128, 25, 25), (128, 12, 12),
    ]  # fmt: skip
    assert shapes_of(seen, "AdaptiveAvgPool2d", "Flatten", "Linear") == [(128, 1, 1), (128,), (128,), (10,)]
    assert parameters(network) == 304_234


def test_the_layers_of_a_block_stand_in_the_papers_order() -> None:
    block = ["Conv1d", "ReLU", "BatchNorm1d", "MaxPool1d", "Dropout"]
    network = on_meta("zhang-1d", MEL)
    assert [type(layer).__name__ for layer in network.maps] == 2 * block
    assert [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)] == [0.25] * 3
    assert [(layer.eps, layer.momentum) for layer in network.maps if isinstance(layer, nn.BatchNorm1d)] == [
        (1e-3, pytest.approx(0.01))
    ] * 2


def test_the_convolution_of_one_dimension_runs_over_time() -> None:
    network = ARCHITECTURES["zhang-1d"](inputs=(MEL,), heads={"genre": 10}).eval()
    features = torch.rand(1, *MEL, generator=torch.Generator().manual_seed(0))
    convolution = network.maps[0]
    assert torch.allclose(convolution(features)[..., 5:], convolution(features[..., 5:]), atol=1e-6)


def test_weights_start_as_keras_starts_them() -> None:
    torch.manual_seed(0)
    network = ARCHITECTURES["zhang-1d"](inputs=(MEL,), heads={"genre": 10})
    convolution, dense = network.maps[0], network.hidden[1]
    assert convolution.weight.std().item() == pytest.approx(0.05, rel=0.02)
    bound = (6 / (3840 + 128)) ** 0.5
    assert dense.weight.abs().max() <= bound
    assert dense.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.01)
    assert not convolution.bias.any()
    assert not dense.bias.any()


def test_a_file_needs_no_count_of_batches_to_be_scored_by_torch(tmp_path: Path) -> None:
    """Batch normalisation keeps one, the exporter leaves it out; the export itself compares torch with the file."""
    path = export_random(tmp_path / "model.onnx", "zhang-1d")
    stored = {tensor.name for tensor in onnx.load(path).graph.initializer}
    expected = set(on_meta("zhang-1d", MEL).state_dict())
    assert expected - stored == {"maps.2.num_batches_tracked", "maps.7.num_batches_tracked"}
