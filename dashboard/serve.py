"""The page's process: Streamlit and the live socket on one server, fed by the engine's process over a link."""

from __future__ import annotations

import gc
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import streamlit as st
import uvicorn
from starlette.routing import WebSocketRoute
from streamlit.web import bootstrap

from dashboard import live_view  # noqa: F401 - imports what the script will need, before the freeze
from dashboard.board import Board
from dashboard.live_socket import LiveSocket
from dashboard.page import Page, set_page
from dashboard.theme import THEME
from dashboard.viewer_token import TokenMint
from stream.events import Event
from stream.page_link import EngineFeed

SCRIPT = Path(__file__).with_name("app.py")
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


def serve(
    connection: Connection[Any, Any], listener: socket.socket, *, host: str, port: int, base_path: str = ""
) -> None:
    """Serve the page on ``listener`` until the engine hangs up. The target of a child process.

    ``base_path`` is the path the page is mounted on, e.g. behind a proxy. Ctrl-C is the engine's: this process ends
    when the link does, so that it neither prints a traceback nor outlives its parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _configure(host=host, port=port, base_path=base_path)

    board, mint = Board(), TokenMint()
    hosts = (*LOOPBACK_NAMES, host) if is_loopback(host) else ()
    live = LiveSocket(board, mint, hosts=hosts)
    socket_path = "/".join(["", *filter(None, [base_path.strip("/")]), "live"])

    def on_events(events: list[Event]) -> None:
        board.apply(events)
        live.wake()

    def on_close() -> None:
        server.should_exit = True

    feed = EngineFeed(connection, on_events=on_events, on_close=on_close)
    set_page(Page(board, mint, socket_path, feed.submit))
    app = st.App(SCRIPT, routes=[WebSocketRoute(socket_path, live.endpoint)])
    server = _Server(
        uvicorn.Config(app, access_log=False, log_level="error", ws="websockets-sansio", timeout_graceful_shutdown=2),
        on_started=feed.ready,
    )
    feed.start()
    # What is imported lives as long as the process: leaving it out of every collection spares the live socket pauses.
    gc.freeze()
    server.run(sockets=[listener])


def is_loopback(host: str) -> bool:
    """True if only this machine can reach ``host``."""
    return host in LOOPBACK_NAMES or host.startswith("127.")


class _Server(uvicorn.Server):
    """A uvicorn server that says when it answers and leaves the signals alone."""

    def __init__(self, config: uvicorn.Config, *, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _configure(*, host: str, port: int, base_path: str) -> None:
    """Streamlit's options, over whatever the user's own files say."""
    bootstrap.load_config_options(
        {
            "server.address": host,
            "server.port": port,
            "server.baseUrlPath": base_path.strip("/"),
            "server.headless": True,
            "server.fileWatcherType": "none",
            "server.showEmailPrompt": False,
            "browser.gatherUsageStats": False,
            "client.toolbarMode": "minimal",
            "logger.level": "error",
            "logger.hideWelcomeMessage": True,
            "global.suppressDeprecationWarnings": True,
            # A collection after every rerun would hold up the live socket by some 45 ms each time.
            "runner.postScriptGC": False,
            # A name that somebody else points at this machine must not reach the page's session.
            "server.allowedHosts": [*LOOPBACK_NAMES, host] if is_loopback(host) else [],
            **THEME,
        }
    )
