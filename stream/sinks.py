"""Where verdicts go that are not for the page."""

from __future__ import annotations

import io
import json
import logging
import time
from typing import TextIO

from stream.events import Event, Verdict

log = logging.getLogger(__name__)


class JsonLinesSink:
    """One JSON object per verdict and line, written at once so that a reader at the other end of a pipe is never late.

    ``file`` is unbuffered. A full disk costs the lines that do not fit, which are counted and reported; listening goes
    on. A reader that has gone away (a closed pipe) is raised, for then there is nobody left to listen for.
    """

    def __init__(self, file: io.RawIOBase) -> None:
        self._file = file
        self._torn = False  # the last line was written in part
        self.lost = 0

    def publish(self, event: Event) -> None:
        """Write the event, if it is a verdict.

        Raises:
            BrokenPipeError: nobody reads any more.
        """
        if not isinstance(event, Verdict):
            return
        line = json.dumps(event.to_json(), ensure_ascii=False).encode() + b"\n"
        try:
            self._write(b"\n" + line if self._torn else line)
        except BrokenPipeError:
            raise
        except OSError as error:
            if not self.lost:
                log.warning("verdicts cannot be written (%s); listening goes on, lines are lost", error.strerror)
            self.lost += 1
        else:
            if self.lost:
                log.warning("verdicts are written again; %d lines were lost", self.lost)
                self.lost = 0

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
        self._file.write(f"{at}  {event.channel}  {what}\n")
        self._file.flush()
