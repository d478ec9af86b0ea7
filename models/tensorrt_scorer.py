"""Scoring with TensorRT on an NVIDIA card: one scorer for ``tensorrt`` and ``tensorrt-rtx``.

A batch is copied into pinned memory, and from there into one of two places on the card, each with a stream of its own:
while one batch is scored, the next is on its way. What is asked for again and again becomes a CUDA graph: copy, score,
copy back, in one call. An engine is compared with ONNX Runtime's answers before it may name anything.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from models.atomic_write import WriteError, replacing
from models.cuda import Cuda, Gpu
from models.engine_file import ENGINE_SUFFIX, About, EngineFile, Target
from models.errors import EngineError, ModelFileError
from models.example_windows import noise_windows
from models.model_file import input_names, open_model
from models.onnx_scorer import OnnxScorer
from models.precision import Precision, in_precision
from models.scorer import FloatArray, WindowBatch, calibrated, check_windows
from models.spec import ModelCard
from models.tensorrt_build import Progress, build_plan, make_logger, tensorrt_module

TOLERANCE = {Precision.FP32: 1e-3, Precision.FP16: 1e-2, Precision.INT8: 0.1}
"""Greatest difference of any probability from ONNX Runtime's of the same graph for an engine to be used."""

HOT = 3
"""A batch of a size that came so often is worth a graph."""
_MOST_GRAPHS = 8
_COMPARED = 32

_log = logging.getLogger(__name__)


class TensorRtScorer:
    """A model or an engine file behind TensorRT.

    A model file is built for the card in this machine first, which takes seconds, and kept in the cache of engines.

    Args:
        path: a model (``.onnx``) or an engine (``.engine``).
        product: ``tensorrt`` or ``tensorrt-rtx``; None for the engine file's.
        device: number of the card.
        cache: folder of built engines.

    Raises:
        ModelFileError: the file is missing, damaged or foreign.
        EngineError: TensorRT or the card is missing; the engine cannot be built, opened, or answers otherwise than
            ONNX Runtime.
    """

    def __init__(self, path: Path, product: str | None = None, *, device: int = 0, cache: Path | None = None) -> None:
        engine_file = EngineFile.read(path) if path.suffix == ENGINE_SUFFIX else None
        product = product or (engine_file.about.target.product if engine_file else "tensorrt")
        if engine_file and engine_file.about.target.product != product:
            raise EngineError(
                f"engine {path}: expected one of {product}, this is one of {engine_file.about.target.product}"
            )
        trt = tensorrt_module(product)
        self._cuda = Cuda(device)
        self._cuda.use()
        self._logger = make_logger(trt)
        try:
            self._runtime = trt.Runtime(self._logger)
        except TypeError as error:  # "factory function returned nullptr"
            raise EngineError(f"{product} does not start on this machine ({self._logger.drain()})") from error
        engines = _Engines(trt, self._runtime, self._logger, self._cuda.gpu, cache or default_cache())
        engine, kept = engines.of_file(engine_file) if engine_file else engines.of_model(path, product)
        with _as_file(kept.model) as model:
            _, self.card = open_model(model)
        words = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}[product]
        self.name = f"{words} {trt.__version__} ({self._cuda.gpu.name}, {kept.about.target.precision})"
        _check_edges(trt, engine, self.card)
        greatest = engine.get_tensor_profile_shape(input_names(self.card)[0], 0)[2]
        self._at_most = int(greatest[0])
        self._places = [_Place(self._cuda, engine, self._logger, self.card, self._at_most) for _ in range(2)]
        self._check_answers(kept)

    def score(self, windows: WindowBatch) -> dict[str, FloatArray]:
        """See ``models.scorer.Scorer.score``."""
        return self._score(windows, self._places)

    def close(self) -> None:
        """Give the card's memory back; the scorer cannot be used after it."""
        self._cuda.use()
        for place in self._places:
            place.close()
        self._places = []

    def _score(self, windows: WindowBatch, places: Sequence[_Place]) -> dict[str, FloatArray]:
        check_windows(windows, self.card)
        self._cuda.use()  # whichever thread this is
        found: list[Sequence[FloatArray]] = []
        busy: deque[_Place] = deque()
        try:
            for turn, at in enumerate(range(0, len(windows[0]), self._at_most)):
                place = places[turn % len(places)]
                if place in busy:
                    found.append(busy.popleft().finish())
                place.start([each[at : at + self._at_most] for each in windows])
                busy.append(place)
            while busy:
                found.append(busy.popleft().finish())
        except BaseException:
            for place in busy:
                place.abandon()
            raise
        nothing = [np.empty((0, len(head.labels)), dtype=np.float32) for head in self.card.heads]
        logits = [np.concatenate(parts) for parts in zip(nothing, *found, strict=True)]
        return {head.name: calibrated(values, head) for head, values in zip(self.card.heads, logits, strict=True)}

    def _check_answers(self, engine: EngineFile) -> None:
        tolerance = TOLERANCE[engine.about.target.precision]
        one = tuple(each[:1] for each in engine.windows)
        for place in self._places:
            for windows in (engine.windows, one):
                scores = self._score(windows, [place])
                for head in self.card.heads:
                    difference = np.abs(scores[head.name] - engine.answers[head.name][: len(windows[0])]).max()
                    if not difference <= tolerance:  # so written that what is not a number is refused too
                        self.close()
                        raise EngineError(
                            f"the engine of {self.card.name!r} does not answer as ONNX Runtime does: probabilities of "
                            f"{head.name!r} differ by {difference:.2g}, expected at most {tolerance:g}; "
                            "make it again, or use --scorer onnx"
                        )


