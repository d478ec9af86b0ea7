"""Whole files through the live path, as fast as they can be scored: ``classify`` says what ``live`` would say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.audio import load
from models.confidence import of_whole_file, side_by_side
from models.errors import AudioError
from models.frontend import features
from models.half_life import DEFAULT_HALF_LIFE_S
from models.scorer import Scorer
from models.spec import ModelCard
from models.votes import is_for
from models.windowing import filled
from stream.engine import Engine
from stream.events import Event, HealthState, Verdict, VerdictState, answer_json
from stream.file import AudioFile
from stream.level import FloatArray, LevelMeter
from stream.pace import MAX_SPEED
from stream.windows import ACTIVE_SHARE


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a file with one state and label, in seconds from its beginning; ``instead`` of a label what it is,
    to another head, of which this question is not asked."""

    start: float
    end: float
    label: str | None
    state: VerdictState
    instead: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As one JSON object."""
        times = {"start": round(self.start, 3), "end": round(self.end, 3)}
        said = {"label": self.label, "state": self.state.value}
        return {**times, **said} if self.instead is None else {**times, **said, "instead": self.instead}


@dataclass(frozen=True, slots=True)
class HeadAnswer:
    """The answer to one of the model's questions for a whole file: the mean of the ``probabilities`` (classes,) of the
    windows that count for it, as sure as such a mean may be, in the order of ``labels``; None where there were none.
    ``instead`` is what the file is, to another head, that this question does not mean: speech has no genre."""

    name: str
    labels: tuple[str, ...]
    probabilities: FloatArray | None
    instead: str | None = None

    @property
    def label(self) -> str | None:
        """The likeliest label."""
        if self.probabilities is None or self.instead is not None:
            return None
        return self.labels[int(self.probabilities.argmax())]

    @property
    def confidence(self) -> float | None:
        """Its probability; none beside ``instead``."""
        return None if self.probabilities is None or self.instead is not None else float(self.probabilities.max())

    def to_json(self) -> dict[str, Any]:
        """As one JSON object."""
        return answer_json(self.labels, self.label, self.confidence, self.probabilities, self.instead)


@dataclass(frozen=True, slots=True)
class Classification:
    """What a file is, by the mean probabilities of its windows (Lidy & Schindler 2016, sec. 3), and how the running
    vote of the first head went. Windows that were not yet whole count only where none was; a file shorter than the
    window is repeated to fill it, if the model was trained so."""

    file: str
    seconds: float
    heads: tuple[HeadAnswer, ...]
    segments: tuple[Segment, ...]

    @property
    def label(self) -> str | None:
        """The first head's."""
        return self.heads[0].label

    @property
    def confidence(self) -> float | None:
        """The first head's."""
        return self.heads[0].confidence

    @property
    def probabilities(self) -> FloatArray | None:
        """The first head's, (classes,)."""
        return self.heads[0].probabilities

    def to_json(self) -> dict[str, Any]:
        """As one JSON object."""
        return {
            "file": self.file,
            "seconds": round(self.seconds, 3),
            **self.heads[0].to_json(),
            "heads": {head.name: head.to_json() for head in self.heads},
            "segments": [segment.to_json() for segment in self.segments],
        }


class _Mean:
    """The mean of probabilities (classes,) as they come, and of how many."""

    def __init__(self) -> None:
        self._total: npt.NDArray[np.float64] | None = None
        self.count = 0

    def add(self, probabilities: FloatArray) -> None:
        new = probabilities.astype(np.float64)
        self._total = new if self._total is None else self._total + new
        self.count += 1

    @property
    def value(self) -> FloatArray | None:
        """None before the first."""
        return None if self._total is None else (self._total / self.count).astype(np.float32)


