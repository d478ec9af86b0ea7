"""What the page's script shares with the process that serves it.

Streamlit runs the script anew, in another thread, for every viewer and every change: the script finds its process here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dashboard.board import Board
from dashboard.viewer_token import TokenMint
from models.errors import ConfigError
from stream.events import Command


@dataclass(frozen=True, slots=True)
class Page:
    """One served page: the board it draws, who may see it, where its live socket is, how it talks to the engine."""

    board: Board
    mint: TokenMint
    socket_path: str
    submit: Callable[[Command], None]


_current: list[Page] = []


def set_page(page: Page) -> None:
    """Make ``page`` the one that the script shows. Once per process, before it serves."""
    _current[:] = [page]


def get_page() -> Page:
    """The page of this process.

    Raises:
        ConfigError: the script was started on its own, without an engine.
    """
    if not _current:
        raise ConfigError("this page needs an engine: start it with 'genrescope live', not with 'streamlit run'")
    return _current[0]
