"""Scoring with torch: the same model file, its weights put back into the network that its card names."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from models.confidence import calibrated
from models.errors import ModelFileError
from models.model_file import open_model
from models.scorer import FloatArray, WindowBatch, check_windows
from models.spec import ModelCard


class TorchScorer:
    """A model file behind torch on the CPU, in one thread.

    Raises:
        ModelFileError: as ``open_model``; torch is not installed; or the weights are not those of the card's network.
    """

    def __init__(self, path: Path) -> None:
        for package in ("torch", "onnx"):
            if importlib.util.find_spec(package) is None:
                raise ModelFileError(
                    f"the torch scorer needs {package}, which is not installed: "
                    'in its folder, .venv/bin/pip install -c constraints.txt -e ".[train]"; or use --scorer onnx'
                )
        import torch

        # ONNX Runtime's reading is the check: complete, safe, and true to its card.
        _, self.card = open_model(path)
        self.name = f"torch {torch.__version__} (CPU)"
        self._network = stored_network(path, self.card)

    def score(self, windows: WindowBatch) -> dict[str, FloatArray]:
        """See ``models.scorer.Scorer.score``."""
        import torch

        check_windows(windows, self.card)
        with torch.inference_mode(), _one_thread():
            logits = self._network(*(torch.from_numpy(np.ascontiguousarray(each)) for each in windows))
        return {head.name: calibrated(logits[head.name].numpy(), head) for head in self.card.heads}


@contextmanager
def _one_thread() -> Iterator[None]:
    # The networks are small, and more threads would take the cores that the audio needs. The number is the whole
    # process's, so it is put back: a training run scores too.
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def stored_network(path: Path, card: ModelCard):  # type: ignore[no-untyped-def]  # the base install has no torch
    """The card's network, ready to score, with the weights that lie in its model file.

    Raises:
        ModelFileError: they are not those of the card's network.
    """
    import onnx
    import torch
    from onnx import numpy_helper

    from models.architectures import build

    network = build(card).eval()
    # Batch normalisation also counts its batches, in whole numbers; scoring needs no count and the file has none.
    expected = {name: values for name, values in network.state_dict().items() if values.is_floating_point()}
    graph = onnx.load_model_from_string(path.read_bytes()).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name in expected}
    missing = sorted(set(expected) - set(stored))
    if missing:
        raise ModelFileError(f"model {path}: expected the weights of {card.architecture.name}, {missing} missing")
    try:
        network.load_state_dict({name: torch.tensor(values) for name, values in stored.items()})
    except RuntimeError as error:
        raise ModelFileError(f"model {path}: its weights do not fit {card.architecture.name}: {error}") from error
    return network
