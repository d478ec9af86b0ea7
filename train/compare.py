"""Is one network really better than another? Both have answered for the same files."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import scipy.stats

from train.decision import LIVE, describe
from train.record import Decision, FileAnswer, Record, RecordError
from train.statistics import LEVEL, Interval, arrange, bootstrap, figures, percentiles, units_of
from train.track import some
from train.wording import counted

ALPHA = 1 - LEVEL


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure of both, and by how much ``b`` is above ``a``; ``interval`` is None where resampling moves nothing."""

    name: str
    files: int
    a: float
    b: float
    difference: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """``p`` is McNemar's exact p-value with one network a side; with several seeds that of the exact sign test, over
    the files on which one side is right with a greater share of its seeds (``only_a_right``, ``only_b_right``). Both
    take each file by itself; if ``grouped``, the intervals draw the files of one group (an artist's) together.
    ``alike``: each file is given the same labels by both, equally often."""

    a: str
    b: str
    judged: str
    files: int
    only_a_right: int
    only_b_right: int
    p: float
    test: str
    seeds: tuple[int, int]
    grouped: bool
    alike: bool
    accuracy: Difference
    macro_f1: Difference
    recall: tuple[Difference, ...]

    @property
    def real(self) -> bool:
        """True if chance explains the difference in accuracy neither by the interval nor by the test."""
        interval = self.accuracy.interval
        return interval is not None and not interval.low <= 0 <= interval.high and self.p < ALPHA

    @property
    def sentence(self) -> str:
        """The answer for people."""
        if self.alike:
            files = counted(self.files, "file")
            return f"{self.a} and {self.b} give the same answers on all {files}: nothing tells them apart."
        points = 100 * self.accuracy.difference
        interval = self.accuracy.interval
        reach = f"95 % interval {100 * interval.low:+.1f} to {100 * interval.high:+.1f}" if interval else "no interval"
        evidence = f"over {counted(self.files, 'file')} (B - A: {reach}; {self.test}: {_p(self.p)})"
        if self.real:
            better, worse = (self.b, self.a) if points > 0 else (self.a, self.b)
            return f"The difference is real: {better} is better than {worse} by {abs(points):.1f} points {evidence}."
        return (
            f"No difference is shown: the accuracies of {self.a} and {self.b} lie {abs(points):.1f} points apart "
            f"{evidence}, which chance may explain{self._by}."
        )

    @property
    def _by(self) -> str:
        """Which of the two ways of asking leaves it open, where only one does."""
        interval = self.accuracy.interval
        if interval is None or (interval.low <= 0 <= interval.high) == (self.p >= ALPHA):
            return ""
        return (
            " by the interval, though not by the test" if self.p < ALPHA else " by the test, though not by the interval"
        )

    @property
    def caution(self) -> str:
        """What the answer does not say."""
        single = [side for side, seeds in zip("AB", self.seeds, strict=True) if seeds == 1]
        if not single:
            return ""
        return (
            f"Only one seed of {' and of '.join(single)}: what is compared there is one training run, not its recipe; "
            "another seed may turn the order round."
        )

    @property
    def discordance(self) -> str:
        """On how many files which side is right, and what the test makes of them."""
        if max(self.seeds) > 1:
            counts = (
                f"Right with more of its seeds: A on {counted(self.only_a_right, 'file')}, B on {self.only_b_right}"
            )
        else:
            counts = f"Only A right: {counted(self.only_a_right, 'file')}, only B right: {self.only_b_right}"
        apart = ", while the intervals draw the files of one group (an artist's) together" if self.grouped else ""
        return f"{counts}. {self.test[0].upper()}{self.test[1:]} takes each file by itself{apart}."

    def as_json(self) -> dict[str, object]:
        """Fields for machines."""
        return {**asdict(self), "real": self.real, "sentence": self.sentence, "caution": self.caution}


