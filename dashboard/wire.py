"""How events look on the live socket: JSON texts, and one binary message for spectrogram columns.

A binary message is a header (``COLUMNS_HEADER``, little-endian: kind 1, number of columns, index of the first column
since the boot, Unix time of capture of the last) and ``n_mels`` bytes per column, low bands first. Byte 0 is a column
that was never heard; byte ``b`` from 1 on is ``LOW_DB + (b - 1) * STEP_DB`` decibels.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from dashboard import panels
from models.frontend import band_centres_hz
from stream.events import Health, Hello, Settings, Verdict
from stream.page_link import VERDICTS_APART_S, VERDICTS_KEPT_S

COLUMNS_HEADER = struct.Struct("<B3xIdd")
COLUMNS_KIND = 1
LOW_DB = -100.0
STEP_DB = 0.6

Bytes = npt.NDArray[np.uint8]


def quantise(values: npt.NDArray[np.floating[Any]]) -> Bytes:
    """Feature values in log10 units, any shape, as bytes 1 to 255 of the same shape."""
    steps = np.rint((10.0 * values - LOW_DB) / STEP_DB)
    levels: Bytes = (np.clip(steps, 0, 254) + 1).astype(np.uint8)
    return levels


def columns(levels: Bytes, *, first: int, time: float) -> bytes:
    """Columns ``levels`` (columns, n_mels) as one binary message."""
    return COLUMNS_HEADER.pack(COLUMNS_KIND, len(levels), first, time) + levels.tobytes()


def encode(message: dict[str, Any]) -> str:
    """A message as it goes over the socket."""
    return json.dumps(message, separators=(",", ":"), allow_nan=False)


def hello(event: Hello, *, boot: str, kept_s: float) -> dict[str, Any]:
    """What the page must know before it can draw. ``boot`` is new when columns are numbered anew."""
    features = event.picture
    return {
        "type": "hello",
        "boot": boot,
        "model": event.card.name,
        "scorer": event.scorer,
        "labels": event.card.head.labels,
        "instead": event.card.instead,
        "titles": event.card.titles,
        "enter": event.card.head.enter,
        "window_s": event.card.window_seconds,
        "hop_s": event.hop_s,
        "n_mels": features.n_mels,
        "seconds_per_column": features.seconds_per_frame,
        "ticks": [
            {"position": round(tick.position, 4), "text": tick.text}
            for tick in panels.frequency_ticks(band_centres_hz(features))
        ],
        "low_db": LOW_DB,
        "step_db": STEP_DB,
        "kept_s": kept_s,
    }


def verdict(event: Verdict) -> dict[str, Any]:
    """A verdict; probabilities are lists in the order of the greeting's labels."""

    def rounded(values: npt.NDArray[np.float32] | None) -> list[float] | None:
        return None if values is None else [round(float(value), 4) for value in values]

    return {
        "type": "verdict",
        "sample": event.sample,
        "time": round(event.time, 4),
        "state": event.state.value,
        "label": event.label,
        "confidence": event.confidence,
        "since": round(event.since, 4),
        "heard_s": round(event.heard_s, 2),
        "raw": rounded(event.raw),
        "smoothed": rounded(event.smoothed),
        "instead": event.head.instead,
        # What else is asked of the same sound, in words.
        "others": [{"name": head.name, "label": head.label, "confidence": head.confidence} for head in event.heads[1:]],
    }


def health(event: Health) -> dict[str, Any]:
    """A channel's condition."""
    return {
        "type": "health",
        "state": event.state.value,
        "since": event.since,
        "time": event.time,
        "source_name": event.source_name,
        "reason": event.reason,
        "synthetic": event.synthetic,
        "title": event.title,
        # Digital silence is minus infinity, which JSON cannot say.
        "level_dbfs": event.level_dbfs if event.level_dbfs is not None and math.isfinite(event.level_dbfs) else None,
        "warnings": event.warnings,
        "reconnects": event.reconnects,
        "gaps": event.gaps,
        "lost_samples": event.lost_samples,
        "dropped": event.dropped,
        "latency_p50_ms": event.latency_p50_ms,
        "latency_p95_ms": event.latency_p95_ms,
    }


def settings(event: Hello | Settings) -> dict[str, Any]:
    """The settings that all viewers share, from the greeting or from a change."""
    return {
        "type": "settings",
        "source": event.source,
        "half_life_s": event.half_life_s,
        "refused": event.refused if isinstance(event, Settings) else "",
    }


def strip(moments: Iterable[panels.Moment]) -> dict[str, Any]:
    """The last minutes' verdicts, oldest first, each as ``[time, state, label, confidence, instead]``, and how to
    go on."""
    return {
        "kept_s": VERDICTS_KEPT_S,
        "apart_s": VERDICTS_APART_S,
        "join_s": panels.BREAK_S,
        "points": [
            [round(moment.time, 2), moment.state.value, moment.label, moment.confidence, moment.instead]
            for moment in moments
        ],
    }


def token(value: str) -> dict[str, Any]:
    """A fresh token for the next connection."""
    return {"type": "token", "token": value}


def pong(at: float, *, now: float) -> dict[str, Any]:
    """Answer to a ping: the viewer's clock ``at`` back, with the server's ``now``, both Unix milliseconds."""
    return {"type": "pong", "at": at, "now": now}
