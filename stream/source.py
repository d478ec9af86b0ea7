"""What a source of audio is. One file per kind implements it: microphone, file, radio, standard input, demo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Audio as it came: ``samples`` (frames, channels) float32 in [-1, 1] at the source's own rate.

    ``captured_at`` is ``time.monotonic()`` when its last sample came in; ``lost`` counts the frames that the source
    knows to be missing just before this chunk (0: it follows the previous chunk without a break).
    """

    samples: FloatArray
    captured_at: float
    lost: int = 0


@runtime_checkable
class Source(Protocol):
    """Audio from one place. Opened, read until it ends or fails, closed; and opened again after a failure.

    One thread calls ``open``, ``read`` and ``close``. ``interrupt`` may come from another thread and makes a waiting
    ``read`` return soon.
    """

    address: str
    """The address as the user gave it, e.g. ``mic:USB Audio``, ``song.mp3``, ``http://...``, ``-``, ``demo``."""
    name: str
    """What to show a person."""
    sample_rate_hz: int
    """The source's own rate; valid once open."""
    live: bool
    """True if audio comes at the pace of the clock: then the newest window wins. False for a replay as fast as it can
    be scored: then nothing may be lost."""
    finite: bool
    """True if the source has an end after which it must not be opened again."""
    synthetic: bool
    """True if the audio is made by the program itself."""
    title: str | None
    """What the source says is playing, if it says so."""

    def open(self) -> None:
        """Connect.

        Raises:
            SourceAddressError: the address is wrong, so that trying again will not help.
            SourceError: it did not work this time.
        """
        ...

    def read(self, timeout_s: float) -> Chunk | None:
        """The next audio, as soon as there is some; None when none came within ``timeout_s`` seconds.

        Raises:
            EndOfAudio: a finite source has been read to its end.
            SourceError: the connection broke.
        """
        ...

    def close(self) -> None:
        """Disconnect; returns soon whatever the state of the device or the network. Safe to call twice."""
        ...

    def interrupt(self) -> None:
        """Make a waiting ``read`` return soon; from any thread."""
        ...


class EndOfAudio(Exception):
    """A finite source is at its end. Not an error: it never reaches a person."""
