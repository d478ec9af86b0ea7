"""The memory of the running vote. Here, because confidence is calibrated in training for the vote that runs live."""

DEFAULT_HALF_LIFE_S = 2.0
"""Seconds after which a window's weight in the vote has halved, unless the user says otherwise."""


def kept(elapsed_s: float, half_life_s: float) -> float:
    """The weight, from 0 to 1, that the past keeps over ``elapsed_s`` seconds; what is new gets the rest."""
    return float(2.0 ** (-elapsed_s / half_life_s))
