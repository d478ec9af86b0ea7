"""Whole files through the live path, as fast as they can be scored: ``classify`` says what ``live`` would say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import AudioError
from models.scorer import Scorer
from models.smoothing import DEFAULT_HALF_LIFE_S
from stream.engine import Engine
from stream.events import Event, HealthState, Verdict, VerdictState
from stream.file import AudioFile
from stream.level import FloatArray
from stream.pace import MAX_SPEED


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a file with one state and label, in seconds from its beginning."""

    start: float
    end: float
    label: str | None
    state: VerdictState


@dataclass(frozen=True, slots=True)
class Classification:
    """What a file is, by the mean probabilities (classes,) of its windows (Lidy & Schindler 2016, sec. 3), and how the
    running vote went. ``probabilities`` is None for a file that is silent throughout."""

    file: str
    seconds: float
    labels: tuple[str, ...]
    probabilities: FloatArray | None
    segments: tuple[Segment, ...]

    @property
    def label(self) -> str | None:
        """The likeliest label."""
        return None if self.probabilities is None else self.labels[int(self.probabilities.argmax())]

    @property
    def confidence(self) -> float | None:
        """Its mean probability."""
        return None if self.probabilities is None else float(self.probabilities.max())

    def to_json(self) -> dict[str, Any]:
        """As one JSON object."""
        probabilities = None
        if self.probabilities is not None:
            probabilities = {
                label: round(float(p), 5) for label, p in zip(self.labels, self.probabilities, strict=True)
            }
        return {
            "file": self.file,
            "seconds": round(self.seconds, 3),
            "label": self.label,
            "confidence": None if self.confidence is None else round(self.confidence, 5),
            "probabilities": probabilities,
            "segments": [
                {
                    "start": round(segment.start, 3),
                    "end": round(segment.end, 3),
                    "label": segment.label,
                    "state": segment.state.value,
                }
                for segment in self.segments
            ],
        }


class _Collector:
    """Sums the probabilities of one file, and keeps its runs of equal verdicts."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._rate = sample_rate_hz
        self._total: npt.NDArray[np.float64] | None = None
        self._scored = 0
        self.segments: list[Segment] = []

    @property
    def mean(self) -> FloatArray | None:
        """Mean probabilities (classes,) of all windows that were scored; None if none was."""
        return None if self._total is None else (self._total / self._scored).astype(np.float32)

    def publish(self, event: Event) -> None:
        if not isinstance(event, Verdict):
            return
        if event.raw is not None:
            new = event.raw.astype(np.float64)
            self._total = new if self._total is None else self._total + new
            self._scored += 1
        # A verdict holds from its sample until the next one's; the first also for what came before it.
        at = event.sample / self._rate if self.segments else 0.0
        if self.segments:
            last = self.segments[-1]
            if (last.label, last.state) == (event.label, event.state):
                return
            self.segments[-1] = replace(last, end=at)
        self.segments.append(Segment(at, at, event.label, event.state))


def classify(
    path: Path,
    scorer: Scorer,
    *,
    hop_s: float | None = None,
    half_life_s: float = DEFAULT_HALF_LIFE_S,
) -> Classification:
    """Classify one file.

    Raises:
        AudioError: the file cannot be read, or is shorter than the model's window.
    """
    card = scorer.card
    rate = card.clock.sample_rate_hz
    collector = _Collector(rate)
    source = AudioFile(path, speed=MAX_SPEED)
    engine = Engine(scorer, {"file": source}, [collector], hop_s=hop_s, half_life_s=half_life_s)
    engine.run()
    (channel,) = engine.channels
    health = channel.health()
    if health.state is HealthState.FAILED:
        raise AudioError(health.reason)
    seconds = channel.ring.written / rate
    if seconds < card.window_seconds:
        raise AudioError(
            f"{path}: expected at least the model's window of {card.window_seconds:.2f} seconds, "
            f"the file has {seconds:.2f}"
        )
    *before, last = collector.segments
    return Classification(
        file=str(path),
        seconds=seconds,
        labels=card.head.labels,
        probabilities=collector.mean,
        segments=(*before, replace(last, end=seconds)),
    )
