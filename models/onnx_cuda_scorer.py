"""Scoring with ONNX Runtime on an NVIDIA card."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import onnxruntime

from models.errors import ModelFileError
from models.model_file import ORT_ERRORS, first_words, session_options
from models.onnx_scorer import OnnxScorer

PROVIDER = "CUDAExecutionProvider"


class OnnxCudaScorer(OnnxScorer):
    """A model file behind ONNX Runtime's CUDA provider, on one card.

    Args:
        path: the model file.
        device: number of the card, as CUDA counts.

    Raises:
        ModelFileError: as ``open_model``; this ONNX Runtime has no CUDA, or CUDA does not start on this machine.
    """

    def __init__(self, path: Path, *, device: int = 0) -> None:
        available = onnxruntime.get_available_providers()
        if PROVIDER not in available:
            raise ModelFileError(
                f"the onnx-cuda scorer needs an ONNX Runtime with the {PROVIDER}, this one has {', '.join(available)}: "
                "with an NVIDIA card, put onnxruntime-gpu in its place (in its folder, .venv/bin/pip uninstall -y "
                'onnxruntime, then .venv/bin/pip install "onnxruntime-gpu[cuda,cudnn]"); or use --scorer onnx'
            )
        # On the CPU first: what is wrong with the file is then told apart from what is wrong with the card.
        super().__init__(path)
        self.name = f"ONNX Runtime {onnxruntime.__version__} (CUDA, card {device})"
        onnxruntime.set_default_logger_severity(4)
        # CUDA's libraries, where pip has put them. What is missing it prints, also among our results.
        with contextlib.redirect_stdout(io.StringIO()) as missing:
            onnxruntime.preload_dlls(directory="")
        try:
            session = onnxruntime.InferenceSession(
                path.read_bytes(),
                session_options(),
                # TF32, its default, would keep ten bits of each factor: the same numbers as on the CPU are wanted.
                providers=[(PROVIDER, {"device_id": device, "use_tf32": 0})],
                # Else it goes on with the CPU when the card fails, then or later, and prints that too.
                enable_fallback=0,
            )
        except (*ORT_ERRORS, ValueError, RuntimeError) as error:
            raise ModelFileError(
                f"model {path}: CUDA does not start on card {device} ({first_words(error)}): see `nvidia-smi`, or use "
                "--scorer onnx"
            ) from error
        # A missing library is no error to it, whatever it was told.
        if PROVIDER not in (found := session.get_providers()):
            reason = f" ({missing.getvalue().splitlines()[0]})" if missing.getvalue() else ""
            raise ModelFileError(
                f"model {path}: expected ONNX Runtime to take the {PROVIDER}, it took {', '.join(found)}{reason}: "
                "see whether `nvidia-smi` shows card and driver, install CUDA and cuDNN (.venv/bin/pip install "
                '"onnxruntime-gpu[cuda,cudnn]"), or use --scorer onnx'
            )
        self._session = session
