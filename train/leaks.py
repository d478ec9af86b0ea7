"""What to do about a recording that stands in two folds; light enough for a command line to import."""

from enum import StrEnum


class Leaks(StrEnum):
    """``refuse`` to train, ``drop`` one of each two recordings, or ``allow`` it and look for none."""

    REFUSE = "refuse"
    DROP = "drop"
    ALLOW = "allow"
