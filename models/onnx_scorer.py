"""Scoring with ONNX Runtime on the CPU: runs everywhere, and is the reference for every other scorer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from models.confidence import calibrated
from models.errors import ModelFileError
from models.model_file import ORT_ERRORS, first_words, input_names, open_model
from models.scorer import FloatArray, WindowBatch, check_windows


class OnnxScorer:
    """A model file, or all that would be in it, behind ONNX Runtime.

    One thread by default: the networks are small, and a second thread costs more in waking than it brings.

    Raises:
        ModelFileError: as ``open_model``.
    """

    def __init__(self, model: Path | bytes, *, threads: int = 1) -> None:
        self._session, self.card = open_model(model, threads=threads)
        self.name = f"ONNX Runtime {onnxruntime.__version__} (CPU)"

    def score(self, windows: WindowBatch) -> dict[str, FloatArray]:
        """See ``models.scorer.Scorer.score``."""
        check_windows(windows, self.card)
        if not len(windows[0]):
            return {head.name: np.empty((0, len(head.labels)), dtype=np.float32) for head in self.card.heads}
        names = [head.name for head in self.card.heads]
        try:
            logits = self._session.run(names, dict(zip(input_names(self.card), windows, strict=True)))
        except ORT_ERRORS as error:
            raise ModelFileError(f"model {self.card.name!r}: {self.name} fails ({first_words(error)})") from error
        return {head.name: calibrated(values, head) for head, values in zip(self.card.heads, logits, strict=True)}
