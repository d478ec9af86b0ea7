"""Progress that suits where it is shown: a bar on a terminal, a few plain lines in a log."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def on_terminal() -> bool:
    """True if a person watches the standard error."""
    return sys.stderr.isatty()


def say(line: str) -> None:
    """One line for the person, beside the results on standard output."""
    print(line, file=sys.stderr, flush=True)


def track_progress(items: Iterable[T], *, total: int, title: str) -> Iterator[T]:
    """Pass ``items`` on, showing how many of ``total`` are done."""
    if total and on_terminal():
        from rich.console import Console
        from rich.progress import track

        yield from track(items, description=title, total=total, console=Console(stderr=True))
        return
    step = max(1, total // 5)
    for done, item in enumerate(items, start=1):
        yield item
        if done % step == 0 or done == total:
            say(f"{title}: {done}/{total}")
