"""HTTP GET of a stream that never ends: plain words for every answer that is not audio, and it can be broken off."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from models.errors import SourceAddressError, SourceError
from stream.threaded_source import Run

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 8.0
"""Silence on the line after which the connection is given up."""

MAX_REDIRECTS = 5

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({408, 425, 429})
"""Client errors that are the moment's, not the address's."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A 200 to a GET: ``url`` is where the redirects led, ``content_type`` in lower case and without parameters."""

    url: str
    content_type: str
    body: http.client.HTTPResponse


class _Response(http.client.HTTPResponse):
    def _read_status(self) -> tuple[str, int, str]:
        # SHOUTcast 1 begins its answer with "ICY 200 OK" instead of "HTTP/1.0 200 OK".
        if self.fp.peek(4)[:4] == b"ICY ":
            _, status, reason = (self.fp.readline(1_024).decode("latin-1") + "  ").split(" ", 2)
            if status.isdigit():
                return "HTTP/1.0", int(status), reason.strip()
        return super()._read_status()  # type: ignore[misc, no-any-return]


def shown(url: str) -> str:
    """The address without what may be secret in it (user, password, query), for messages.

    Raises:
        SourceAddressError: it is not an http or https address.
    """
    parts = _checked(url)
    return parts.netloc.rpartition("@")[2] + parts.path


def get(url: str, run: Run, *, headers: dict[str, str]) -> Answer:
    """Ask for ``url``, follow redirects within http and https; closing ``run`` breaks the connection off.

    Raises:
        SourceAddressError: the address is malformed, is not there, is forbidden, or leads away from http.
        SourceError: refused, timed out, broken off, or the server has a trouble of its own.
    """
    for _ in range(MAX_REDIRECTS + 1):
        response = _request(url, run, headers)
        if response.status == 200:
            content_type = response.headers.get_content_type() if "content-type" in response.headers else ""
            return Answer(url, content_type, response)
        response.close()
        answer = f"{response.status} {response.reason}".strip()
        if response.status in _REDIRECTS:
            url = _joined(url, response.headers.get("location", ""))
            continue
        permanent = 400 <= response.status < 500 and response.status not in _PASSING
        raise (SourceAddressError if permanent else SourceError)(f"{shown(url)} answered {answer}")
    raise SourceAddressError(f"{shown(url)} answered with more than {MAX_REDIRECTS} redirects")


def _request(url: str, run: Run, headers: dict[str, str]) -> http.client.HTTPResponse:
    parts = _checked(url)
    connection = _connection(parts)
    try:
        connection.connect()
        line = connection.sock
        line.settimeout(READ_TIMEOUT_S)
        run.on_stop(lambda: _break_off(line))
        connection.request("GET", _target(parts), headers={**headers, **_authorization(parts)})
        return connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        if isinstance(error, ssl.SSLCertVerificationError):
            raise SourceAddressError(f"{shown(url)}: its certificate is not valid ({error.verify_message})") from error
        raise SourceError(f"{shown(url)}: no answer ({words(error)})") from error


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  raises where it is not a number
        url.encode()
        (parts.hostname or "").encode("idna")  # raises where a label is empty or too long
    except ValueError as error:
        raise SourceAddressError(f"expected an http or https address, got {url!r} ({error})") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SourceAddressError(f"expected an http or https address, got {url!r}")
    return parts


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        return location  # malformed; the next request says so


def _connection(parts: SplitResult) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, parts.port, timeout=CONNECT_TIMEOUT_S, context=context
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=CONNECT_TIMEOUT_S)
    connection.response_class = _Response
    return connection


def _target(parts: SplitResult) -> str:
    """Path and query, with what may not stand in a request line escaped."""
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    return target + ("?" + quote(parts.query, safe="/%:@!$&'()*+,;=~?[]") if parts.query else "")


def _authorization(parts: SplitResult) -> dict[str, str]:
    if parts.username is None:
        return {}
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": "Basic " + base64.b64encode(login.encode()).decode("ascii")}


def _break_off(line: socket.socket) -> None:
    """Wake whoever waits for ``line``. Closing it would not: the thread that reads it does that."""
    with suppress(OSError):  # it is closed already
        # Not the method of a TLS socket, which would say goodbye first.
        socket.socket.shutdown(line, socket.SHUT_RDWR)


def words(error: Exception) -> str:
    """What an OSError or HTTPException means, for a message."""
    if isinstance(error, TimeoutError):
        return "timed out"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
