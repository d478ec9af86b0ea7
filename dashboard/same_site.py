"""Lets nobody reach the page but itself: not another site's script, not a foreign name that points at this machine."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket


class SameSite:
    """Passes on to ``app`` what asks one of ``hosts`` and, if it comes from a web page, from a page of this server.

    Everything else gets 403. Streamlit's own checks would let in every page of any server on this machine.
    """

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str]) -> None:
        self._app = app
        self._hosts = {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or one socket."""
        if scope["type"] == "lifespan" or self._allows(Headers(scope=scope)):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocket(scope, receive, send).close()  # before accepting: the handshake itself is refused
        else:
            await PlainTextResponse("This page is for the machine that serves it.", 403)(scope, receive, send)

    def _allows(self, headers: Headers) -> bool:
        host, origin = headers.get("host", ""), headers.get("origin")
        try:
            named = (urlsplit(f"//{host}").hostname or "").lower() in self._hosts
            # Browsers send an Origin with every socket and every request across sites; programs need not.
            return named and (origin is None or urlsplit(origin).netloc.lower() == host.lower())
        except ValueError:
            return False
