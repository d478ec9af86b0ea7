"""Whole files through the live path, as fast as they can be scored: ``classify`` says what ``live`` would say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import AudioError
from models.scorer import Scorer
from models.smoothing import DEFAULT_HALF_LIFE_S
from stream.engine import Engine
from stream.events import Event, Health, HealthState, Verdict, VerdictState
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
    """Keeps the verdicts of one file, and stops the engine when the file turns out to be unreadable."""

    def __init__(self) -> None:
        self.verdicts: list[Verdict] = []
        self.failure: str | None = None
        self.engine: Engine | None = None

    def publish(self, event: Event) -> None:
        if isinstance(event, Verdict):
            self.verdicts.append(event)
        elif isinstance(event, Health) and event.state in (HealthState.FAILED, HealthState.RECONNECTING):
            self.failure = event.reason
            if self.engine is not None:
                self.engine.stop()


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
    collector = _Collector()
    engine = Engine(
        scorer, {"file": AudioFile(path, speed=MAX_SPEED)}, [collector], hop_s=hop_s, half_life_s=half_life_s
    )
    collector.engine = engine
    engine.run()
    if collector.failure is not None:
        raise AudioError(collector.failure)
    card = scorer.card
    rate = card.features.sample_rate_hz
    seconds = engine.channels[0].ring.written / rate
    if seconds < card.window_seconds:
        raise AudioError(
            f"{path}: expected at least the model's window of {card.window_seconds:.2f} seconds, "
            f"the file has {seconds:.2f}"
        )
    raw = [verdict.raw for verdict in collector.verdicts if verdict.raw is not None]
    return Classification(
        file=str(path),
        seconds=seconds,
        labels=card.head.labels,
        probabilities=np.mean(raw, axis=0) if raw else None,
        segments=_segments(collector.verdicts, rate, seconds),
    )


def _segments(verdicts: list[Verdict], sample_rate_hz: int, seconds: float) -> tuple[Segment, ...]:
    """Runs of equal verdicts; each holds from its sample until the next one's, the last until the end."""
    segments: list[Segment] = []
    for at, verdict in enumerate(verdicts):
        start = 0.0 if at == 0 else verdict.sample / sample_rate_hz
        end = verdicts[at + 1].sample / sample_rate_hz if at + 1 < len(verdicts) else seconds
        if segments and (segments[-1].label, segments[-1].state) == (verdict.label, verdict.state):
            start = segments.pop().start
        segments.append(Segment(start, end, verdict.label, verdict.state))
    return tuple(segments)
