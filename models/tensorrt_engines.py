"""Engines are made once: from a model to an engine file, and the folder where those of this machine's card are kept."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from models.atomic_write import WriteError, replacing
from models.cuda import Gpu
from models.engine_file import About, EngineFile, Target
from models.errors import EngineError, ModelFileError
from models.example_windows import noise_windows
from models.model_file import open_model
from models.onnx_scorer import OnnxScorer
from models.precision import in_precision
from models.scorer import ENGINE_SUFFIX, WindowBatch
from models.spec import ModelCard
from models.tensorrt_build import Progress, build_plan, make_logger, tensorrt_module

_COMPARED = 32
"""Windows that an engine is compared on before it is used."""

_log = logging.getLogger(__name__)


def default_cache() -> Path:
    """The user's folder of built engines."""
    return Path.home() / ".cache" / "genrescope" / "engines"


def make_engine(
    model: bytes,
    card: ModelCard,
    target: Target,
    windows: WindowBatch,
    *,
    gpu: Gpu | None = None,
    timings: bytes = b"",
    progress: Progress | None = None,
) -> tuple[EngineFile, bytes]:
    """Build an engine of a model.

    Args:
        model: a serialised ONNX model with its card.
        windows: sound to compare the engine on before it is used, and to calibrate int8 on.
        gpu: the card in this machine, if it is built for that one.
        timings, progress: as ``build_plan``'s.

    Returns:
        The engine, and the timing cache after it.

    Raises:
        EngineError: it cannot be built.
        ModelFileError: the graph cannot be brought into the precision.
    """
    if gpu is None and not target.sms:
        raise EngineError(
            f"an engine of {target.product} is built for the NVIDIA card in this machine, and there is none"
            + ("; say for which with --sm, such as --sm 89" if target.product == "tensorrt-rtx" else "")
        )
    trt = tensorrt_module(target.product)
    logger = make_logger(trt)
    typed = in_precision(model, card, target.precision, windows=windows).SerializeToString()
    plan, timings = build_plan(trt, logger, typed, card, target, timings=timings, progress=progress)
    some = tuple(each[:_COMPARED] for each in windows)
    about = About(target=target, version=trt.__version__, gpu=gpu.name if gpu is not None and not target.sms else "")
    with as_file(typed) as path:
        return EngineFile(about, typed, plan, some, OnnxScorer(path).score(some)), timings


class Engines:
    """Finds, builds and keeps engines for the card of this machine."""

    def __init__(self, trt: Any, runtime: Any, logger: Any, gpu: Gpu, folder: Path) -> None:
        self._trt = trt
        self._runtime = runtime
        self._logger = logger
        self._gpu = gpu
        self._folder = folder

    def of_model(self, path: Path, product: str) -> tuple[Any, EngineFile]:
        """The engine of a model file, and its parts."""
        _, card = open_model(path)
        model, target = path.read_bytes(), Target.model_validate({"product": product})

        def build(timings: bytes) -> tuple[EngineFile, bytes]:
            return make_engine(model, card, target, noise_windows(card), gpu=self._gpu, timings=timings)

        return self._kept_or_built(model, target, build)

    def of_file(self, engine: EngineFile) -> tuple[Any, EngineFile]:
        """An engine file's; built again, for this card and this TensorRT, if these refuse it."""
        opened = self._runtime.deserialize_cuda_engine(engine.plan)
        if opened is not None:
            return opened, engine
        said = self._logger.drain()
        _log.warning("the engine was made for another card or TensorRT, and is built again for this one (%s)", said)
        target = engine.about.target.model_copy(update={"sms": ()})
        with as_file(engine.model) as path:
            _, card = open_model(path)

        def build(timings: bytes) -> tuple[EngineFile, bytes]:
            plan, timings = build_plan(self._trt, self._logger, engine.model, card, target, timings=timings)
            about = About(target=target, version=self._trt.__version__, gpu=self._gpu.name)
            return replace(engine, about=about, plan=plan), timings

        return self._kept_or_built(engine.model, target, build)

    def _kept_or_built(
        self, model: bytes, target: Target, build: Callable[[bytes], tuple[EngineFile, bytes]]
    ) -> tuple[Any, EngineFile]:
        facts = (target.model_dump_json(), self._trt.__version__, self._gpu.name, self._gpu.sm)
        key = hashlib.sha256("\n".join(facts).encode() + model).hexdigest()[:24]
        path = self._folder / f"{key}{ENGINE_SUFFIX}"
        if path.exists() and (found := self._kept(path)):
            return found
        timings = self._folder / f"timings-{target.product}-{self._trt.__version__}-sm{self._gpu.sm}"
        known = timings.read_bytes() if timings.exists() else b""
        built, measured = build(known)
        opened = self._runtime.deserialize_cuda_engine(built.plan)
        if opened is None:
            raise EngineError(f"{target.product} refuses the engine that it has just built: {self._logger.drain()}")
        try:
            built.write(path)
            if measured != known:
                with replacing(timings) as temporary:
                    temporary.write_bytes(measured)
        except WriteError as error:
            _log.warning("the engine is not kept, and will be built again next time: %s", error)
        return opened, built

    def _kept(self, path: Path) -> tuple[Any, EngineFile] | None:
        """A kept engine; deleted, and None, if it is damaged or refused."""
        try:
            kept = EngineFile.read(path)
            opened = self._runtime.deserialize_cuda_engine(kept.plan)
            said = "" if opened is not None else self._logger.drain()
        except ModelFileError as error:
            opened, said = None, str(error)
        if opened is not None:
            return opened, kept
        _log.warning("a kept engine cannot be used and is built again (%s)", said)
        path.unlink(missing_ok=True)
        return None


@contextmanager
def as_file(model: bytes) -> Iterator[Path]:
    """A serialised model as a file: what opens models reads files."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model)
        yield path
