"""Keeps the page alive: starts its process, starts it again when it dies or hangs, stops it cleanly."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from models.errors import ConfigError, GenrescopeError
from stream.events import Command
from stream.page_link import PageAlive, PageLink

LOOPBACK = "127.0.0.1"
"""The page is for this machine only: nobody else can reach this address."""
FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 30.0
STEADY_S = 30.0
"""A page that lived so long had started well: the next back-off is short again."""
HUNG_S = 60.0
"""A page that has not said for so long that it is alive is ended and started again."""
STOP_TIMEOUT_S = 5.0
_LOOK_EVERY_S = 0.2

log = logging.getLogger(__name__)


class PageProcess:
    """The page in a child process of its own, joined to the engine by ``link``.

    The port is bound here and handed down: a port that is taken is known at once, and a browser that asks while the
    page restarts waits a moment instead of being refused. ``on_command`` gets the viewers' commands.
    """

    def __init__(
        self,
        link: PageLink,
        *,
        on_command: Callable[[Command], None],
        port: int = 8501,
    ) -> None:
        self._link = link
        self._on_command = on_command
        self._port = port
        self._listener: socket.socket | None = None
        self._child: BaseProcess | None = None
        self._ready = threading.Event()
        self._alive = threading.Event()
        self._stopping = threading.Event()
        self._keeper = threading.Thread(target=self._keep_alive, name="page-keeper", daemon=True)

    @property
    def url(self) -> str:
        """Where the page is, e.g. ``http://127.0.0.1:8501``. With port 0, valid once started."""
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        child = self._child
        return child.pid if child else None

    def start(self) -> None:
        """Bind the port and start the page; returns before it answers (``wait_ready``).

        Raises:
            ConfigError: the port is taken, or no port.
        """
        self._listener = _listen(self._port)
        self._port = self._listener.getsockname()[1]
        self._keeper.start()

    def wait_ready(self, timeout_s: float = 60.0) -> str:
        """Wait until the page answers; its URL.

        Raises:
            GenrescopeError: it did not answer within ``timeout_s`` seconds.
        """
        if not self._ready.wait(timeout_s):
            raise GenrescopeError(f"the page did not answer within {timeout_s:g} s; try --no-page to run without it")
        return self.url

    def stop(self) -> None:
        """Stop the page and free the port. Safe to call twice."""
        self._stopping.set()
        self._link.close()
        if self._keeper.ident is not None:
            self._keeper.join()
        if self._listener is not None:
            self._listener.close()

    def _keep_alive(self) -> None:
        backoff_s = FIRST_BACKOFF_S
        while not self._stopping.is_set():
            started = time.monotonic()
            why = self._run_once()
            if self._stopping.is_set():
                return
            if time.monotonic() - started > STEADY_S:
                backoff_s = FIRST_BACKOFF_S
            log.warning("%s; starting it again in %.1f s", why, backoff_s)
            self._stopping.wait(backoff_s)
            backoff_s = min(2 * backoff_s, LONGEST_BACKOFF_S)

    def _run_once(self) -> str:
        """Start the page and see it to its end; why it ended."""
        try:
            child = self._spawn()
        except OSError as error:
            return f"the page could not be started ({error})"
        why = self._watch(child)
        answered = self._ready.is_set()
        self._ready.clear()
        self._link.close()  # a child that still runs ends by that
        if child.exitcode is None and not (answered and self._stopping.is_set()):
            child.kill()  # it hangs, or it is still importing: it would not notice
        _end(child)
        return why

    def _watch(self, child: BaseProcess) -> str:
        # Counted in looks, not by the clock: while this process is stopped and goes on, the page may be silent too.
        silent_s = 0.0
        while child.exitcode is None and silent_s < HUNG_S and not self._stopping.wait(_LOOK_EVERY_S):
            silent_s = 0.0 if self._alive.is_set() else silent_s + _LOOK_EVERY_S
            self._alive.clear()
        if child.exitcode is None:
            return f"the page has not answered for {HUNG_S:g} s"
        return f"the page ended (exit code {child.exitcode})"

    def _spawn(self) -> BaseProcess:
        ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        child = context.Process(
            target=_run_page,
            args=(theirs, self._listener),
            kwargs={"port": self._port},
            name="genrescope-page",
            daemon=True,
        )
        try:
            with _sigint_blocked():
                child.start()
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._child = child
        self._link.attach(ours, on_message=self._on_message)
        return child

    def _on_message(self, message: Command | PageAlive) -> None:
        if isinstance(message, PageAlive):
            self._ready.set()
            self._alive.set()
        else:
            self._on_command(message)


def _run_page(connection: Connection[Any, Any], listener: socket.socket, *, port: int) -> None:
    """The child's entry; imports Streamlit only there."""
    from dashboard.serve import serve

    serve(connection, listener, port=port)


def _end(child: BaseProcess) -> None:
    child.join(STOP_TIMEOUT_S)
    if child.exitcode is None:
        log.warning("the page did not end by itself within %g s; ending it", STOP_TIMEOUT_S)
        child.kill()
        child.join()


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET)
    # Restarting at once must not fail for old connections; on Windows the same option would let two servers share.
    if os.name == "posix":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigError(
            f"cannot serve the page on {LOOPBACK} port {port}: {getattr(error, 'strerror', None) or error}; "
            "choose another with --port"
        ) from error
    return listener


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """A child started in here never sees Ctrl-C, not even while it imports: it inherits the mask and keeps it."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