def default_cache() -> Path:
    """The user's folder of built engines."""
    return Path.home() / ".cache" / "genrescope" / "engines"


def available(product: str) -> str | None:
    """Why a product cannot be used on this machine, in words; None if it can."""
    try:
        tensorrt_module(product)
        Cuda()
    except EngineError as error:
        return str(error)
    return None


def make_engine(
    model: bytes,
    card: ModelCard,
    target: Target,
    windows: WindowBatch,
    *,
    gpu: Gpu | None = None,
    timings: Path | None = None,
    progress: Progress | None = None,
) -> EngineFile:
    """Build an engine of a model.

    Args:
        model: a serialised ONNX model with its card.
        windows: sound to compare the engine on before it is used, and to calibrate int8 on.
        gpu: the card in this machine, if it is built for that one.
        timings: where the timing cache lies, so that the next building is faster.

    Raises:
        EngineError: it cannot be built.
        ModelFileError: the graph cannot be brought into the precision.
    """
    trt = tensorrt_module(target.product)
    logger = make_logger(trt)
    typed = in_precision(model, card, target.precision, windows=windows).SerializeToString()
    known = timings.read_bytes() if timings is not None and timings.exists() else b""
    plan, measured = build_plan(trt, logger, typed, card, target, timings=known, progress=progress)
    if timings is not None and measured != known:
        with replacing(timings) as temporary:
            temporary.write_bytes(measured)
    some = tuple(each[:_COMPARED] for each in windows)
    about = About(target=target, version=trt.__version__, gpu=gpu.name if gpu and not target.sms else "")
    with _as_file(typed) as path:
        return EngineFile(about, typed, plan, some, OnnxScorer(path).score(some))


class _Engines:
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
        timings = self._folder / f"timings-{product}-{self._trt.__version__}-sm{self._gpu.sm}"

        def build() -> EngineFile:
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
        with _as_file(engine.model) as path:
            _, card = open_model(path)

        def build() -> EngineFile:
            plan, _ = build_plan(self._trt, self._logger, engine.model, card, target)
            about = About(target=target, version=self._trt.__version__, gpu=self._gpu.name)
            return replace(engine, about=about, plan=plan)

        return self._kept_or_built(engine.model, target, build)

    def _kept_or_built(self, model: bytes, target: Target, build: Callable[[], EngineFile]) -> tuple[Any, EngineFile]:
        facts = (target.model_dump_json(), self._trt.__version__, self._gpu.name, self._gpu.sm)
        key = hashlib.sha256("\n".join(facts).encode() + model).hexdigest()[:24]
        path = self._folder / f"{key}{ENGINE_SUFFIX}"
        if path.exists():
            try:
                kept = EngineFile.read(path)
                opened = self._runtime.deserialize_cuda_engine(kept.plan)
            except ModelFileError as error:
                opened, said = None, str(error)
            else:
                said = "" if opened is not None else self._logger.drain()
            if opened is not None:
                return opened, kept
            _log.warning("a kept engine cannot be used and is built again (%s)", said)
            path.unlink(missing_ok=True)
        built = build()
        opened = self._runtime.deserialize_cuda_engine(built.plan)
        if opened is None:
            raise EngineError(f"{target.product} refuses the engine that it has just built: {self._logger.drain()}")
        try:
            built.write(path)
        except WriteError as error:
            _log.warning("the engine is not kept, and will be built again next time: %s", error)
        return opened, built


