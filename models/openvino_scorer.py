"""Scoring with OpenVINO on the CPU, in the same numbers as ONNX Runtime."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from models.confidence import calibrated
from models.errors import ModelFileError
from models.model_file import input_names, open_model
from models.scorer import FloatArray, WindowBatch, check_windows

_SETTINGS = {
    # Where the processor knows bf16 it would calculate in that, and say nothing: probabilities then differ by 3e-4.
    "INFERENCE_PRECISION_HINT": "f32",
    # The networks are small, and a second thread costs more in waking than it brings.
    "INFERENCE_NUM_THREADS": 1,
    "PERFORMANCE_HINT": "LATENCY",
    # It would tie the thread that calls it to the machine's first core, and with it those of every other process.
    "ENABLE_CPU_PINNING": False,
}
_ANY = -1


class OpenVinoScorer:
    """A model file behind OpenVINO on the CPU, in one thread.

    One window at a time has a compiled network of its own: a network for any number of windows works its shapes out
    anew at each call, which is up to a tenth of what a small network takes for one window.

    Raises:
        ModelFileError: as ``open_model``; OpenVINO is not installed, or does not know an operator of the network.
    """

    def __init__(self, path: Path) -> None:
        openvino = _openvino()
        # ONNX Runtime's reading is the check: complete, safe, and true to its card.
        _, self.card = open_model(path)
        self.name = f"OpenVINO {openvino.__version__.split('-')[0]} (CPU)"
        self._shapes = dict(zip(input_names(self.card), self.card.input_shapes, strict=True))
        self._core = openvino.Core()
        with self._its_errors_as_ours():
            self._model = self._core.read_model(path.read_bytes())
        self._requests = {1: self._compiled(1)}

    def score(self, windows: WindowBatch) -> dict[str, FloatArray]:
        """See ``models.scorer.Scorer.score``."""
        check_windows(windows, self.card)
        n = len(windows[0])
        if not n:  # it would repeat its last answer
            return {head.name: np.empty((0, len(head.labels)), dtype=np.float32) for head in self.card.heads}
        size = 1 if n == 1 else _ANY
        if size not in self._requests:
            self._requests[size] = self._compiled(size)
        with self._its_errors_as_ours():
            # Shared, nothing is copied: the logits are its own memory, which ``calibrated`` only reads.
            logits = self._requests[size].infer(
                dict(zip(self._shapes, windows, strict=True)), share_inputs=True, share_outputs=True
            )
        return {head.name: calibrated(logits[head.name], head) for head in self.card.heads}

    def _compiled(self, size: int) -> Any:
        """A request for so many windows at a time."""
        with self._its_errors_as_ours():
            model = self._model.clone()
            model.reshape({name: [size, *shape] for name, shape in self._shapes.items()})
            return self._core.compile_model(model, "CPU", _SETTINGS).create_infer_request()

    @contextmanager
    def _its_errors_as_ours(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            # Lines that end with a colon say where in its sources it was; the first two others say what is wrong.
            words = [line.removeprefix("-- ") for line in str(error).splitlines() if line and not line.endswith(":")]
            raise ModelFileError(
                f"model {self.card.name!r}: {self.name} cannot run it ({' '.join(words[:2]) or 'no reason given'}); "
                "use --scorer onnx"
            ) from error


def _openvino() -> Any:
    """The package, without what it would report.

    On import it tells Google Analytics that it is used, through a package of its own that it can do without.
    """
    reporter = "openvino_telemetry"
    silenced = reporter not in sys.modules
    if silenced:
        sys.modules[reporter] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        import openvino
    except ImportError as error:
        raise ModelFileError(
            f"the openvino scorer needs OpenVINO, which cannot be imported ({error}): "
            'in its folder, .venv/bin/pip install -c constraints.txt -e ".[openvino]"; or use --scorer onnx'
        ) from error
    finally:
        if silenced:
            del sys.modules[reporter]
    return openvino
