"""The one knob of the running vote, apart from the vote itself: the command line names it before numpy is imported."""

from __future__ import annotations

import math
from typing import Final

from models.errors import ConfigError

DEFAULT_HALF_LIFE_S: Final = 4.0
"""Seconds after which a window's weight in the vote has halved, unless the user says otherwise."""


def checked_half_life(seconds: float) -> float:
    """``seconds``, if it can be a half-life.

    Raises:
        ConfigError: it is not a positive number.
    """
    if not (math.isfinite(seconds) and seconds > 0):
        raise ConfigError(f"expected a finite half-life of more than 0 seconds, got {seconds:g}")
    return seconds
