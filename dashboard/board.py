"""What the page's process knows of the engine: bounded, shared by all viewers, safe to read from any thread."""

from __future__ import annotations

import secrets
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from dashboard import wire
from dashboard.panels import Moment
from stream.events import Event, Frames, Health, HealthState, Hello, Settings, SourceChoice, Verdict
from stream.page_link import FRAMES_KEPT_S, MAX_VERDICTS_KEPT, VERDICTS_KEPT_S, Thinning

MESSAGES_KEPT = 512
"""A viewer that falls further behind than this gets the whole picture again."""
TIME_BREAK_S = 1.0
"""Frames whose capture times leave a hole wider than this, in seconds, were not heard without a break."""
RESTART_MARK = 8
"""Columns left blank where the sample count starts again."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """What one viewer has been sent: every column below ``column`` and every message below ``message`` of ``boot``."""

    boot: str = ""
    column: int = 0
    message: int = 0


class Board:
    """Rings and last values, fed by ``apply`` and read through each viewer's own cursor."""

    def __init__(self) -> None:
        self._page = secrets.token_hex(4)
        self._lock = threading.Lock()
        self._start(None)

    def _start(self, hello: Hello | None) -> None:
        self._hello = hello
        self._settings: Hello | Settings | None = hello
        self._health: Health | None = None
        self._verdict: Verdict | None = None
        self._moments: deque[Moment] = deque(maxlen=MAX_VERDICTS_KEPT)
        self._thinning = Thinning()
        self._messages: deque[str] = deque(maxlen=MESSAGES_KEPT)
        self._message_end = 0
        self._column_end = 0
        self._next_sample = 0
        self._column_time = 0.0
        n_mels = hello.picture.n_mels if hello else 1
        kept = int(FRAMES_KEPT_S / hello.picture.seconds_per_frame) + 1 if hello else 1
        self._columns = np.zeros((kept, n_mels), dtype=np.uint8)

    @property
    def boot(self) -> str:
        """New at every start of the engine and of the page; empty while no engine has spoken."""
        return f"{self._hello.boot}.{self._page}" if self._hello else ""

    @property
    def hello(self) -> Hello | None:
        """The engine's greeting, once it has come."""
        return self._hello

    @property
    def half_life_s(self) -> float | None:
        """The vote's half-life now in force, in seconds."""
        settings = self._settings
        return settings.half_life_s if settings else None

    @property
    def source(self) -> str | None:
        """The address of the source now listened to."""
        settings = self._settings
        return settings.source if settings else None

    @property
    def choices(self) -> tuple[SourceChoice, ...]:
        """The sources that may be switched to."""
        settings = self._settings
        return settings.choices if settings else ()

    @property
    def ended(self) -> bool:
        """True if the source has been heard to its end."""
        health = self._health
        return health is not None and health.state is HealthState.ENDED

    def moments(self) -> list[Moment]:
        """The last ten minutes' verdicts, thinned, oldest first."""
        with self._lock:
            return list(self._moments)

    def apply(self, *events: Event) -> None:
        """Take in events, in their order. Other channels' than the greeting's are left aside."""
        with self._lock:
            for event in events:
                self._take(event)

    def _take(self, event: Event) -> None:
        if isinstance(event, Hello):
            self._start(event)
            return
        if self._hello is None:
            return
        # Said first: what cannot be said must not be remembered, or every later viewer would stumble over it.
        if isinstance(event, Settings):
            self._say(wire.settings(event))
            self._settings = event
        elif event.channel != self._hello.channel:
            return
        elif isinstance(event, Health):
            self._say(wire.health(event))
            self._health = event
        elif isinstance(event, Verdict):
            self._say(wire.verdict(event))
            self._verdict = event
            self._remember(event)
        elif isinstance(event, Frames) and len(event.values):
            self._draw(event, self._hello)

    def _say(self, message: dict[str, Any]) -> None:
        self._messages.append(wire.encode(message))
        self._message_end += 1

    def _remember(self, verdict: Verdict) -> None:
        # The clock was set back, or a file was heard faster than it plays: what is said to be later is not.
        while self._moments and self._moments[-1].time > verdict.time:
            self._moments.pop()
        if self._thinning.keeps(verdict):
            confidence = None if verdict.confidence is None else round(float(verdict.confidence), 3)
            self._moments.append(Moment(verdict.time, verdict.state, verdict.label, confidence, verdict.head.instead))
        while self._moments and self._moments[0].time < verdict.time - VERDICTS_KEPT_S:
            self._moments.popleft()

    def _draw(self, frames: Frames, hello: Hello) -> None:
        features = hello.picture
        if self._column_end:
            self._write(np.zeros((self._blank_before(frames, features.hop_samples), features.n_mels), dtype=np.uint8))
        self._write(wire.quantise(frames.values))
        self._next_sample = frames.start + len(frames.values) * features.hop_samples
        self._column_time = frames.time

    def _blank_before(self, frames: Frames, hop_samples: int) -> int:
        """Columns that were never heard between the last one and ``frames``, by the sample count or by the clock."""
        assert self._hello is not None
        step_s = self._hello.picture.seconds_per_frame
        missing = (frames.start - self._next_sample) / hop_samples
        by_samples = round(missing) if missing >= 0 else RESTART_MARK
        hole_s = frames.time - len(frames.values) * step_s - self._column_time
        by_clock = round(hole_s / step_s) if hole_s > TIME_BREAK_S else 0
        return min(max(by_samples, by_clock), len(self._columns))

    def _write(self, levels: wire.Bytes) -> None:
        capacity = len(self._columns)
        newest = levels[-capacity:]
        at = self._column_end + len(levels) - len(newest) + np.arange(len(newest))
        self._columns[at % capacity] = newest
        self._column_end += len(levels)

    def since(self, cursor: Cursor) -> tuple[list[str | bytes], Cursor]:
        """What a viewer at ``cursor`` has not been sent, and where it stands then.

        A viewer of another boot, or one that has fallen far behind, gets the whole picture.
        """
        with self._lock:
            if self._hello is None:
                return [], cursor
            first_message = self._message_end - len(self._messages)
            known = cursor.boot == self.boot and first_message <= cursor.message <= self._message_end
            out: list[str | bytes] = []
            if known:
                out += list(self._messages)[cursor.message - first_message :]
            else:
                out.append(self._picture(self._hello))
            start = cursor.column if known and 0 <= cursor.column <= self._column_end else 0
            start = max(start, self._column_end - len(self._columns))
            if start < self._column_end:
                at = np.arange(start, self._column_end) % len(self._columns)
                out.append(wire.columns(self._columns[at], first=start, time=self._column_time))
            return out, Cursor(self.boot, self._column_end, self._message_end)

    def _picture(self, hello: Hello) -> str:
        """The greeting, with all that a viewer who comes now has missed; ``message`` is where it stands then."""
        return wire.encode(
            {
                **wire.hello(hello, boot=self.boot, kept_s=FRAMES_KEPT_S),
                "message": self._message_end,
                "settings": wire.settings(self._settings or hello),
                "health": wire.health(self._health) if self._health else None,
                "verdict": wire.verdict(self._verdict) if self._verdict else None,
                "strip": wire.strip(self._moments),
            }
        )
