"""What ``auto`` takes: every runtime that this machine has is loaded, compared with ONNX Runtime, and timed.

Which one is fastest depends on the network, the processor and the card; a table of ours would be wrong on yours.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.errors import GenrescopeError, ModelFileError
from models.example_windows import noise_windows
from models.scorer import ENGINE_SUFFIX, FloatArray, Scorer, WindowBatch, load_scorer
from models.scorer_kind import ScorerKind

CANDIDATES = (
    ScorerKind.ONNX,
    ScorerKind.ONNX_CUDA,
    ScorerKind.OPENVINO,
    ScorerKind.TENSORRT,
    ScorerKind.TENSORRT_RTX,
)
"""Not torch: it takes seconds to import, and several times as long as ONNX Runtime for a window."""

TOLERANCE = 1e-3
"""Greatest difference in any probability from ONNX Runtime for a runtime to be taken."""

MARGIN = 0.1
"""By this share another runtime must be faster than ONNX Runtime, the reference, to be worth leaving it."""

_SECONDS = 0.3
"""Of timing, over all candidates together; as much again, at most, for comparing a slow network."""
_COMPARED = 8
_ROUNDS_AT_LEAST = 3


@dataclass(frozen=True, slots=True)
class Measured:
    """What one runtime does with one model on this machine.

    ``latency_s`` is the median time of one window, ``difference`` the greatest in any probability from ONNX Runtime;
    both infinite where it fails.
    """

    kind: ScorerKind
    name: str
    latency_s: float
    difference: float
    failure: str | None = None

    @property
    def objection(self) -> str | None:
        """Why it must not be taken, however fast it is; None if it may."""
        if self.failure is not None:
            return self.failure
        if not self.difference <= TOLERANCE:  # so written that what is not a number is refused too
            return f"its probabilities differ by {self.difference:.2g} from ONNX Runtime's, expected {TOLERANCE:g}"
        return None

    def __str__(self) -> str:
        if self.failure is not None:
            return self.failure
        refused = f", but {self.objection}" if self.objection else ""
        return f"{self.name} {1000 * self.latency_s:.2f} ms{refused}"


@dataclass(frozen=True, slots=True)
class Choice:
    """The scorer that was taken, its measurement, and those of the others: none where there was nothing to choose."""

    scorer: Scorer
    taken: Measured | None = None
    others: tuple[Measured, ...] = ()

    @property
    def words(self) -> str | None:
        """What was taken and why, in a line; None where there was nothing to choose."""
        if self.taken is None:
            return None
        others = ", ".join(map(str, self.others))
        latency = f"{self.taken.name}: {1000 * self.taken.latency_s:.2f} ms a window"
        if self.taken.kind is ScorerKind.ONNX:
            return f"auto stays with {latency}, nothing that answers alike is {100 * MARGIN:.0f} % faster ({others})"
        return f"auto takes {latency} ({others})"


def choose(path: Path) -> Choice:
    """The fastest runtime for a model file on this machine.

    Takes up to a second beside what the runtimes take to load the model, and no time if there is but one.

    Raises:
        ModelFileError: as ``load_scorer``, for ONNX Runtime.
        EngineError: the file is an engine, and cannot be run here.
    """
    if path.suffix == ENGINE_SUFFIX:
        return Choice(load_scorer(path))
    scorers, _ = load_all(path, CANDIDATES)
    if len(scorers) == 1:
        return Choice(scorers[ScorerKind.ONNX])
    measured = measure(scorers)
    taken = fastest(measured)
    for kind, scorer in scorers.items():
        if kind is not taken.kind and callable(close := getattr(scorer, "close", None)):
            close()  # a card's memory does not go with the object
    return Choice(scorers[taken.kind], taken, tuple(each for each in measured if each is not taken))


def load_all(path: Path, kinds: Iterable[ScorerKind]) -> tuple[dict[ScorerKind, Scorer], dict[ScorerKind, str]]:
    """Load a model file with ONNX Runtime and with every other of ``kinds`` that can; and why the others cannot.

    Raises:
        ModelFileError: as ``load_scorer``, for ONNX Runtime; or the file is an engine, which has but one runtime.
    """
    if path.suffix == ENGINE_SUFFIX:
        raise ModelFileError(
            f"engine {path}: expected a model, which several runtimes can be tried on: give the one it was made from"
        )
    scorers = {ScorerKind.ONNX: load_scorer(path, ScorerKind.ONNX)}
    reasons: dict[ScorerKind, str] = {}
    for kind in kinds:
        if kind in scorers:
            continue
        if reason := _unavailable(kind):
            reasons[kind] = reason
            continue
        try:
            scorers[kind] = load_scorer(path, kind)
        except GenrescopeError as error:
            reasons[kind] = str(error)
    return scorers, reasons


def _unavailable(kind: ScorerKind) -> str | None:
    """Why a runtime cannot be used for any model, where that is known before a model is opened."""
    if kind in (ScorerKind.TENSORRT, ScorerKind.TENSORRT_RTX):
        from models.tensorrt_scorer import available

        return available(kind.value)
    return None


def measure(scorers: Mapping[ScorerKind, Scorer]) -> tuple[Measured, ...]:
    """Compare loaded scorers of one model with ONNX Runtime's, which is among them, and time them by turns."""
    reference = scorers[ScorerKind.ONNX]
    windows = noise_windows(reference.card, count=_COMPARED)
    one = _first(windows, 1)
    reference.score(one)  # what is put off until the first time is not to count
    started = time.perf_counter()
    reference.score(one)
    seconds = time.perf_counter() - started
    # One window and several: a runtime may do them by different code.
    batches = (one, _first(windows, max(2, int(_SECONDS / len(scorers) / seconds))))
    expected = [reference.score(batch) for batch in batches]
    compared = {kind: _compare(scorer, batches, expected) for kind, scorer in scorers.items()}
    times = _times({kind: scorer for kind, scorer in scorers.items() if compared[kind][1] is None}, one)
    return tuple(
        Measured(kind, scorer.name, statistics.median(times.get(kind, [math.inf])), *compared[kind])
        for kind, scorer in scorers.items()
    )


