"""The page's process: Streamlit and the live socket on one server, fed by the engine's process over a link."""

from __future__ import annotations

import gc
import signal
import socket
import sys
from collections.abc import Iterator
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
from dashboard.same_site import SameSite
from dashboard.theme import THEME
from dashboard.viewer_connection import ViewerConnection
from dashboard.viewer_token import TokenMint
from stream.events import Event
from stream.page_link import EngineFeed

SCRIPT = Path(__file__).with_name("app.py")
SOCKET_PATH = "/live"
NAMES = ("127.0.0.1", "localhost")
"""What a browser may call this machine."""
ALIVE_EVERY_S = 5


def serve(connection: Connection[Any, Any], listener: socket.socket, *, port: int) -> None:
    """Serve the page on ``listener`` until the engine hangs up. The target of a child process.

    Ctrl-C is the engine's: this process ends when the link does, so that it neither prints a traceback nor outlives its
    parent.

    Raises:
        SystemExit: the page ended for another reason.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _configure(port=port)

    board, mint = Board(), TokenMint()
    live = LiveSocket(board, mint)

    def on_event(event: Event) -> None:
        board.apply(event)
        live.wake()

    def on_close() -> None:
        server.should_exit = True

    async def alive() -> None:
        feed.alive()

    feed = EngineFeed(connection, on_event=on_event, on_close=on_close)
    set_page(Page(board, mint, SOCKET_PATH, feed.submit))
    server = _Server(
        uvicorn.Config(
            SameSite(st.App(SCRIPT, routes=[WebSocketRoute(SOCKET_PATH, live.endpoint)]), hosts=NAMES),
            access_log=False,
            log_level="error",
            ws=ViewerConnection,
            timeout_graceful_shutdown=2,
            callback_notify=alive,
            timeout_notify=ALIVE_EVERY_S,
        )
    )
    feed.start()
    # What is imported lives as long as the process: leaving it out of every collection spares the live socket pauses.
    gc.freeze()
    server.run(sockets=[listener])
    if not feed.hung_up:
        sys.exit("the page's server ended by itself")


class _Server(uvicorn.Server):
    """A uvicorn server that leaves the signals alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _configure(*, port: int) -> None:
    """Streamlit's options, over whatever the user's own files say."""
    bootstrap.load_config_options(
        {
            "server.address": "127.0.0.1",
            "server.port": port,
            "server.baseUrlPath": "",
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
            **THEME,
        }
    )
