"""The live socket: relays the board to every viewer, each at its own pace.

There is no queue per viewer, only a cursor into the board's rings: a slow viewer skips, and holds nobody up. The first
message of a viewer is JSON ``{"token", "boot", "column", "message"}``; after that it only pings.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from dashboard import wire
from dashboard.board import Board, Cursor
from dashboard.viewer_token import LIFETIME_S, TokenMint

SEND_TIMEOUT_S = 5.0
GREETING_TIMEOUT_S = 5.0
MOST_PER_SECOND = 60
"""Messages come no denser than a screen can show them; what comes in between goes out together."""
MAX_VIEWERS = 64
TOKEN_REFUSED = 4401
"""Close code: the token is missing, wrong or too old; load a fresh one."""
TOO_MANY_VIEWERS = 1013
BAD_GREETING = 4400
LATEST_PING_MS = 1e15


@dataclass(eq=False)
class _Viewer:
    cursor: Cursor
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    pong: str | None = None
    """The answer to the latest ping: only the latest counts."""


class LiveSocket:
    """The socket's endpoint. Who has no token, or sends anything else than expected, is sent away with a reason."""

    def __init__(self, board: Board, mint: TokenMint) -> None:
        self._board = board
        self._mint = mint
        self._viewers: set[_Viewer] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def viewers(self) -> int:
        """Number of windows now connected."""
        return len(self._viewers)

    def wake(self) -> None:
        """The board has news. Any thread; returns at once."""
        if self._loop is None:
            return  # nobody has come yet
        try:
            self._loop.call_soon_threadsafe(self._wake_viewers)
        except RuntimeError:
            if not self._loop.is_closed():  # news after the server's end are for nobody
                raise

    def _wake_viewers(self) -> None:
        for viewer in self._viewers:
            viewer.wake.set()

    async def endpoint(self, socket: WebSocket) -> None:
        """Serve one viewer until it leaves, or until it takes longer than ``SEND_TIMEOUT_S`` to take a message."""
        self._loop = asyncio.get_running_loop()
        await socket.accept()
        # Gone, or too slow to be served: the server drops the connection when this returns, and the page comes back.
        with suppress(WebSocketDisconnect, TimeoutError):
            cursor = await self._greet(socket)
            if cursor is not None:
                await self._relay(socket, _Viewer(cursor))

    async def _greet(self, socket: WebSocket) -> Cursor | None:
        greeting = await asyncio.wait_for(_received(socket), GREETING_TIMEOUT_S)
        token, boot = greeting.get("token"), greeting.get("boot", "")
        column, message = greeting.get("column", 0), greeting.get("message", 0)
        if not isinstance(token, str) or not self._mint.verify(token):
            await socket.close(TOKEN_REFUSED, "token refused")
        elif not (isinstance(boot, str) and isinstance(column, int) and isinstance(message, int)):
            await socket.close(BAD_GREETING, "expected boot, column and message")
        elif len(self._viewers) >= MAX_VIEWERS:
            await socket.close(TOO_MANY_VIEWERS, f"{MAX_VIEWERS} windows are open already")
        else:
            return Cursor(boot, column, message)
        return None

    async def _relay(self, socket: WebSocket, viewer: _Viewer) -> None:
        self._viewers.add(viewer)
        reader = asyncio.create_task(self._read(socket, viewer))
        try:
            await self._write(socket, viewer, reader)
        finally:
            self._viewers.discard(viewer)
            reader.cancel()
            with suppress(asyncio.CancelledError, WebSocketDisconnect):
                await reader

    async def _read(self, socket: WebSocket, viewer: _Viewer) -> None:
        try:
            while socket.application_state is WebSocketState.CONNECTED:
                at = (await _received(socket)).get("ping")
                # Not only a number, but one that is a time: infinity and its like cannot be said in JSON.
                if isinstance(at, int | float) and 0 <= at < LATEST_PING_MS:
                    viewer.pong = wire.encode(wire.pong(at, now=time.time() * 1000))
                    viewer.wake.set()
        finally:
            viewer.wake.set()

    async def _write(self, socket: WebSocket, viewer: _Viewer, reader: asyncio.Task[None]) -> None:
        renew_at = time.monotonic() + LIFETIME_S / 2
        while not reader.done():
            viewer.wake.clear()
            messages, viewer.cursor = self._board.since(viewer.cursor)
            if viewer.pong is not None:
                messages.append(viewer.pong)
                viewer.pong = None
            if time.monotonic() >= renew_at:
                renew_at = time.monotonic() + LIFETIME_S / 2
                messages.append(wire.encode(wire.token(self._mint.issue())))
            for message in messages:
                await asyncio.wait_for(_send(socket, message), SEND_TIMEOUT_S)
            await asyncio.sleep(1 / MOST_PER_SECOND)
            with suppress(TimeoutError):
                await asyncio.wait_for(viewer.wake.wait(), max(0.0, renew_at - time.monotonic()))


async def _send(socket: WebSocket, message: str | bytes) -> None:
    if isinstance(message, str):
        await socket.send_text(message)
    else:
        await socket.send_bytes(message)


async def _received(socket: WebSocket) -> dict[str, Any]:
    """The viewer's next message as a dictionary; empty if it is anything else.

    Raises:
        WebSocketDisconnect: the viewer has left.
    """
    event = await socket.receive()
    if event["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(event["code"])
    try:
        message = json.loads(event.get("text") or "")
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}
