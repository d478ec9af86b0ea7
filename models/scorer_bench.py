"""How fast each runtime scores a model: of one window and of many at once, by turns in one run, beside what it must
cost."""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from models.choose import Measured, load_all, measure
from models.errors import ConfigError, GenrescopeError, ModelFileError
from models.example_windows import noise_windows
from models.graph_cost import Ceilings, GraphCost, graph_cost, measure_ceilings
from models.machine import memory_bytes
from models.scorer import Scorer, WindowBatch
from models.scorer_kind import ScorerKind
from models.spec import ModelCard

BATCHES = (1, 8, 64, 256, 1024, 4096)
_ON_ONE_THREAD = (ScorerKind.ONNX, ScorerKind.OPENVINO, ScorerKind.TORCH)
_ROUNDS = 10
_CALLS_AT_LEAST = 3
_FEATURE_MAPS = 100
"""Times the bytes of the windows that a network's feature maps take at most, where they are not counted."""


@dataclass(frozen=True, slots=True)
class Timing:
    """One runtime with so many windows at once.

    Seconds of a call; how many times as fast as ONNX Runtime, the median over the rounds, None where that was left out;
    and joules for a window by each counter of energy: of all that the machine did meanwhile.
    """

    kind: ScorerKind
    batch: int
    p50_s: float
    p99_s: float
    ratio: float | None
    joules: Mapping[str, float]

    @property
    def windows_per_s(self) -> float:
        """By the median call."""
        return self.batch / self.p50_s


@dataclass(frozen=True, slots=True)
class Skipped:
    """What was not measured, and why."""

    kinds: tuple[ScorerKind, ...]
    batch: int
    reason: str


@dataclass(slots=True)
class ModelBench:
    """A model, the runtimes that score it, what it must cost on one thread, and what has been measured."""

    path: Path
    card: ModelCard
    scorers: dict[ScorerKind, Scorer]
    measured: dict[ScorerKind, Measured]
    unusable: dict[ScorerKind, str]
    cost: GraphCost | None
    ceilings: Ceilings | None
    uncounted: str | None
    timings: list[Timing] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def floor_s(self, timing: Timing) -> float | None:
        """Seconds below which one thread cannot do what was timed; None if more than a thread did it, or uncounted."""
        if self.cost is None or self.ceilings is None or timing.kind not in _ON_ONE_THREAD:
            return None
        return self.ceilings.floor_s(self.cost, timing.batch)


def open_bench(path: Path, kinds: Sequence[ScorerKind]) -> ModelBench:
    """Load a model with all runtimes that are usable, of ``kinds`` where any are given, and count what it must cost.

    Raises:
        ModelFileError: as ``load_scorer``, for ONNX Runtime, which all are compared with.
        ConfigError: a runtime that was asked for by name cannot be used.
    """
    scorers, unusable = load_all(path, kinds or [kind for kind in ScorerKind if kind is not ScorerKind.AUTO])
    measured = {each.kind: each for each in measure(scorers)}
    for kind, each in measured.items():
        if each.failure is not None:
            del scorers[kind]
            unusable[kind] = each.failure
    if kinds and unusable:
        raise ConfigError(f"--scorer {next(iter(unusable))}: {next(iter(unusable.values()))}")
    cost = ceilings = uncounted = None
    if importlib.util.find_spec("onnx") is None:
        uncounted = "counting needs the package onnx, which is not installed"
    else:
        try:
            cost = graph_cost(path.read_bytes())
            ceilings = measure_ceilings(cost)
        except ModelFileError as error:
            uncounted = str(error)
    card = scorers[ScorerKind.ONNX].card
    return ModelBench(path, card, scorers, measured, unusable, cost, ceilings, uncounted)


