"""What the tests of the networks look at: shapes after every layer, parameter counts, agreement with ONNX Runtime."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Sequence

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from models.architectures import ARCHITECTURES
from models.normalise import Normaliser

Shape = tuple[int, ...]


def on_meta(name: str, *inputs: Shape, classes: int = 10, **settings: int | float | str) -> nn.Module:
    """The network without memory for its weights: enough to count and to follow shapes."""
    with torch.device("meta"):
        return ARCHITECTURES[name](inputs=inputs, heads={"genre": classes}, **settings).eval()


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def stages(network: nn.Module, *inputs: Shape) -> list[tuple[str, Shape]]:
    """Type and output shape, without the batch, of every layer in the order in which they run on a batch of 2."""
    seen: list[tuple[str, Shape]] = []

    def look(layer: nn.Module, _arguments: object, output: Tensor) -> None:
        assert output.shape[0] == 2
        seen.append((type(layer).__name__, tuple(output.shape[1:])))

    layers = [layer for layer in network.modules() if not list(layer.children())]
    hooks = [layer.register_forward_hook(look) for layer in layers]
    network(*(torch.empty(2, *shape, device="meta") for shape in inputs))
    for hook in hooks:
        hook.remove()
    return seen


def shapes_of(seen: Sequence[tuple[str, Shape]], *types: str) -> list[Shape]:
    return [shape for name, shape in seen if name in types]


def onnx_difference(network: nn.Module, *inputs: Shape) -> float:
    """Greatest difference between the logits of torch and of ONNX Runtime, as a share of the greatest logit, over a
    batch of another size than that of the export. Exported as ``train.export`` does, after one step of training."""
    windows = [torch.randn(3, *shape, generator=torch.Generator().manual_seed(1)) for shape in inputs]
    with torch.no_grad():
        if isinstance(normaliser := getattr(network, "normalise", None), Normaliser):
            normaliser.fit(2 * each.mT + 1 for each in windows[0])
        network.train()(*windows)
    network.eval()
    names = [f"features_{index}" for index in range(len(inputs))]
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            tuple(torch.zeros(2, *shape) for shape in inputs),
            input_names=names,
            dynamic_shapes=({0: torch.export.Dim("batch")},) * len(inputs),
            opset_version=20,
            optimize=False,
            verbose=False,
        )
    assert program is not None
    file = io.BytesIO()
    program.save(file)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = network(*windows).values()
    actual = session.run(None, {name: each.numpy() for name, each in zip(names, windows, strict=True)})
    return max(float(np.abs(a - e.numpy()).max() / e.abs().max()) for a, e in zip(actual, expected, strict=True))
