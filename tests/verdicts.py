"""Verdicts for tests of what is done with them: of a model with one head."""

from __future__ import annotations

from stream.events import FloatArray, HeadVerdict, Verdict, VerdictState


def make_verdict(
    state: VerdictState,
    label: str | None,
    *,
    labels: tuple[str, ...],
    channel: str = "main",
    sample: int = 0,
    time: float = 0.0,
    since: float = 0.0,
    confidence: float | None = 0.8,
    raw: FloatArray | None = None,
    smoothed: FloatArray | None = None,
    heard_s: float = 2.8,
    latency_ms: float = 1.0,
) -> Verdict:
    """A verdict by the head ``genre``."""
    head = HeadVerdict("genre", labels, label, confidence, raw, smoothed)
    return Verdict(channel, sample, time, state, since, (head,), latency_ms, 0, heard_s)
