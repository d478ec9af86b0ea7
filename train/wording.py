"""Numbers as sentences for a person say them."""

from __future__ import annotations

from typing import Final

_LARGER_UNITS: Final = ("kB", "MB", "GB")


def counted(number: int, noun: str) -> str:
    """``1 epoch``, ``1,000 epochs``: for nouns that take an s."""
    return f"{number} {noun}" if number == 1 else f"{number:,} {noun}s"


def size_of(count: float) -> str:
    """``3.4 kB``, ``12.0 MB`` of so many bytes: never 0.0 of something."""
    for unit in _LARGER_UNITS[:-1]:
        count /= 1000
        if count < 1000:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:,.1f} {_LARGER_UNITS[-1]}"