def run(
    bench: ModelBench,
    batches: Sequence[int],
    *,
    seconds: float,
    joules: Callable[[], Mapping[str, float]],
) -> Iterator[int]:
    """Measure, smallest batch first; each is given when it is done, and its figures are in ``bench`` then.

    Args:
        bench: the model; timings are added to it, and what was skipped and why.
        batches: windows at once.
        seconds: for each runtime and batch. A runtime that cannot do a few calls in them is left out.
        joules: reads the counters of energy.
    """
    example = noise_windows(bench.card)
    window_s = {kind: bench.measured[kind].latency_s for kind in bench.scorers}
    for batch in sorted(batches):
        slow = [kind for kind, each in window_s.items() if _CALLS_AT_LEAST * batch * each > seconds]
        able = {kind: scorer for kind, scorer in bench.scorers.items() if kind not in slow}
        if not _fits(bench, batch):
            bench.skipped.append(Skipped(tuple(bench.scorers), batch, "might take more than half of the memory"))
        elif slow:
            words = f"a call would take more than {seconds / _CALLS_AT_LEAST:.2g} s: give more --seconds"
            bench.skipped.append(Skipped(tuple(slow), batch, words))
        if able and _fits(bench, batch):
            windows = tuple(each[np.arange(batch) % len(each)] for each in example)
            for kind in list(able):
                try:
                    able[kind].score(windows)  # what is put off until the first time is not to count
                except GenrescopeError as error:
                    bench.skipped.append(Skipped((kind,), batch, str(error)))
                    del able[kind]
            timings = time_by_turns(able, windows, seconds=seconds, joules=joules) if able else []
            bench.timings += timings
            window_s |= {each.kind: each.p50_s / batch for each in timings}
        yield batch


def time_by_turns(
    scorers: Mapping[ScorerKind, Scorer],
    windows: WindowBatch,
    *,
    seconds: float,
    joules: Callable[[], Mapping[str, float]],
) -> list[Timing]:
    """Time each scorer for so many seconds on the same windows, in rounds, so that what else the machine does falls on
    all of them; who is first changes from round to round."""
    slowest_s = max(_call_s(scorer, windows) for scorer in scorers.values())
    rounds = max(_CALLS_AT_LEAST, min(_ROUNDS, int(seconds / slowest_s)))
    times: dict[ScorerKind, list[list[float]]] = {kind: [] for kind in scorers}
    spent: dict[ScorerKind, list[dict[str, float]]] = {kind: [] for kind in scorers}
    order = list(scorers)
    for _ in range(rounds):
        for kind in order:
            before, calls, until = joules(), list[float](), time.perf_counter() + seconds / rounds
            while not calls or time.perf_counter() < until:
                calls.append(_call_s(scorers[kind], windows))
            after, scored = joules(), len(calls) * len(windows[0])
            times[kind].append(calls)
            spent[kind].append({name: (after[name] - before[name]) / scored for name in after if name in before})
        order = [*order[1:], order[0]]
    return [_timing(kind, len(windows[0]), times, spent[kind]) for kind in scorers]


def _timing(
    kind: ScorerKind,
    batch: int,
    times: Mapping[ScorerKind, list[list[float]]],
    spent: Sequence[Mapping[str, float]],
) -> Timing:
    p50_s, p99_s = (float(each) for each in np.percentile(np.concatenate(times[kind]), (50, 99)))
    ratio = None
    if reference := times.get(ScorerKind.ONNX):
        pairs = zip(reference, times[kind], strict=True)
        ratio = statistics.median(statistics.median(theirs) / statistics.median(ours) for theirs, ours in pairs)
    # The median: a counter that has begun again from nothing is wrong in one round.
    joules = {name: statistics.median(each[name] for each in spent if name in each) for name in spent[0]}
    return Timing(kind, batch, p50_s, p99_s, ratio, joules)


def _call_s(scorer: Scorer, windows: WindowBatch) -> float:
    started = time.perf_counter()
    scorer.score(windows)
    return time.perf_counter() - started


def _fits(bench: ModelBench, batch: int) -> bool:
    """False if the network's feature maps of so many windows might fill more than half of the memory."""
    window_bytes = sum(4 * bands * frames for bands, frames in bench.card.input_shapes)
    maps_bytes = bench.cost.activation_bytes if bench.cost else _FEATURE_MAPS * window_bytes
    return batch * maps_bytes < memory_bytes() / 2
