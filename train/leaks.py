"""What to do about a recording that stands in two folds; light enough for a command line to import."""

from enum import StrEnum


class Leaks(StrEnum):
    """``refuse`` to train, ``drop`` the shorter of each two copies, or ``allow`` it and look for none."""

    REFUSE = "refuse"
    DROP = "drop"
    ALLOW = "allow"