class _Collector:
    """Averages the probabilities of one file, head by head, and keeps its runs of equal verdicts."""

    def __init__(self, card: ModelCard) -> None:
        self._card = card
        self._rate = card.clock.sample_rate_hz
        self._whole, self._partial = [_Mean() for _ in card.heads], [_Mean() for _ in card.heads]
        self.segments: list[Segment] = []

    def heard(self, hop_s: float) -> list[FloatArray | None]:
        """Each head's probabilities (classes,) of the file by its whole windows, ``hop_s`` apart, else by the others;
        None if none was scored."""
        found: list[FloatArray | None] = []
        for head, whole, partial in zip(self._card.heads, self._whole, self._partial, strict=True):
            if whole.value is None:
                found.append(partial.value)
            else:
                windows = side_by_side(whole.count, hop_s, self._card.window_seconds)
                found.append(of_whole_file(whole.value, head.file_temperature, windows=windows))
        return found

    def publish(self, event: Event) -> None:
        if not isinstance(event, Verdict):
            return
        means = self._partial if event.state is VerdictState.WARMING_UP else self._whole
        raw = {head.name: head.raw for head in event.heads if head.raw is not None}
        for mean, head in zip(means, self._card.heads, strict=True):
            if raw and is_for(head, self._card, raw):
                mean.add(raw[head.name])
        # A verdict holds from its sample until the next one's; the first also for what came before it.
        at = event.sample / self._rate if self.segments else 0.0
        if self.segments:
            last = self.segments[-1]
            if (last.label, last.state, last.instead) == (event.label, event.state, event.head.instead):
                return
            self.segments[-1] = replace(last, end=at)
        self.segments.append(Segment(at, at, event.label, event.state, event.head.instead))


def classify(
    path: Path,
    scorer: Scorer,
    *,
    hop_s: float | None = None,
    half_life_s: float = DEFAULT_HALF_LIFE_S,
) -> Classification:
    """Classify one file.

    Raises:
        AudioError: the file cannot be read, or is shorter than the model's window and may not be repeated.
    """
    card = scorer.card
    rate = card.clock.sample_rate_hz
    collector = _Collector(card)
    source = AudioFile(path, speed=MAX_SPEED)
    engine = Engine(scorer, {"file": source}, [collector], hop_s=hop_s, half_life_s=half_life_s)
    engine.run()
    heard_hop_s = engine.hop_frames * card.clock.seconds_per_frame
    (channel,) = engine.channels
    health = channel.health()
    if health.state is HealthState.FAILED:
        raise AudioError(health.reason)
    seconds = channel.ring.written / rate
    short = seconds < card.window_seconds
    if short and card.window.short == "wait":
        raise AudioError(
            f"{path}: expected at least the model's window of {card.window_seconds:.2f} seconds, "
            f"the file has {seconds:.2f}"
        )
    *before, last = collector.segments or [Segment(0.0, 0.0, None, VerdictState.WARMING_UP)]
    return Classification(
        file=str(path),
        seconds=seconds,
        heads=_answers(card, _repeated(path, scorer) if short else collector.heard(heard_hop_s)),
        segments=(*before, replace(last, end=seconds)),
    )


def _answers(card: ModelCard, heard: Sequence[FloatArray | None]) -> tuple[HeadAnswer, ...]:
    answers = {
        head.name: HeadAnswer(head.name, head.labels, said) for head, said in zip(card.heads, heard, strict=True)
    }
    for head in card.heads:
        if head.given is not None and (other := answers[head.given.head].label) != head.given.label:
            answers[head.name] = replace(answers[head.name], instead=other)
    return tuple(answers.values())


def _repeated(path: Path, scorer: Scorer) -> list[FloatArray | None]:
    """Each head's probabilities (classes,) of one window filled with all of a short file over and over, as in
    training."""
    card = scorer.card
    samples = load(path, card.clock.sample_rate_hz)
    sound = filled([features(samples, spec) for spec in card.inputs], card)
    active = LevelMeter(card.clock.hop_samples, card.clock.seconds_per_frame).feed(samples)
    if not len(sound[0]) or not len(active):
        raise AudioError(
            f"{path}: expected at least {card.clock.samples_for(1)} samples at {card.clock.sample_rate_hz} Hz, "
            f"the file has {len(samples)}"
        )
    if active.mean() < ACTIVE_SHARE:
        return [None] * len(card.heads)
    # Zeros after the end complete centred frames, so that a file a little short of a window may have all of its frames.
    window = tuple(np.ascontiguousarray(each[: card.window.frames].T)[np.newaxis] for each in sound)
    scores = scorer.score(window)
    if not all(np.isfinite(scores[head.name]).all() for head in card.heads):
        return [None] * len(card.heads)
    found = {head.name: scores[head.name][0] for head in card.heads}
    return [found[head.name] if is_for(head, card, found) else None for head in card.heads]
