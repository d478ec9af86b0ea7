"""The joint between the engine's process and the page's process: events go one way, commands the other.

The engine must never wait for a page: ``PageLink.publish`` only appends to bounded queues, and what a slow page cannot
take is dropped and counted; the latest settings and health never are. The page is a child process that may be restarted
at any time, so the link remembers what a new page needs to draw at once: the greeting, the last settings and health, a
minute of frames, ten minutes of verdicts.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from models.errors import GenrescopeError
from stream.events import Command, Event, Frames, Health, Hello, Settings, Verdict

FRAMES_KEPT_S = 60.0
VERDICTS_KEPT_S = 600.0
VERDICTS_APART_S = 1.0
"""Verdicts that change nothing are kept no closer than this, in seconds."""
MAX_FRAMES_KEPT = 4096
"""At most so many frames are kept, however densely they come."""
MAX_VERDICTS_KEPT = 1200
QUEUED_FRAMES = 1024
"""Frames messages that wait for a page; the oldest are dropped first."""
QUEUED_EVENTS = 1024
"""Verdicts and gaps that wait for a page."""
TELL_DROPPED_EVERY_S = 60.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PageAlive:
    """The page's process says that its server answers; said again every few seconds."""


class Thinning:
    """Picks the verdicts worth remembering: every change of what is said, else one a second."""

    def __init__(self) -> None:
        self._last: dict[str, Verdict] = {}

    def keeps(self, verdict: Verdict) -> bool:
        """True if ``verdict`` is to be remembered; the verdicts of one channel come in the order of time."""
        last = self._last.get(verdict.channel)
        kept = (
            last is None
            or (last.state, last.label, last.head.instead) != (verdict.state, verdict.label, verdict.head.instead)
            or not 0 <= verdict.time - last.time < VERDICTS_APART_S
        )
        if kept:
            self._last[verdict.channel] = verdict
        return kept


