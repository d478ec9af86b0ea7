"""From a typed ONNX graph to a TensorRT plan: parse, build, and say in TensorRT's own words what it did not like.

One code for the two products, ``tensorrt`` (servers) and ``tensorrt-rtx`` (the cards of desktops), and for both majors
in use, 10 and 11: only names that all of them have are used, and no number of an enumeration is written down. TensorRT
reports failures by returning nothing; what it logged meanwhile is the reason.
"""

from __future__ import annotations

import importlib
from collections import deque
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from models.engine_file import Target
from models.errors import EngineError
from models.model_file import input_names
from models.spec import ModelCard

MODULES = {"tensorrt": ("tensorrt", "tensorrt_bindings"), "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings")}
"""By product, the packages that may hold the bindings; the first is a shell around the second."""
_WORKSPACE_BYTES = 1 << 30
_WORDS_KEPT = 4

Progress = Callable[[str, int, int], bool]
"""Called with a phase of the building, the steps done in it and all its steps; returns False to stop the building."""


def installed_modules(product: str) -> list[str]:
    """Names of a product's packages, without loading any.

    Raises:
        EngineError: none is installed.
    """
    names = [name for name in MODULES[product] if find_spec(name) is not None]
    if not names:
        raise EngineError(
            f"{product} is not installed: in genrescope's folder, "
            f'.venv/bin/pip install -c constraints.txt -e ".[{product}]"'
        )
    return names


def tensorrt_module(product: str) -> Any:
    """The bindings of a product.

    Raises:
        EngineError: not installed, or its libraries are missing.
    """
    reasons = []
    for name in installed_modules(product):
        try:
            return importlib.import_module(name)
        except (ImportError, OSError, RuntimeError) as error:
            reasons.append(f"{name}: {error}")
    raise EngineError(f"{product} is installed, but it cannot be loaded ({'; '.join(reasons)})")


def make_logger(trt: Any) -> Any:
    """A logger that keeps what TensorRT complains of; ``drain()`` returns it as one line and forgets it.

    It must live as long as anything that was made with it.
    """

    class Complaints(trt.ILogger):  # type: ignore[misc]  # the bindings have no types
        def __init__(self) -> None:
            super().__init__()
            # A call that succeeds may complain too, and of a queue threads may append at any time.
            self._said: deque[str] = deque(maxlen=_WORDS_KEPT)

        def log(self, severity: Any, message: str) -> None:
            # Called from TensorRT's own threads.
            if severity <= trt.ILogger.ERROR:
                self._said.append(message.strip())

        def drain(self) -> str:
            said = "; ".join(self._said)
            self._said.clear()
            return said or "TensorRT gave no reason"

    return Complaints()


def build_plan(
    trt: Any,
    logger: Any,
    model: bytes,
    card: ModelCard,
    target: Target,
    *,
    timings: bytes = b"",
    progress: Progress | None = None,
) -> tuple[bytes, bytes]:
    """Build an engine.

    Args:
        trt, logger: ``tensorrt_module``'s and ``make_logger``'s.
        model: a serialised ONNX graph, folded and in the target's precision already.
        timings: a timing cache of an earlier building on this card; a foreign one is left alone. TensorRT-RTX has none,
            it chooses when the engine is loaded.

    Returns:
        The plan, and the timing cache after it; empty where there is none.

    Raises:
        EngineError: TensorRT does not start, read the graph, or build it.
        KeyboardInterrupt: ``progress`` returned False.
    """
    logger.drain()  # what was said of something earlier must not be blamed on this
    try:
        builder = trt.Builder(logger)
    except TypeError as error:  # "factory function returned nullptr"
        raise EngineError(
            f"{target.product} does not start here, it needs an NVIDIA card and its driver ({logger.drain()})"
        ) from error
    # 10 makes weakly typed networks unless it is told; 11 knows no other.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    _parse(trt, logger, network, model, card)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, _WORKSPACE_BYTES)
    # On by default, and it rounds what is asked for in fp32 to 10 bits.
    config.clear_flag(trt.BuilderFlag.TF32)
    _set_profile(builder, config, card, target, logger)
    _set_capabilities(trt, config, target)
    stopped = _watch(trt, config, progress)
    has_timings = target.product == "tensorrt"
    if has_timings:
        cache = config.create_timing_cache(timings)
        if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
            logger.drain()
            config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
    plan = builder.build_serialized_network(network, config)
    if stopped:
        raise KeyboardInterrupt
    if plan is None:
        raise EngineError(f"{target.product} cannot build {card.name!r} in {target.precision}: {logger.drain()}")
    return bytes(plan), bytes(config.get_timing_cache().serialize()) if has_timings else b""


def _parse(trt: Any, logger: Any, network: Any, model: bytes, card: ModelCard) -> None:
    parser = trt.OnnxParser(network, logger)
    if parser.parse(model):
        return
    errors = [parser.get_error(at) for at in range(parser.num_errors)]
    words = [f"{error.desc()} (operator {error.node_operator()} {error.node_name()!r})" for error in errors]
    raise EngineError(
        f"TensorRT's parser does not read the graph of {card.name!r}: {'; '.join(words) or logger.drain()}"
    )


def _set_profile(builder: Any, config: Any, card: ModelCard, target: Target, logger: Any) -> None:
    profile = builder.create_optimization_profile()
    for name, shape in zip(input_names(card), card.input_shapes, strict=True):
        profile.set_shape(name, *((count, *shape) for count in (1, *target.batch)))
    if config.add_optimization_profile(profile) < 0:
        raise EngineError(f"batches of {target.batch} windows of {card.name!r} are refused: {logger.drain()}")


def _set_capabilities(trt: Any, config: Any, target: Target) -> None:
    if target.sms:
        config.num_compute_capabilities = len(target.sms)
        for at, sm in enumerate(target.sms):
            config.set_compute_capability(trt.ComputeCapability.__members__[f"SM{sm}"], at)


def _watch(trt: Any, config: Any, progress: Progress | None) -> list[bool]:
    """Tell ``progress`` how far the building is; returns a list that has something in it once it was to stop."""
    stopped: list[bool] = []
    if progress is None:
        return stopped
    tell = progress

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # the bindings have no types
        def __init__(self) -> None:
            super().__init__()
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:  # noqa: ARG002
            self._steps[phase_name] = num_steps
            self._say(phase_name, 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return self._say(phase_name, step + 1)

        def phase_finish(self, phase_name: str) -> None:
            self._say(phase_name, self._steps.pop(phase_name, 1))

        def _say(self, phase: str, done: int) -> bool:
            steps = max(1, self._steps.get(phase, 1))
            try:
                goes_on = not stopped and tell(phase, min(done, steps), steps)
            except KeyboardInterrupt:  # must not pass through TensorRT's frames
                goes_on = False
            if not goes_on:
                stopped.append(True)
            return goes_on

    config.progress_monitor = Monitor()
    return stopped
