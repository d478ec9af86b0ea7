"""Engines are made once: from a model to an engine file, and the folder where those of this machine's card are kept."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.atomic_write import WriteError, replacing
from models.cuda import Gpu
from models.engine_file import About, EngineFile, Target
from models.errors import EngineError, ModelFileError
from models.example_windows import noise_windows
from models.model_file import open_model
from models.onnx_scorer import OnnxScorer
from models.precision import in_precision
from models.scorer import ENGINE_SUFFIX, windows_at_once
from models.spec import ModelCard
from models.tensorrt_build import Progress, build_plan, make_logger, tensorrt_module

_USUAL = 16
_MOST_KEPT = 32
"""Engines; the folder must not grow for ever."""

_log = logging.getLogger(__name__)


def default_cache() -> Path:
    """The user's folder of built engines.

    Raises:
        EngineError: the user has no home.
    """
    try:
        return Path.home() / ".cache" / "genrescope" / "engines"
    except RuntimeError as error:
        raise EngineError(f"expected a home folder to keep engines in: {error}") from error


def make_target(card: ModelCard, **given: Any) -> Target:
    """A target whose batches are, if nothing else is given, those that live audio asks for.

    Raises:
        ConfigError: what is given contradicts itself.
    """
    most = windows_at_once(card)
    return Target.of(**{"batch": (min(_USUAL, most), most), **given})


def make_engine(
    typed: bytes,
    card: ModelCard,
    target: Target,
    *,
    gpu: Gpu | None = None,
    timings: bytes = b"",
    progress: Progress | None = None,
) -> tuple[EngineFile, bytes]:
    """Build an engine of a model. What it will be compared on is noise: a file that is given away holds nobody's sound.

    Args:
        typed: a serialised ONNX model with its card, in the target's precision (``models.precision``).
        gpu: the card in this machine, if it is built for that one.
        timings, progress: as ``build_plan``'s.

    Returns:
        The engine, and the timing cache after it.

    Raises:
        EngineError: it cannot be built.
    """
    if gpu is None and target.product == "tensorrt":
        raise EngineError(
            "an engine of tensorrt is built on the NVIDIA card that will run it, and there is none here; "
            "engines of tensorrt-rtx can be built on any machine"
        )
    trt = tensorrt_module(target.product)
    plan, timings = build_plan(trt, make_logger(trt), typed, card, target, timings=timings, progress=progress)
    windows = noise_windows(card)
    about = About(target=target, version=trt.__version__, gpu="" if gpu is None else gpu.name)
    return EngineFile(about, typed, plan, windows, OnnxScorer(typed).score(windows)), timings


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
        model, target = path.read_bytes(), make_target(card, product=product)

        def build(timings: bytes) -> tuple[EngineFile, bytes]:
            _log.warning("building an engine of %s for %s, once", card.name, self._gpu.name)
            typed = in_precision(model, card, target.precision).SerializeToString()
            return make_engine(typed, card, target, gpu=self._gpu, timings=timings)

        return self._kept_or_built(model, target, build)

    def of_file(self, engine: EngineFile) -> tuple[Any, EngineFile]:
        """An engine file's; built again, for this card and this TensorRT, if these refuse it."""
        opened = self._runtime.deserialize_cuda_engine(engine.plan)
        if opened is not None:
            return opened, engine
        said = self._logger.drain()
        target = engine.about.target.model_copy(update={"sms": ()})

        def build(timings: bytes) -> tuple[EngineFile, bytes]:
            _log.warning("the engine was made for another card or TensorRT: building it again, once (%s)", said)
            return make_engine(engine.model, engine.card, target, gpu=self._gpu, timings=timings)

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
        known = read_kept(timings)
        built, measured = build(known)
        opened = self._runtime.deserialize_cuda_engine(built.plan)
        if opened is None:
            raise EngineError(f"{target.product} refuses the engine that it has just built: {self._logger.drain()}")
        try:
            built.write(path)
            if measured != known:
                keep(timings, measured)
            self._forget_the_oldest()
        except (WriteError, OSError) as error:
            _log.warning("the engine is not kept, and will be built again next time: %s", error)
        return opened, built

    def _forget_the_oldest(self) -> None:
        kept = sorted(self._folder.glob(f"*{ENGINE_SUFFIX}"), key=lambda path: path.stat().st_mtime)
        for path in kept[:-_MOST_KEPT]:
            path.unlink(missing_ok=True)

    def _kept(self, path: Path) -> tuple[Any, EngineFile] | None:
        """A kept engine; None if it is damaged or refused: the one built in its place is written over it."""
        try:
            kept = EngineFile.read(path)
            opened = self._runtime.deserialize_cuda_engine(kept.plan)
            said = "" if opened is not None else self._logger.drain()
        except ModelFileError as error:
            opened, said = None, str(error)
        if opened is not None:
            return opened, kept
        _log.warning("a kept engine cannot be used and is built again (%s)", said)
        return None


def read_kept(path: Path) -> bytes:
    """What was kept to be faster next time; nothing if it cannot be read."""
    try:
        return path.read_bytes() if path.exists() else b""
    except OSError as error:
        _log.warning("%s cannot be read, and is made anew: %s", path, error)
        return b""


def keep(path: Path, data: bytes) -> None:
    """Whole or not at all.

    Raises:
        WriteError: there is no room, or no right to write.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)
