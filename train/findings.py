"""What a report says: every figure, table and sentence of it, from the records of one network or of one recipe."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from models.half_life import DEFAULT_HALF_LIFE_S
from train.coverage import SHARES, Coverage
from train.decision import LIVE, describe
from train.facts import facts, protocol
from train.machine import Latency
from train.recipe import Paper
from train.record import Decision, Record, Trust
from train.statistics import (
    HEADLINES,
    RESAMPLES,
    FloatArray,
    IntArray,
    Interval,
    Spread,
    arrange,
    bootstrap,
    confusion,
    exact_interval,
    figures,
    percentiles,
    spread,
    sums_by_file,
    units_of,
)
from train.wording import counted

MISTAKES = 20
"""Mistakes listed, the most confident first."""

_MEANINGS = {
    "accuracy": ("File accuracy", "files named rightly"),
    "macro_f1": ("Macro-F1", "mean of the classes' F1"),
    "balanced_accuracy": ("Balanced accuracy", "mean of the classes' recalls"),
    "window_accuracy": ("Window accuracy", "single windows named rightly"),
}


class Figure(NamedTuple):
    """A share and how far chance may have moved it; ``interval`` is None where nothing can be said."""

    name: str
    meaning: str
    value: float
    interval: Interval | None


class Judged(NamedTuple):
    """How files were judged, and the figures that came out."""

    title: str
    words: str
    figures: tuple[Figure, ...]


class Network(NamedTuple):
    """One network's line: shares of files as live audio is judged and as published, and of windows."""

    fold: int | None
    seed: int
    files: int
    epochs: int
    minutes: float | None
    figures: dict[str, float]


class ClassLine(NamedTuple):
    """One class; ``mistaken`` is what its files are most often taken for, with their number."""

    label: str
    files: int
    recall: float
    precision: float
    f1: float
    mistaken: str


class Mistake(NamedTuple):
    """A file that was given a wrong label, with the probabilities of that and of its true one."""

    file: str
    label: str
    given: str
    confidence: float
    true: float


@dataclass(frozen=True, slots=True)
class Findings:
    """See the fields' types. ``files`` are distinct files, ``answers`` one a file and seed; ``spreads`` are over the
    networks, by figure, empty for one network; ``chance`` says what the intervals mean."""

    records: tuple[Record, ...]
    files: int
    answers: int
    judged: tuple[Judged, ...]
    chance: str
    networks: tuple[Network, ...]
    spreads: dict[str, Spread]
    paper: Paper | None
    confusion: IntArray
    classes: tuple[ClassLine, ...]
    sources: tuple[tuple[str, str, int, int], ...]
    trust: Trust
    coverage: Coverage
    mistakes: tuple[Mistake, ...]
    facts: tuple[tuple[str, str], ...]

    @property
    def first(self) -> Record:
        """The first record: what all have in common is taken from it."""
        return self.records[0]

    @property
    def rows(self) -> tuple[tuple[Figure, ...], ...]:
        """The figures, those of one name by each way of judging together."""
        return tuple(zip(*(judged.figures for judged in self.judged), strict=True))

    @property
    def published(self) -> Judged:
        """The figures under the recipe's own decision."""
        return self.judged[-1]

    @property
    def what(self) -> str:
        """What was measured, in a line."""
        if len(self.records) == 1:
            where = "" if self.first.fold is None else f" of fold {self.first.fold}"
            return f"One network, {counted(self.files, 'file')}{where}"
        folds, seeds = ({getattr(record, name) for record in self.records} for name in ("fold", "seed"))
        tested = f"{counted(len(folds), 'fold')}, {counted(len(seeds), 'seed')}"
        return f"{len(self.records)} networks ({tested}), {counted(self.files, 'file')}"

    @property
    def unheard(self) -> tuple[str, ...]:
        """Classes of the model without a file to test on: they are in no mean."""
        return tuple(line.label for line in self.classes if not line.files)

    @property
    def calibrated(self) -> bool:
        """Whether any network's confidence was fitted; else it is the same before and after."""
        return any(record.calibrated for record in self.records)

    @property
    def kept(self) -> tuple[tuple[float, float], ...]:
        """Shares of the files that are answered most confidently, and how many of them are right."""
        return tuple((share, self.coverage.at(share)) for share in SHARES)

    @property
    def protocol(self) -> str:
        """How training and test tracks were told apart."""
        return protocol(self.records)

    @property
    def half_life_s(self) -> float:
        """Of the running vote that calibration is about."""
        return DEFAULT_HALF_LIFE_S


def find(records: Sequence[Record], *, paper: Paper | None = None, latency: Latency | None = None) -> Findings:
    """All that a report says of these records: of one network, or of one recipe over folds and seeds; at least one, all
    of the same labels."""
    matrix = confusion(records, "live")
    units = units_of([records])
    networks = tuple(_network(record) for record in records)
    answers = [(record, file) for record in records for file in record.files]
    return Findings(
        records=tuple(records),
        files=len({file.name for _, file in answers}),
        answers=len(answers),
        judged=_judged(records, units),
        chance=_chance(records, units),
        networks=networks,
        spreads=_spreads(records, networks) if len(records) > 1 else {},
        paper=paper,
        confusion=matrix,
        classes=_classes(records, matrix),
        sources=_sources(records),
        trust=sum((record.trust for record in records), Trust()),
        coverage=Coverage.of(records),
        mistakes=_mistakes(records),
        facts=facts(records, latency),
    )