class _Place:
    """Where a batch lies while it is scored: pinned arrays, memory on the card, a stream and what runs on it."""

    def __init__(self, cuda: Cuda, engine: Any, logger: Any, card: ModelCard, at_most: int) -> None:
        self._cuda = cuda
        self._engine = engine
        self._logger = logger
        self._shapes = dict(zip(input_names(card), card.input_shapes, strict=True))
        self._stream = cuda.stream()
        self._in = {name: cuda.pinned((at_most, *shape)) for name, shape in self._shapes.items()}
        self._out = {head.name: cuda.pinned((at_most, len(head.labels))) for head in card.heads}
        self._memory = {name: cuda.allocate(array.nbytes) for name, array in (self._in | self._out).items()}
        self._context = self._new_context()
        self._times: Counter[int] = Counter()
        self._graphs: dict[int, tuple[Any, Any]] = {}
        self._scored = 0

    def start(self, windows: Sequence[FloatArray]) -> None:
        """Begin to score windows, one array (n, bands, frames) an input, and return at once."""
        self._scored = n = len(windows[0])
        for array, values in zip(self._in.values(), windows, strict=True):
            array[:n] = values
        self._times[n] += 1
        if n not in self._graphs and self._times[n] == HOT and len(self._graphs) < _MOST_GRAPHS:
            self._capture(n)
        if n in self._graphs:
            self._cuda.launch(self._graphs[n][0], self._stream)
            return
        self._set_batch(self._context, n)
        self._enqueue(self._context, n)

    def finish(self) -> list[FloatArray]:
        """Wait for what was begun; logits of each head, (n, classes)."""
        self._cuda.wait(self._stream)
        return [array[: self._scored].copy() for array in self._out.values()]

    def abandon(self) -> None:
        """Wait for what was begun, whose result nobody wants: its memory must not be written to afterwards."""
        self._cuda.wait(self._stream)

    def close(self) -> None:
        """Give memory, graphs and stream back."""
        graphs = [graph for graph, _ in self._graphs.values()]
        self._graphs, self._context = {}, None
        pinned = [*self._in.values(), *self._out.values()]
        self._cuda.release(device=list(self._memory.values()), pinned=pinned, graphs=graphs, streams=[self._stream])

    def _capture(self, n: int) -> None:
        # A context of its own: a graph keeps the addresses that its context works with.
        context = self._new_context()
        self._set_batch(context, n)
        # Once without, for what a context puts off until it is first used cannot be captured.
        self._enqueue(context, n)
        self._cuda.wait(self._stream)
        with self._cuda.capturing(self._stream) as captured:
            self._enqueue(context, n)
        self._graphs[n] = captured[0], context

    def _new_context(self) -> Any:
        context = self._engine.create_execution_context()
        if context is None:
            raise EngineError(f"no room on the card for the engine's work: {self._logger.drain()}")
        for name, address in self._memory.items():
            if not context.set_tensor_address(name, address):
                raise EngineError(f"TensorRT refuses memory for {name!r}: {self._logger.drain()}")
        return context

    def _set_batch(self, context: Any, n: int) -> None:
        for name, shape in self._shapes.items():
            if not context.set_input_shape(name, (n, *shape)):
                raise EngineError(f"TensorRT refuses {n} windows at once: {self._logger.drain()}")
        if missing := context.infer_shapes():
            raise EngineError(f"TensorRT does not know the shape of {', '.join(missing)}: {self._logger.drain()}")

    def _enqueue(self, context: Any, n: int) -> None:
        for name, array in self._in.items():
            self._cuda.copy_in(self._memory[name], array[:n], self._stream)
        if not context.execute_async_v3(int(self._stream)):
            raise EngineError(f"TensorRT does not score {n} windows: {self._logger.drain()}")
        for name, array in self._out.items():
            self._cuda.copy_out(array[:n], self._memory[name], self._stream)


def _check_edges(trt: Any, engine: Any, card: ModelCard) -> None:
    """Refuse an engine with other inputs and outputs than its card's, or that wants them in other numbers."""
    names = [engine.get_tensor_name(at) for at in range(engine.num_io_tensors)]
    inputs = sorted(name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT)
    expected = sorted(input_names(card)), sorted(head.name for head in card.heads)
    if (found := (inputs, sorted(set(names) - set(inputs)))) != expected:
        raise EngineError(f"expected an engine with the inputs and outputs {expected}, got {found}")
    if strange := [name for name in names if engine.get_tensor_dtype(name) != trt.DataType.FLOAT]:
        raise EngineError(f"expected an engine with fp32 at its edges, {', '.join(strange)} is in other numbers")


@contextmanager
def _as_file(model: bytes) -> Iterator[Path]:
    """A serialised model as a file: what opens models reads files."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model)
        yield path
