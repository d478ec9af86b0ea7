"""A web server on loopback that answers as a test wants: a radio station that misbehaves on purpose."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Reply = Callable[[BaseHTTPRequestHandler], None]


class StationServer:
    """``replies`` says what each path answers; everything else is 404. ``requests`` holds the headers that came."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        station = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                station.requests.append((self.path, dict(self.headers.items())))
                with suppress(ConnectionError):  # the listener went: no fault of the station's
                    station.replies.get(self.path, status(404))(self)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.port = int(self._server.server_address[1])

    def url(self, path: str, *, login: str = "") -> str:
        return f"http://{login}127.0.0.1:{self.port}{path}"

    @contextmanager
    def serving(self) -> Iterator[StationServer]:
        self._thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(5)


def status(code: int, **headers: str) -> Reply:
    """Answer with a status and nothing else; ``location`` and the like as keywords."""

    def reply(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return reply


def body(data: bytes, content_type: str) -> Reply:
    """Answer with a whole document."""

    def reply(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", content_type)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    return reply


def stream(
    data: bytes, content_type: str, *, times: int = 1_000, hold: threading.Event | None = None, **headers: str
) -> Reply:
    """Answer with ``data`` again and again, ``times`` times; then close, or say nothing until ``hold`` is set."""

    def reply(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", content_type)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        for _ in range(times):
            request.wfile.write(data)
        request.wfile.flush()
        if hold is not None:
            hold.wait(60)

    return reply


def with_titles(data: bytes, interval: int, titles: list[bytes]) -> bytes:
    """``data`` with ICY metadata after every ``interval`` bytes: the titles in turn, then empty blocks."""
    out = bytearray()
    for index, start in enumerate(range(0, len(data) - interval + 1, interval)):
        out += data[start : start + interval]
        text = b"StreamTitle='" + titles[index] + b"';" if index < len(titles) else b""
        blocks = -(-len(text) // 16)
        out += bytes([blocks]) + text.ljust(16 * blocks, b"\0")
    return bytes(out)