def _judged(records: Sequence[Record], units: dict[str, str]) -> tuple[Judged, ...]:
    kinds: list[Decision] = ["live"] if records[0].card.decision == LIVE else ["live", "published"]
    arms = [arrange(records, kind, units) for kind in kinds]
    return tuple(
        _figures_of(kind, records, arm, drawn) for kind, arm, drawn in zip(kinds, arms, bootstrap(arms), strict=True)
    )


def _figures_of(decision: Decision, records: Sequence[Record], arm: IntArray, drawn: FloatArray) -> Judged:
    found, resampled = figures(arm.sum(axis=(0, 1))), figures(drawn)
    intervals = {name: percentiles(resampled[name]) for name in HEADLINES}
    accuracy = float(found["accuracy"])
    if accuracy in {0.0, 1.0}:
        # All units alike: nothing to resample, but a few of them do not prove perfection.
        intervals["accuracy"] = exact_interval(round(accuracy * len(arm)), len(arm))
    if decision == "published":
        # The windows counted are those of live audio.
        found, intervals["window_accuracy"] = {**found, "window_accuracy": np.array(np.nan)}, None
    return Judged(
        "As live" if decision == "live" else "As published",
        describe(LIVE if decision == "live" else records[0].card.decision),
        tuple(Figure(*_MEANINGS[name], float(found[name]), intervals[name]) for name in HEADLINES),
    )


def _chance(records: Sequence[Record], units: dict[str, str]) -> str:
    seeds = len({record.seed for record in records})
    grouped = len(set(units.values())) < len(units)
    drawn = "files (those of one group, an artist's, together)" if grouped else "files"
    crossed = f" and of the {seeds} seeds, crossed (Owen 2007)" if seeds > 1 else ""
    left_out = "" if seeds > 1 else " They do not cover the chance in training: that takes several seeds."
    return (
        f"95 % intervals: percentile bootstrap, {RESAMPLES:,} resamples of the tested {drawn}{crossed}; "
        f"where all or no files are right, Clopper and Pearson's exact interval.{left_out}"
    )


def _network(record: Record) -> Network:
    live, published = (figures(sums_by_file(record, kind).sum(axis=0)) for kind in ("live", "published"))
    return Network(
        fold=record.fold,
        seed=record.seed,
        files=len(record.files),
        epochs=record.card.provenance.epochs,
        minutes=record.training.minutes,
        figures={
            **{name: float(live[name]) for name in HEADLINES},
            "published_accuracy": float(published["accuracy"]),
            "published_macro_f1": float(published["macro_f1"]),
        },
    )


def _spreads(records: Sequence[Record], networks: Sequence[Network]) -> dict[str, Spread]:
    tested = len({file.name for record in records for file in record.files})
    mean = float(np.mean([network.files for network in networks]))
    # Each network learned from what it was not tested on; on one split over several seeds, no test track is shared out.
    shared = mean / (tested - mean) if tested > mean else 0.0
    return {
        name: spread([network.figures[name] for network in networks], shared=shared) for name in networks[0].figures
    }


def _classes(records: Sequence[Record], matrix: IntArray) -> tuple[ClassLine, ...]:
    labels = records[0].labels
    sums = sum(sums_by_file(record, "live").sum(axis=0) for record in records)
    found = figures(np.asarray(sums))
    lines = []
    for index, label in enumerate(labels):
        row = matrix[index].copy()
        row[index] = 0
        lines.append(
            ClassLine(
                label=label,
                files=int(matrix[index].sum()),
                recall=float(found["recall"][index]),
                precision=float(found["precision"][index]),
                f1=float(found["f1"][index]),
                mistaken=f"{labels[row.argmax()]} ({row.max()})" if row.any() else "",
            )
        )
    return tuple(lines)


def _sources(records: Sequence[Record]) -> tuple[tuple[str, str, int, int], ...]:
    """For each label that comes from several sources: (label, source, files, files named rightly)."""
    counts: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for record in records:
        for file in record.files:
            count = counts[file.label][file.source]
            count[0] += 1
            count[1] += record.labels[file.live.given] == file.label
    return tuple(
        (label, source, files, right)
        for label, sources in sorted(counts.items())
        if len(sources) > 1
        for source, (files, right) in sorted(sources.items())
    )


def _mistakes(records: Sequence[Record]) -> tuple[Mistake, ...]:
    found = []
    for record in records:
        labels = record.labels
        for file in record.files:
            if labels[file.live.given] != file.label:
                confidence = file.live.probabilities[file.live.given]
                true = file.live.probabilities[labels.index(file.label)]
                found.append(Mistake(file.name, file.label, labels[file.live.given], confidence, true))
    return tuple(sorted(found, key=lambda mistake: -mistake.confidence)[:MISTAKES])
