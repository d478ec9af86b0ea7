"""Do probabilities mean what they say? Counts by confidence, which add up over any number of files."""

from __future__ import annotations

from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

BINS = 15
"""Equal bins of confidence from 0 to 1 (Guo et al. 2017)."""

Whole = Annotated[int, Field(ge=0)]


class Reliability(BaseModel):
    """For each bin of confidence: how many answers fall into it, the sum of their confidences, how many are right."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    answers: tuple[Whole, ...] = (0,) * BINS
    confidence: tuple[float, ...] = (0.0,) * BINS
    right: tuple[Whole, ...] = (0,) * BINS

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        lengths = {len(self.answers), len(self.confidence), len(self.right)}
        if lengths != {BINS}:
            raise ValueError(f"expected {BINS} bins, got {sorted(lengths)}")
        if any(right > answers for right, answers in zip(self.right, self.answers, strict=True)):
            raise ValueError("expected no more right answers than answers in a bin")
        return self

    @classmethod
    def of(cls, probabilities: npt.NDArray[np.floating], targets: npt.NDArray[np.int64]) -> Reliability:
        """Of answers with ``probabilities`` (n, classes), whose true labels are ``targets`` (n,)."""
        return cls.of_answers(probabilities.max(axis=1), probabilities.argmax(axis=1) == targets)

    @classmethod
    def of_answers(cls, confidences: npt.NDArray[np.floating], hits: npt.NDArray[np.bool_]) -> Reliability:
        """Of answers given with ``confidences`` (n,), of which ``hits`` (n,) are right."""
        bins = np.minimum((confidences * BINS).astype(int), BINS - 1)

        def sums(weights: npt.NDArray[np.floating]) -> list[float]:
            return list(np.bincount(bins, weights=weights, minlength=BINS).tolist())

        return cls(
            answers=tuple(np.bincount(bins, minlength=BINS).tolist()),
            confidence=tuple(sums(confidences.astype(np.float64))),
            right=tuple(int(number) for number in sums(hits.astype(np.float64))),
        )

    def __add__(self, other: Reliability) -> Reliability:
        """Of the answers of both."""
        return Reliability(
            answers=tuple(a + b for a, b in zip(self.answers, other.answers, strict=True)),
            confidence=tuple(a + b for a, b in zip(self.confidence, other.confidence, strict=True)),
            right=tuple(a + b for a, b in zip(self.right, other.right, strict=True)),
        )

    @property
    def total(self) -> int:
        """All answers."""
        return sum(self.answers)

    @property
    def accuracy(self) -> float:
        """Share of the answers that are right; nan without answers."""
        return sum(self.right) / self.total if self.total else float("nan")

    @property
    def error(self) -> float:
        """Expected calibration error: mean gap between confidence and accuracy over the bins, weighted by their
        answers (Guo et al. 2017); nan without answers."""
        gaps = (abs(right - confidence) for right, confidence in zip(self.right, self.confidence, strict=True))
        return sum(gaps) / self.total if self.total else float("nan")