def fastest(measured: Iterable[Measured]) -> Measured:
    """The one to take: ONNX Runtime, unless another that answers alike is faster by the margin."""
    by_kind = {each.kind: each for each in measured}
    reference = by_kind[ScorerKind.ONNX]
    others = [each for each in by_kind.values() if each.kind in CANDIDATES and not each.objection]
    best = min(others, key=lambda each: each.latency_s, default=reference)
    return best if best.latency_s <= (1 - MARGIN) * reference.latency_s else reference


def _compare(
    scorer: Scorer, batches: Iterable[WindowBatch], expected: Iterable[Mapping[str, FloatArray]]
) -> tuple[float, str | None]:
    """The greatest difference in any probability from what is expected of some batches; and why there is none."""
    differences: list[float] = []
    for windows, wanted in zip(batches, expected, strict=True):
        try:
            scores = scorer.score(windows)
        except GenrescopeError as error:
            return math.inf, str(error)
        differences += [float(np.abs(scores[name] - wanted[name]).max()) for name in wanted]
    return float(np.max(differences)), None  # numpy's, for which nothing is greater than what is not a number


def _first(windows: WindowBatch, count: int) -> WindowBatch:
    return tuple(each[:count] for each in windows)


def _times(scorers: Mapping[ScorerKind, Scorer], windows: WindowBatch) -> dict[ScorerKind, list[float]]:
    """Seconds of each call. By turns, so that a moment in which the machine is busy does not fall on one alone."""
    times: dict[ScorerKind, list[float]] = {kind: [] for kind in scorers}
    begun = time.perf_counter()
    while time.perf_counter() - begun < _SECONDS or len(times[ScorerKind.ONNX]) < _ROUNDS_AT_LEAST:
        for kind, scorer in scorers.items():
            started = time.perf_counter()
            scorer.score(windows)
            times[kind].append(time.perf_counter() - started)
    return times
