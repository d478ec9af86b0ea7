"""The messages that flow from an engine to its sinks. One frozen dataclass each; every time is also a sample index."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from models.spec import LogMel, ModelCard
from stream.picture import picture_spec

FloatArray = npt.NDArray[np.float32]


class VerdictState(StrEnum):
    """How far a verdict may be trusted."""

    WARMING_UP = "warming-up"
    """Less than one whole window of unbroken sound so far. A network trained on short audio too may name it already."""
    SILENCE = "silence"
    """The newest seconds are mostly silent; the vote is frozen."""
    UNSURE = "unsure"
    """No label is likely enough."""
    DECIDED = "decided"
    """The label has entered by its threshold and not yet left."""


class HealthState(StrEnum):
    """What a channel's source is doing."""

    STARTING = "starting"
    LIVE = "live"
    STALLED = "stalled"
    """Connected, but no samples come."""
    SILENT = "silent"
    """Samples come, all of them below the silence gate."""
    RECONNECTING = "reconnecting"
    FAILED = "failed"
    """The address is wrong; it is tried again at the longest interval only."""
    ENDED = "ended"
    """A source with an end (a file, standard input) has been heard to it."""


@dataclass(frozen=True, slots=True)
class HeadVerdict:
    """The answer to one of the model's questions. ``label`` is None where none is likely enough; ``confidence`` is its
    smoothed probability (the likeliest's, where there is none; None beside ``instead``). ``raw`` and ``smoothed`` are
    probabilities in the order of ``labels``, shape (classes,); None where the window was not scored, and while nothing
    has been. ``instead`` is the label of another head for which this question means nothing: of speech no genre is
    asked."""

    name: str
    labels: tuple[str, ...]
    label: str | None
    confidence: float | None
    raw: FloatArray | None
    smoothed: FloatArray | None
    instead: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Label, confidence and smoothed probabilities; ``instead``, where there is one."""
        return answer_json(self.labels, self.label, self.confidence, self.smoothed, self.instead)


def answer_json(
    labels: tuple[str, ...],
    label: str | None,
    confidence: float | None,
    probabilities: FloatArray | None,
    instead: str | None = None,
) -> dict[str, Any]:
    """A head's answer, about a moment or a whole file, as one JSON object; ``instead`` stands in it where the question
    means nothing, for another head says this."""
    answer = {"label": label, "confidence": _rounded(confidence), "probabilities": _by_label(labels, probabilities)}
    return answer if instead is None else {**answer, "instead": instead}


def _by_label(labels: tuple[str, ...], values: FloatArray | None) -> dict[str, float] | None:
    if values is None:
        return None
    return {label: round(float(value), 5) for label, value in zip(labels, values, strict=True)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a channel sounds like at one moment.

    ``sample`` is the absolute index one past the last sample heard, at the model's sample rate. ``time`` and ``since``
    are Unix seconds: of the capture of that sample, and of when the present label (or state) began. ``heads`` has the
    answers to all of the model's questions; the first is the verdict's own. ``latency_ms`` runs from the capture of the
    last sample to this verdict. ``dropped`` counts the channel's windows lost to overload so far. ``heard_s`` is how
    many seconds of sound the verdict rests on: the window's, unless warming up; 0 in silence.
    """

    channel: str
    sample: int
    time: float
    state: VerdictState
    since: float
    heads: tuple[HeadVerdict, ...]
    latency_ms: float
    dropped: int
    heard_s: float

    @property
    def head(self) -> HeadVerdict:
        """The answer that is the verdict."""
        return self.heads[0]

    @property
    def label(self) -> str | None:
        """The first head's."""
        return self.head.label

    @property
    def confidence(self) -> float | None:
        """The first head's."""
        return self.head.confidence

    @property
    def raw(self) -> FloatArray | None:
        """The first head's."""
        return self.head.raw

    @property
    def smoothed(self) -> FloatArray | None:
        """The first head's."""
        return self.head.smoothed

    def to_json(self) -> dict[str, Any]:
        """The verdict as one JSON object: probabilities become ``{label: probability}``."""
        return {
            "channel": self.channel,
            "sample": self.sample,
            "time": round(self.time, 4),
            "state": self.state.value,
            "label": self.label,
            "confidence": _rounded(self.confidence),
            "since": round(self.since, 4),
            "raw": _by_label(self.head.labels, self.raw),
            "smoothed": _by_label(self.head.labels, self.smoothed),
            **({} if self.head.instead is None else {"instead": self.head.instead}),
            "heads": {head.name: head.to_json() for head in self.heads},
            "latency_ms": round(self.latency_ms, 3),
            "dropped": self.dropped,
            "heard_s": round(self.heard_s, 3),
        }


@dataclass(frozen=True, slots=True)
class Frames:
    """New feature frames, for the spectrogram: ``values`` (frames, n_mels) in log10 units; the first frame starts at
    absolute sample ``start`` (before the first one heard, where frames are centred). ``time`` is the Unix time of
    capture of the last frame's last sample."""

    channel: str
    start: int
    time: float
    values: FloatArray


@dataclass(frozen=True, slots=True)
class Gap:
    """``samples`` samples are missing from absolute index ``start`` on; no window spans them."""

    channel: str
    start: int
    samples: int
    time: float
    reason: str


@dataclass(frozen=True, slots=True)
class Health:
    """A channel's condition, published at every change and once a second.

    ``source`` is the source's address as given, ``source_name`` what to show a person; ``reason`` one sentence on the
    state, empty when live; ``title`` what a radio station says is playing; ``warnings`` what makes a live signal
    useless (flat, clipped, choppy). Latencies are those of the latest verdicts, from capture to verdict.
    """

    channel: str
    state: HealthState
    since: float
    time: float
    source: str
    source_name: str
    reason: str = ""
    synthetic: bool = False
    title: str | None = None
    level_dbfs: float | None = None
    warnings: tuple[str, ...] = ()
    reconnects: int = 0
    gaps: int = 0
    lost_samples: int = 0
    dropped: int = 0
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None


@dataclass(frozen=True, slots=True)
class SourceChoice:
    """One source that the page may switch to."""

    address: str
    name: str


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message on a link from an engine: what it runs, so that a page can draw before any audio comes.

    ``boot`` is new at every start of the engine: a viewer's cursor from an earlier boot is void.
    """

    boot: str
    channel: str
    card: ModelCard
    scorer: str
    source: str
    half_life_s: float
    hop_s: float
    choices: tuple[SourceChoice, ...] = field(default=())

    @property
    def picture(self) -> LogMel:
        """What the frames of the spectrogram are."""
        return picture_spec(self.card)


@dataclass(frozen=True, slots=True)
class Settings:
    """The engine's present settings, published after every command (also another viewer's).

    ``refused`` says in one sentence why the command was not carried out; empty if it was.
    """

    source: str
    half_life_s: float
    choices: tuple[SourceChoice, ...]
    refused: str = ""


@dataclass(frozen=True, slots=True)
class SetSource:
    """Command: listen to this address instead. Only addresses among the engine's choices are accepted."""

    address: str


@dataclass(frozen=True, slots=True)
class SetHalfLife:
    """Command: the vote's half-life, in seconds (> 0)."""

    seconds: float


Event = Verdict | Frames | Gap | Health | Hello | Settings
Command = SetSource | SetHalfLife
