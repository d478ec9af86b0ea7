"""Figures of evaluations, and how far chance may have moved them.

All figures are ratios of sums over files, so one resampling serves them all. Files are pooled over the folds of a run
before a figure is made of them, as suits F1 (Forman & Scholz 2010).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.stats

from train.coverage import Coverage
from train.record import Decision, Record
from train.reliability import Reliability

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Figures = Mapping[str, FloatArray]
"""``accuracy``, ``macro_f1``, ``balanced_accuracy``, ``window_accuracy`` (...) and ``recall``, ``precision``, ``f1``
(..., classes), for sums (..., numbers). nan where there is nothing to divide by."""

LEVEL = 0.95
RESAMPLES = 10_000
HEADLINES = ("accuracy", "macro_f1", "balanced_accuracy", "window_accuracy")

_DRAWN_AT_ONCE = 1 << 22


class Interval(NamedTuple):
    """A 95 % interval, from ``low`` to ``high``."""

    low: float
    high: float


class Spread(NamedTuple):
    """A figure over the networks of several folds and seeds: ``interval`` is that of Student's t for its ``mean``,
    None where the figure never differs."""

    mean: float
    deviation: float
    interval: Interval | None


def sums_by_file(record: Record, decision: Decision) -> IntArray:
    """What each file adds to the figures' sums: (files, 3 * classes + 2).

    By label: rightly given, true, given; then its windows named rightly, and its windows.
    """
    labels = record.labels
    true = np.array([labels.index(file.label) for file in record.files])
    given = np.array([file.answer(decision).given for file in record.files])
    windows = np.array([file.windows for file in record.files])
    rows, identity = np.arange(len(true)), np.eye(len(labels), dtype=np.int64)
    return np.concatenate(
        [
            identity[true] * (true == given)[:, None],
            identity[true],
            identity[given],
            windows[rows, true][:, None],
            windows.sum(axis=1)[:, None],
        ],
        axis=1,
    )


def figures(sums: npt.NDArray[np.number]) -> Figures:
    """The figures that sums (..., 3 * classes + 2) over files come to.

    The means over classes (macro-F1, balanced accuracy) leave out classes without any file.
    """
    classes = (sums.shape[-1] - 2) // 3
    parts = np.split(np.asarray(sums, dtype=np.float64), [classes, 2 * classes, 3 * classes], axis=-1)
    right, true, given, windows = parts
    recall, precision = _ratio(right, true), _ratio(right, given)
    f1 = np.where(true > 0, _ratio(2 * right, true + given), np.nan)
    return {
        "accuracy": _ratio(right.sum(axis=-1), true.sum(axis=-1)),
        "macro_f1": _mean_over_classes(f1),
        "balanced_accuracy": _mean_over_classes(recall),
        "window_accuracy": _ratio(windows[..., 0], windows[..., 1]),
        "recall": recall,
        "precision": precision,
        "f1": f1,
    }


def confusion(records: Sequence[Record], decision: Decision) -> IntArray:
    """Files by true label (rows) and given label (columns), over all records."""
    labels = records[0].labels
    pairs = [
        labels.index(file.label) * len(labels) + file.answer(decision).given
        for record in records
        for file in record.files
    ]
    return np.bincount(pairs, minlength=len(labels) ** 2).reshape(len(labels), len(labels))


def metrics(record: Record) -> dict[str, float]:
    """Figures for a model card, of files as live audio is judged and (``published_...``) as the recipe judges them.

    ``accuracy_at_80`` is that of the 80 % of the files that are answered most confidently.
    ``ece_...`` are expected calibration errors: of files, and of windows and the running vote, at temperature 1
    (before) and at the card's (after); ``decided_...`` the time in which the vote shows a label. A figure that cannot
    be had is left out: a card holds no nan.
    """
    live, published = (figures(sums_by_file(record, kind).sum(axis=0)) for kind in ("live", "published"))
    trust = record.trust
    windows = trust.vote_after.total
    values = {
        "files": len(record.files),
        "file_accuracy": float(live["accuracy"]),
        "file_macro_f1": float(live["macro_f1"]),
        "file_balanced_accuracy": float(live["balanced_accuracy"]),
        "published_accuracy": float(published["accuracy"]),
        "published_macro_f1": float(published["macro_f1"]),
        "window_accuracy": float(live["window_accuracy"]),
        "accuracy_at_80": Coverage.of([record]).at(0.8),
        "ece_files": _files(record).error if record.calibrated else math.nan,
        "ece_windows_before": trust.windows_before.error,
        "ece_windows_after": trust.windows_after.error if record.calibrated else math.nan,
        "ece_vote_before": trust.vote_before.error,
        "ece_vote_after": trust.vote_after.error if record.calibrated else math.nan,
        "vote_accuracy": trust.vote_after.accuracy,
        "decided_share": trust.decided / windows if windows else math.nan,
        "decided_accuracy": trust.decided_right / trust.decided if trust.decided else math.nan,
    }
    return {name: round(value, 4) for name, value in values.items() if math.isfinite(value)}


def _files(record: Record) -> Reliability:
    """Of the answers on files, as live audio is judged."""
    targets = np.array([record.labels.index(file.label) for file in record.files])
    return Reliability.of(np.array([file.live.probabilities for file in record.files]), targets)


def units_of(arms: Sequence[Sequence[Record]]) -> dict[str, str]:
    """For each file the unit that chance draws as a whole: its group (its artist), or itself where that is unknown."""
    units: dict[str, str] = {}
    for records in arms:
        for record in records:
            for file in record.files:
                units.setdefault(file.name, f"group {file.group.casefold()}" if file.group else f"file {file.name}")
    return units


def arrange(records: Sequence[Record], decision: Decision, units: Mapping[str, str]) -> IntArray:
    """Sums by unit and seed, (units, seeds, numbers); zero where a seed has not tested a unit."""
    index = {unit: row for row, unit in enumerate(dict.fromkeys(units.values()))}
    seeds = sorted({record.seed for record in records})
    arranged = np.zeros((len(index), len(seeds), 3 * len(records[0].labels) + 2), dtype=np.int64)
    for record in records:
        rows = [index[units[file.name]] for file in record.files]
        np.add.at(arranged, (rows, seeds.index(record.seed)), sums_by_file(record, decision))
    return arranged


def bootstrap(arms: Sequence[IntArray], *, seed: int = 0, resamples: int = RESAMPLES) -> list[FloatArray]:
    """Resampled sums, (resamples, numbers) of each arm, whose sums (units, seeds, numbers) are of the same units.

    Units and seeds are both drawn with replacement, crossed (Owen 2007): what comes out is the chance in which files
    were tested and in how each network happened to be trained. The arms share the units that are drawn, so that their
    differences are paired; each draws its own seeds.
    """
    random = np.random.default_rng(seed)
    # Units that are alike count as one kind: drawing how often each kind comes is drawing units, at a fraction of the
    # work.
    kinds, numbers = np.unique(
        np.concatenate([arm.reshape(len(arm), -1) for arm in arms], axis=1), axis=0, return_counts=True
    )
    units, at_once = int(numbers.sum()), max(1, _DRAWN_AT_ONCE // max(kinds.shape))
    edges = np.cumsum([arm[0].size for arm in arms])[:-1]
    drawn: list[list[FloatArray]] = [[] for _ in arms]
    for first in range(0, resamples, at_once):
        n = min(at_once, resamples - first)
        counts = random.multinomial(units, numbers / units, size=n)
        sums = counts.astype(np.float64) @ kinds.astype(np.float64)
        for arm, kept, part in zip(arms, drawn, np.split(sums, edges, axis=1), strict=True):
            seeds = arm.shape[1]
            weights = random.multinomial(seeds, np.full(seeds, 1 / seeds), size=n)
            kept.append(np.einsum("ns,nsf->nf", weights, part.reshape(n, seeds, -1)))
    return [np.concatenate(kept) for kept in drawn]


def percentiles(values: FloatArray) -> Interval | None:
    """The middle 95 % of resampled ``values`` (resamples,), nan left out; None if there is no other value than one."""
    values = values[np.isfinite(values)]
    if not len(values) or values.min() == values.max():
        return None
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def exact_interval(right: int, of: int) -> Interval:
    """Clopper & Pearson's interval of a proportion: for the ends of the scale, where resampling finds no spread."""
    found = scipy.stats.binomtest(right, of).proportion_ci(LEVEL, method="exact")
    return Interval(float(found.low), float(found.high))


def spread(values: Sequence[float], *, shared: float) -> Spread:
    """Of a figure over several networks; Nadeau & Bengio's (2003) correction widens the interval for training tracks
    that they share.

    Args:
        shared: test tracks over training tracks of one network; 0 if the networks are tested on the same tracks.
    """
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return Spread(finite[0] if finite else math.nan, math.nan, None)
    mean, deviation = float(np.mean(finite)), float(np.std(finite, ddof=1))
    if not deviation:
        return Spread(mean, 0.0, None)
    reach = float(scipy.stats.t.ppf((1 + LEVEL) / 2, len(finite) - 1)) * deviation * math.sqrt(1 / len(finite) + shared)
    return Spread(mean, deviation, Interval(max(0.0, mean - reach), min(1.0, mean + reach)))


def _ratio(parts: FloatArray, wholes: FloatArray) -> FloatArray:
    ratios: FloatArray = np.divide(parts, wholes, out=np.full(np.shape(parts), np.nan), where=np.asarray(wholes) > 0)
    return ratios


def _mean_over_classes(values: FloatArray) -> FloatArray:
    there = np.isfinite(values)
    return _ratio(np.where(there, values, 0.0).sum(axis=-1), there.sum(axis=-1).astype(np.float64))
