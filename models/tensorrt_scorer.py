"""Scoring with TensorRT on an NVIDIA card: one scorer for ``tensorrt`` and ``tensorrt-rtx``.

A batch is copied into pinned memory, and from there into one of two places on the card, each with a stream of its own:
while one batch is scored, the next is on its way. What is asked for again and again becomes a CUDA graph: copy, score,
copy back, in one call (TensorRT-RTX makes graphs by itself). An engine is compared with ONNX Runtime's answers before
it may name anything.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from models.atomic_write import WriteError
from models.confidence import calibrated
from models.cuda import Cuda
from models.engine_file import EngineFile
from models.errors import EngineError
from models.model_file import input_names
from models.precision_kind import Precision
from models.scorer import ENGINE_SUFFIX, FloatArray, WindowBatch, check_windows
from models.spec import ModelCard
from models.tensorrt_build import installed_modules, make_logger, tensorrt_module
from models.tensorrt_engines import Engines, default_cache, keep, read_kept

TOLERANCE = {Precision.FP32: 1e-3, Precision.FP16: 1e-2, Precision.INT8: 0.1}
"""Greatest difference of any probability from ONNX Runtime's of the same graph for an engine to be used."""

HOT = 3
"""A batch of a size that came so often is worth a graph."""
_MOST_GRAPHS = 8

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
                f"engine {path}: expected one of {product}, this is one of {engine_file.about.target.product}: leave "
                "--scorer out, an engine file knows what runs it"
            )
        self._advice = "take the model that it was made from" if engine_file else "use --scorer onnx"
        self._cuda = Cuda(device)
        self._cuda.use()
        trt = tensorrt_module(product)
        self._logger = make_logger(trt)
        try:
            self._runtime = trt.Runtime(self._logger)
        except TypeError as error:  # "factory function returned nullptr"
            raise EngineError(f"{product} does not start on this machine ({self._logger.drain()})") from error
        folder = cache or default_cache()
        engines = Engines(trt, self._runtime, self._logger, self._cuda.gpu, folder)
        engine, kept = engines.of_file(engine_file) if engine_file else engines.of_model(path, product)
        self.card = kept.card
        words = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}[product]
        self.name = f"{words} {trt.__version__} ({self._cuda.gpu.name}, {kept.about.target.precision})"
        _check_edges(trt, engine, self.card)
        greatest = engine.get_tensor_profile_shape(input_names(self.card)[0], 0)[2]
        self._at_most = int(greatest[0])
        contexts = _OwnGraphs(trt, engine, folder) if product == "tensorrt-rtx" else _Contexts(engine)
        self._taken = ExitStack()
        # What is taken is given back where anything fails.
        with ExitStack() as taken:
            self._places = [
                taken.enter_context(_Place(self._cuda, contexts, self._logger, self.card, self._at_most))
                for _ in range(2)
            ]
            self._check_answers(kept)
            contexts.keep()
            self._taken = taken.pop_all()

    def score(self, windows: WindowBatch) -> dict[str, FloatArray]:
        """See ``models.scorer.Scorer.score``."""
        return self._score(windows, self._places)

    def close(self) -> None:
        """Give the card's memory back; the scorer cannot be used after it."""
        self._cuda.use()
        self._places = []
        self._taken.close()

    def _score(self, windows: WindowBatch, places: Sequence[_Place]) -> dict[str, FloatArray]:
        check_windows(windows, self.card)
        if not places:
            raise EngineError(f"the engine of {self.card.name!r} has been closed")
        self._cuda.use()  # whichever thread this is
        found: list[Sequence[FloatArray]] = []
        busy: deque[_Place] = deque()
        try:
            for turn, at in enumerate(range(0, len(windows[0]), self._at_most)):
                place = places[turn % len(places)]
                if place in busy:
                    found.append(busy.popleft().finish())
                busy.append(place)
                place.start([each[at : at + self._at_most] for each in windows])
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
                        raise EngineError(
                            f"the engine of {self.card.name!r} does not answer as ONNX Runtime does: probabilities of "
                            f"{head.name!r} differ by {difference:.2g}, expected at most {tolerance:g}; "
                            f"make it again, or {self._advice}"
                        )


def available(product: str) -> str | None:
    """Why a product cannot be used on this machine, in words; None if it can."""
    try:
        installed_modules(product)
        Cuda()  # at once; loading TensorRT's libraries takes a while
        tensorrt_module(product)
    except EngineError as error:
        return str(error)
    return None


