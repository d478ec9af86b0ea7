"""Where verdicts go that are not for the page."""

from __future__ import annotations

import io
import json
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import TextIO

from stream.events import Event, Verdict, VerdictState

log = logging.getLogger(__name__)

_LINES_WAITING = 1024
_CLOSE_S = 2.0


class JsonLinesSink:
    """One JSON object per verdict and line, written at once, by a thread of its own: a reader that stops reading must
    not stop the listening.

    ``file`` is unbuffered. Live, a bounded number of lines waits for a slow reader; further ones are lost, as are those
    that do not fit on a full disk, and both are reported. A replay (``keep_all``) waits for its reader instead, until
    ``stopping`` says otherwise. Lines are lost whole.
    """

    def __init__(
        self, file: io.RawIOBase, *, keep_all: bool = False, stopping: Callable[[], bool] = lambda: False
    ) -> None:
        self._file = file
        self._keep_all = keep_all
        self._stopping = stopping
        self._lines: queue.Queue[bytes | None] = queue.Queue(_LINES_WAITING)
        self._torn = False  # the last line was written in part
        self._reader_gone = False
        self.lost = 0
        self._thread = threading.Thread(target=self._write_all, name="json lines", daemon=True)
        self._thread.start()

    def publish(self, event: Event) -> None:
        """Queue the event, if it is a verdict.

        Raises:
            BrokenPipeError: nobody reads any more, so there is nobody left to listen for.
        """
        if self._reader_gone:
            raise BrokenPipeError
        if not isinstance(event, Verdict):
            return
        if not self._offer(json.dumps(event.to_json(), ensure_ascii=False).encode() + b"\n"):
            self._lose("the reader is too slow")

    def close(self) -> None:
        """Write what waits, for a moment at most; the file is the caller's to close."""
        deadline = time.monotonic() + _CLOSE_S
        while not self._put(None) and time.monotonic() < deadline and not self._reader_gone:
            continue
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def _offer(self, line: bytes) -> bool:
        while not self._put(line, wait=self._keep_all):
            if not self._keep_all or self._stopping() or self._reader_gone:
                return False
        return True

    def _put(self, line: bytes | None, *, wait: bool = True) -> bool:
        try:
            self._lines.put(line, block=wait, timeout=0.1)
        except queue.Full:
            return False
        return True

    def _write_all(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._write(b"\n" + line if self._torn else line)
            except BrokenPipeError:
                self._reader_gone = True
                return
            except OSError as error:
                self._lose(str(error.strerror))
            else:
                # Not at every line that a slow reader takes, but when it has caught up.
                if self.lost and self._lines.qsize() < _LINES_WAITING // 2:
                    log.warning("verdicts are written again; %d lines were lost", self.lost)
                    self.lost = 0

    def _lose(self, why: str) -> None:
        if not self.lost:
            log.warning("verdicts cannot be written (%s); listening goes on, lines are lost", why)
        self.lost += 1

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) or 0 :]
            self._torn = bool(rest)


class ChangesSink:
    """A line of text whenever the label or the state changes: for a person at a terminal."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._last: dict[str, tuple[str, str | None]] = {}

    def publish(self, event: Event) -> None:
        """Write the event, if it is a verdict unlike the channel's last."""
        if not isinstance(event, Verdict) or self._last.get(event.channel) == (event.state, event.label):
            return
        self._last[event.channel] = (event.state, event.label)
        at = time.strftime("%H:%M:%S", time.localtime(event.time))
        what = event.state.value if event.label is None else f"{event.label}  {event.confidence:.0%}"
        if event.label is not None and event.state is VerdictState.WARMING_UP:
            what += f"  ({event.state.value}: so far {event.heard_s:.1f} s heard)"
        self._file.write(f"{at}  {event.channel}  {what}\n")
        self._file.flush()
