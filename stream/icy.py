"""The ICY protocol of internet radio: titles sent between the audio, every so many bytes."""

from __future__ import annotations

import http.client
import re

from models.errors import SourceError
from stream.web import READ_TIMEOUT_S, Answer, shown, words

REQUEST_HEADERS = {"Icy-MetaData": "1", "User-Agent": "genrescope"}

_TITLE = re.compile(r"StreamTitle='(.*?)'(?:;|\0|$)", re.DOTALL)
_LONGEST_TITLE = 200


class IcyStream:
    """The audio of an answer, without the metadata between it: a file for a decoder to read.

    ``title`` is the newest one; ``name`` the station's; ``received`` counts the bytes so far.
    """

    def __init__(self, answer: Answer) -> None:
        self.title: str | None = None
        self.name = plain_line(_text(answer.body.headers.get("icy-name", "").encode("latin-1", "replace")))
        self.received = 0
        self._body = answer.body
        self._shown = shown(answer.url)
        interval = answer.body.headers.get("icy-metaint", "").strip()
        self._interval = int(interval) if interval.isdecimal() else 0
        self._until_metadata = self._interval

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes of audio, as soon as there are some; none at the end.

        Raises:
            SourceError: the connection broke, or was silent for 8 s.
        """
        if self._interval and not self._until_metadata:
            self._read_metadata()
            self._until_metadata = self._interval
        data = self._read_some(min(size, self._until_metadata) if self._interval else size)
        self._until_metadata -= len(data)
        return data

    def _read_metadata(self) -> None:
        length = self._read_exactly(1)
        block = self._read_exactly(16 * length[0]) if length else b""
        found = _TITLE.search(_text(block))
        if found:
            self.title = plain_line(found[1])

    def _read_exactly(self, size: int) -> bytes:
        """``size`` bytes; fewer only at the end."""
        parts = bytearray()
        while len(parts) < size and (data := self._read_some(size - len(parts))):
            parts += data
        return bytes(parts)

    def _read_some(self, size: int) -> bytes:
        try:
            data = self._body.read1(size)
        except TimeoutError as error:
            raise SourceError(f"{self._shown} sent nothing for {READ_TIMEOUT_S:g} s") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            # ValueError is what a response says whose connection was shut under it.
            raise SourceError(f"{self._shown} broke off ({words(error)})") from error
        self.received += len(data)
        return data


def _text(block: bytes) -> str:
    """Stations send UTF-8 or Latin-1 and never say which."""
    try:
        return block.decode("utf-8")
    except UnicodeDecodeError:
        return block.decode("latin-1")


def plain_line(text: str) -> str | None:
    """A stranger's text as one line of bounded length, without control characters; None if nothing is left."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line[:_LONGEST_TITLE] or None