class _Contexts:
    """Makes an engine's execution contexts. What is asked for again and again may become a graph of ours."""

    may_be_captured = True

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def make(self) -> Any:
        """A context, or None."""
        return self._engine.create_execution_context()

    def keep(self) -> None:
        """Keep what has been found out about the card, if anything."""


class _OwnGraphs(_Contexts):
    """Of TensorRT-RTX, which makes CUDA graphs by itself, and compiles for the card when it first runs: in the
    background, so that a graph of ours would keep the slower kernels of the beginning. What it compiles is kept."""

    may_be_captured = False

    def __init__(self, trt: Any, engine: Any, folder: Path) -> None:
        super().__init__(engine)
        self._path = folder / f"compiled-tensorrt-rtx-{trt.__version__}"
        self._config = engine.create_runtime_config()
        self._config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        self._cache = self._config.create_runtime_cache()
        self._known = read_kept(self._path)
        if self._known and not self._cache.deserialize(self._known):
            self._known = b""  # of another card, or another version
        self._config.set_runtime_cache(self._cache)

    def make(self) -> Any:
        """See ``_Contexts``."""
        return self._engine.create_execution_context(runtime_config=self._config)

    def keep(self) -> None:
        """See ``_Contexts``."""
        compiled = bytes(self._cache.serialize())
        if compiled == self._known:
            return
        try:
            keep(self._path, compiled)
        except WriteError as error:
            _log.warning("what TensorRT-RTX compiled is not kept, and will be compiled again next time: %s", error)


class _Place(AbstractContextManager["_Place"]):
    """Where a batch lies while it is scored: pinned arrays, memory on the card, a stream and what runs on it.

    A context manager that gives all of it back.
    """

    def __init__(self, cuda: Cuda, contexts: _Contexts, logger: Any, card: ModelCard, at_most: int) -> None:
        self._cuda = cuda
        self._contexts = contexts
        self._logger = logger
        self._shapes = dict(zip(input_names(card), card.input_shapes, strict=True))
        self._times: Counter[int] = Counter()
        self._graphs: dict[int, tuple[Any, Any]] = {}
        self._may_be_captured = contexts.may_be_captured
        self._scored = 0
        with ExitStack() as taken:
            self._stream = cuda.stream()
            taken.callback(cuda.free_stream, self._stream)
            self._in = {name: self._pinned(taken, (at_most, *shape)) for name, shape in self._shapes.items()}
            self._out = {head.name: self._pinned(taken, (at_most, len(head.labels))) for head in card.heads}
            self._memory: dict[str, int] = {}
            for name, array in (self._in | self._out).items():
                self._memory[name] = cuda.allocate(array.nbytes)
                taken.callback(cuda.free, self._memory[name])
            self._context = self._new_context()
            self._taken = taken.pop_all()

    def __exit__(self, *_: object) -> None:
        """Give memory, graphs and stream back, when nothing is on its way any more."""
        self._cuda.wait(self._stream)
        for graph, _context in self._graphs.values():
            self._taken.callback(self._cuda.free_graph, graph)
        self._graphs, self._context = {}, None
        self._taken.close()

    def start(self, windows: Sequence[FloatArray]) -> None:
        """Begin to score windows, one array (n, bands, frames) an input, and return at once."""
        self._scored = n = len(windows[0])
        for array, values in zip(self._in.values(), windows, strict=True):
            array[:n] = values
        self._times[n] += 1
        if (
            self._may_be_captured
            and n not in self._graphs
            and self._times[n] >= HOT
            and len(self._graphs) < _MOST_GRAPHS
        ):
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

    def _pinned(self, taken: ExitStack, shape: tuple[int, ...]) -> FloatArray:
        array = self._cuda.pinned(shape)
        taken.callback(self._cuda.free_pinned, array)
        return array

    def _capture(self, n: int) -> None:
        """Make a graph of a batch of ``n``; without, everything goes on as before."""
        try:
            # A context of its own: a graph keeps the addresses that its context works with.
            context = self._new_context()
            self._set_batch(context, n)
            # Once without, for what a context puts off until it is first used cannot be captured.
            self._enqueue(context, n)
            self._cuda.wait(self._stream)
            with self._cuda.capturing(self._stream) as captured:
                self._enqueue(context, n)
        except EngineError as error:
            self._may_be_captured = False
            _log.warning("scoring goes on without further CUDA graphs (%s)", error)
            return
        self._graphs[n] = captured[0], context

    def _new_context(self) -> Any:
        context = self._contexts.make()
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