def compare(
    a: Sequence[Record],
    b: Sequence[Record],
    *,
    names: tuple[str, str] | None = None,
    decision: Decision = "live",
    common_only: bool = False,
    seed: int = 0,
) -> Comparison:
    """Compare two networks or, given several records a side (folds, seeds), two recipes.

    Args:
        names: what to call the sides; the models' names if not given.
        common_only: leave out files that only one side has answered for.

    Raises:
        RecordError: the records are of other labels or other files, or disagree on a file's true label.
    """
    labels = a[0].labels
    if set(labels) != set(b[0].labels):
        missing = {"A": sorted(set(b[0].labels) - set(labels)), "B": sorted(set(labels) - set(b[0].labels))}
        lacks = "; ".join(f"{side} lacks {', '.join(names)}" for side, names in missing.items() if names)
        raise RecordError(f"expected records of the same labels to compare: {lacks}")
    common = _common_files(a, b, common_only=common_only)
    a, b = (_restricted(side, common, labels) for side in (a, b))
    first, second = names or (a[0].card.name, b[0].card.name)
    if first == second:
        first, second = f"A ({first})", f"B ({second})"
    units = units_of([a, b])
    arms = [arrange(side, decision, units) for side in (a, b)]
    for arm in arms:
        arm[..., -2:] = 0  # windows are not compared; without them many files are alike, and drawn at once
    found = [figures(arm.sum(axis=(0, 1))) for arm in arms]
    drawn = [figures(sums) for sums in bootstrap(arms, seed=seed)]
    files_of = dict.fromkeys(labels, 0)
    for label in common.values():
        files_of[label] += 1

    def difference(figure: str, name: str, files: int, column: int | None = None) -> Difference:
        ours, theirs = (float(side[figure] if column is None else side[figure][column]) for side in found)
        resampled = [side[figure] if column is None else side[figure][:, column] for side in drawn]
        return Difference(name, files, ours, theirs, theirs - ours, percentiles(resampled[1] - resampled[0]))

    only_a, only_b = _discordant(a, b, decision, list(common))
    several = max(len({record.seed for record in side}) for side in (a, b)) > 1
    return Comparison(
        a=first,
        b=second,
        judged=_judged([a, b], decision),
        files=len(common),
        only_a_right=only_a,
        only_b_right=only_b,
        p=float(scipy.stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0,
        test="exact sign test" if several else "McNemar's exact test",
        seeds=(len({record.seed for record in a}), len({record.seed for record in b})),
        grouped=len(set(units.values())) < len(units),
        alike=_given(a, decision) == _given(b, decision),
        accuracy=difference("accuracy", "accuracy", len(common)),
        macro_f1=difference("macro_f1", "macro-F1", len(common)),
        recall=tuple(
            difference("recall", label, files_of[label], column)
            for column, label in enumerate(labels)
            if files_of[label]
        ),
    )


def _common_files(a: Sequence[Record], b: Sequence[Record], *, common_only: bool) -> dict[str, str]:
    """The true label of each file that both have answered for."""
    sides = [{file.name: file.label for record in side for file in record.files} for side in (a, b)]
    common = {name: label for name, label in sides[0].items() if name in sides[1]}
    if not common:
        raise RecordError(
            "expected records of the same files to compare, they share none: "
            f"A has {some(list(sides[0]))}; B has {some(list(sides[1]))}"
        )
    lone = {
        "A": [name for name in sides[0] if name not in common],
        "B": [name for name in sides[1] if name not in common],
    }
    if any(lone.values()) and not common_only:
        named = "; ".join(f"{len(names)} only in {side} ({some(names)})" for side, names in lone.items() if names)
        raise RecordError(
            f"expected records of the same files, {named}; --common-only compares the {len(common)} that both have"
        )
    torn = [
        f"{name} ({label} in A, {sides[1][name]} in B)" for name, label in common.items() if sides[1][name] != label
    ]
    if torn:
        raise RecordError(f"expected the same true labels in both, {len(torn)} files differ: {some(torn)}")
    return common


def _restricted(records: Sequence[Record], common: dict[str, str], labels: tuple[str, ...]) -> list[Record]:
    """The records with the common files only, their labels in the order of ``labels``; without those that have none."""
    order = [records[0].labels.index(label) for label in labels]

    def reordered(answer: FileAnswer) -> FileAnswer:
        probabilities = tuple(answer.probabilities[index] for index in order)
        return FileAnswer(given=order.index(answer.given), probabilities=probabilities)

    kept = []
    for record in records:
        files = tuple(
            file.model_copy(
                update={
                    "live": reordered(file.live),
                    "published": reordered(file.published),
                    "windows": tuple(file.windows[index] for index in order),
                }
            )
            for file in record.files
            if file.name in common
        )
        if files:
            head = record.card.head.model_copy(update={"labels": labels})
            card = record.card.model_copy(update={"heads": (head, *record.card.heads[1:])})
            kept.append(record.model_copy(update={"card": card, "files": files}))
    return kept


def _discordant(a: Sequence[Record], b: Sequence[Record], decision: Decision, names: Sequence[str]) -> tuple[int, int]:
    """On how many files A, and B, is right more often than the other."""
    shares = [_right_share(side, decision, names) for side in (a, b)]
    return int((shares[0] > shares[1]).sum()), int((shares[1] > shares[0]).sum())


def _right_share(records: Sequence[Record], decision: Decision, names: Sequence[str]) -> npt.NDArray[np.float64]:
    row = {name: index for index, name in enumerate(names)}
    right, times = np.zeros(len(names)), np.zeros(len(names))
    for record in records:
        for file in record.files:
            right[row[file.name]] += record.labels[file.answer(decision).given] == file.label
            times[row[file.name]] += 1
    return np.asarray(right / times)


def _given(records: Sequence[Record], decision: Decision) -> dict[str, dict[int, float]]:
    """The share of the seeds by which each file is given each label."""
    given: dict[str, Counter[int]] = defaultdict(Counter)
    for record in records:
        for file in record.files:
            given[file.name][file.answer(decision).given] += 1
    return {name: {label: times / counts.total() for label, times in counts.items()} for name, counts in given.items()}


def _judged(sides: Sequence[Sequence[Record]], decision: Decision) -> str:
    if decision == "live":
        return f"{describe(LIVE)}, as live audio is judged"
    return " against ".join(dict.fromkeys(describe(side[0].card.decision) for side in sides)) + ", as published"


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
