"""What abstaining would bring: how right the answers are of which a network is most confident (selective prediction,
El-Yaniv & Wiener 2010)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from train.record import Decision, Record

SHARES = (0.5, 0.8, 1.0)
"""Shares of the files that a report names."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """``accuracy[i]`` is that of the ``i + 1`` most confident answers; of equally confident ones, what is expected."""

    accuracy: npt.NDArray[np.float64]

    @classmethod
    def of(cls, records: Sequence[Record], decision: Decision = "live") -> Coverage:
        """Of the answers on files, at least one; confidence is the probability of the answer."""
        answers = [(record, file, file.answer(decision)) for record in records for file in record.files]
        confidence = np.array([answer.probabilities[answer.given] for _, _, answer in answers])
        right = np.array([record.labels[answer.given] == file.label for record, file, answer in answers], dtype=float)
        # Equally confident answers come or go together: each counts as their mean.
        values, place, times = np.unique(-confidence, return_inverse=True, return_counts=True)
        means = np.bincount(place, weights=right, minlength=len(values)) / times
        return cls(np.cumsum(np.repeat(means, times)) / np.arange(1, len(right) + 1))

    def at(self, share: float) -> float:
        """Accuracy of the most confident ``share`` (0 to 1) of the answers, one at least."""
        return float(self.accuracy[max(1, round(share * len(self.accuracy))) - 1])

    @property
    def area(self) -> float:
        """Mean share of wrong answers over all coverages (AURC, Geifman & El-Yaniv 2017): less is better, and 0 only
        where all are right."""
        return float(1.0 - self.accuracy.mean())