class _Memory:
    """What a page that starts now has to be told, within fixed bounds."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._hello: Hello | None = None
        self._settings: Settings | None = None
        self._health: dict[str, Health] = {}
        self._verdicts: deque[Verdict] = deque(maxlen=MAX_VERDICTS_KEPT)
        self._frames: deque[Frames] = deque()
        self._n_frames = 0
        self._thinning = Thinning()

    def keep(self, event: Event) -> None:
        match event:
            case Hello():
                self._forget()
                self._hello = event
            case Settings():
                self._settings = event
            case Health():
                self._health[event.channel] = event
            case Verdict():
                if self._thinning.keeps(event):
                    self._verdicts.append(event)
                while self._verdicts and self._verdicts[0].time < event.time - VERDICTS_KEPT_S:
                    self._verdicts.popleft()
            case Frames():
                self._frames.append(event)
                self._n_frames += len(event.values)
                while self._frames and (
                    self._n_frames > MAX_FRAMES_KEPT or self._frames[0].time < event.time - FRAMES_KEPT_S
                ):
                    self._n_frames -= len(self._frames.popleft().values)
            case _:
                pass  # a Gap can be told from the frames on both sides of it

    def snapshot(self) -> list[Event]:
        first = [event for event in (self._hello, self._settings) if event is not None]
        return [*first, *self._verdicts, *self._health.values(), *self._frames]


class _Line:
    """One attached page: what waits for it, a thread that sends it, and a thread that listens.

    Of what only counts in its latest state, the latest is kept; verdicts and frames wait in bounded queues.
    """

    def __init__(
        self, connection: Connection[Any, Any], first: list[Event], on_message: Callable[[Command | PageAlive], None]
    ) -> None:
        self._connection = connection
        self._on_message = on_message
        self._wake = threading.Condition()
        self._closed = False
        self._first = first
        self._latest: dict[str, Event] = {}
        self._events: deque[Event] = deque(maxlen=QUEUED_EVENTS)
        self._frames: deque[Event] = deque(maxlen=QUEUED_FRAMES)
        self._dropped = 0
        self._told_at = -math.inf
        self._threads = [
            threading.Thread(target=self._send, name="page-sender", daemon=True),
            threading.Thread(target=self._receive, name="page-receiver", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def offer(self, event: Event) -> bool:
        """Queue ``event``; False if something older was dropped for it. Never waits for the page."""
        with self._wake:
            if self._closed:
                return True
            self._wake.notify()
            match event:
                case Hello():
                    self._clear()  # what waits is from another boot
                    self._latest["hello"] = event
                case Settings():
                    self._latest["settings"] = event
                case Health():
                    self._latest[f"health {event.channel}"] = event
                case _:
                    queue = self._frames if isinstance(event, Frames) else self._events
                    full = len(queue) == queue.maxlen
                    queue.append(event)
                    self._dropped += full
                    return not full
            return True

    def close(self) -> None:
        """Hang up; both threads end, even one that waits for a page that has been stopped."""
        self._mark_closed()
        _hang_up(self._connection)
        for thread in self._threads:
            thread.join(timeout=5.0)
        self._connection.close()

    def _mark_closed(self) -> None:
        with self._wake:
            self._closed = True
            self._clear()
            self._wake.notify()

    def _clear(self) -> None:
        self._latest.clear()
        self._events.clear()
        self._frames.clear()

    def _send(self) -> None:
        batch = self._first
        self._first = []
        try:
            while not self._closed:
                if batch:
                    self._connection.send(batch)
                with self._wake:
                    self._wake.wait_for(lambda: self._closed or self._latest or self._events or self._frames)
                    batch = [*self._latest.values(), *self._events, *self._frames]
                    self._clear()
                self._tell_dropped()
        except OSError as error:
            log.debug("the page hung up: %s", error)
            self._mark_closed()

    def _tell_dropped(self) -> None:
        now = time.monotonic()
        if self._dropped and now - self._told_at >= TELL_DROPPED_EVERY_S:
            log.warning("the page is too slow: %d messages to it were dropped", self._dropped)
            self._dropped = 0
            self._told_at = now

    def _receive(self) -> None:
        try:
            while True:
                message = self._connection.recv()
                try:
                    self._on_message(message)
                except GenrescopeError as error:
                    log.warning("the page's request was refused: %s", error)
        except (EOFError, OSError) as error:
            log.debug("the page hung up: %s", error)
            self._mark_closed()


class PageLink:
    """The engine's end of the link: a sink whose ``publish`` never blocks, whatever the page does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._memory = _Memory()
        self._line: _Line | None = None
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Number of messages that an attached page was too slow to take."""
        return self._dropped

    def publish(self, event: Event) -> None:
        """Remember ``event`` and queue it for the page, if one is attached. Any thread; never waits for the page."""
        with self._lock:
            self._memory.keep(event)
            if self._line is not None and not self._line.offer(event):
                self._dropped += 1

    def attach(self, connection: Connection[Any, Any], *, on_message: Callable[[Command | PageAlive], None]) -> None:
        """Serve a new page over ``connection``: first what is remembered, then every event as it comes.

        ``on_message`` gets the page's commands, in a thread of the link. A page attached before is let go.
        """
        self.close()
        with self._lock:
            self._line = _Line(connection, self._memory.snapshot(), on_message)

    def close(self) -> None:
        """Hang up on the attached page, if there is one; it ends by itself then. Another may be attached after."""
        with self._lock:
            line, self._line = self._line, None
        if line is not None:
            line.close()


class EngineFeed:
    """The page's end of the link. Events go to ``on_event``, in a thread of the feed.

    An event that ``on_event`` fails on is logged, and the next one is heard all the same. ``on_close`` is called once,
    when the engine has gone or hung up; ``hung_up`` is True from then on.
    """

    def __init__(
        self,
        connection: Connection[Any, Any],
        *,
        on_event: Callable[[Event], None],
        on_close: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._on_event = on_event
        self._on_close = on_close
        self.hung_up = False
        self._sending = threading.Lock()
        self._thread = threading.Thread(target=self._receive, name="engine-feed", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def alive(self) -> None:
        """Tell the engine's process that the page answers. An engine that has gone need not know."""
        try:
            self._send(PageAlive())
        except OSError as error:
            log.debug("the engine hung up: %s", error)

    def submit(self, command: Command) -> None:
        """Send ``command`` to the engine.

        Raises:
            GenrescopeError: the engine has gone.
        """
        try:
            self._send(command)
        except OSError as error:
            raise GenrescopeError("the engine has gone; start genrescope again") from error

    def _send(self, message: Command | PageAlive) -> None:
        with self._sending:
            self._connection.send(message)

    def _receive(self) -> None:
        try:
            while True:
                for event in self._connection.recv():
                    self._take(event)
        except (EOFError, OSError) as error:
            log.debug("the engine hung up: %s", error)
            self.hung_up = True
        finally:
            self._on_close()

    def _take(self, event: Event) -> None:
        try:
            self._on_event(event)
        except Exception:
            # Told again after a restart, the same event would end the page again, and so for ever.
            log.exception("the page cannot show a %s, and goes on without it", type(event).__name__)


def _hang_up(connection: Connection[Any, Any]) -> None:
    """End both directions, so that threads waiting in send or recv return. Closing alone would not wake them."""
    if sys.platform == "win32":
        connection.close()
        return
    with socket.socket(fileno=os.dup(connection.fileno())) as ours:
        try:
            ours.shutdown(socket.SHUT_RDWR)
        except OSError as error:
            log.debug("the page had hung up before: %s", error)
