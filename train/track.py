"""A recording to learn from: its label, its fold, and what is known of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from models.errors import ConfigError, DatasetError

NO_FOLD = -1
"""Of a track whose fold is yet to be chosen, see ``train.split.assign_folds``."""

_NAMED_AT_MOST = 3


@dataclass(frozen=True, slots=True)
class Track:
    """One recording. ``group`` is what must not stand in two folds (its artist), empty where unknown; ``source`` names
    the table, folder or data set that it comes from; ``chosen`` says how its fold was, empty where a table gives it.
    ``shares`` has those of the raters for each label of the question, in its order, where they were counted."""

    path: Path
    label: str
    fold: int
    group: str = ""
    source: str = ""
    chosen: str = ""
    shares: tuple[float, ...] = ()


def parse_joins(texts: Sequence[str]) -> dict[str, str]:
    """``["pop_rock=pop,rock"]`` -> ``{"pop": "pop_rock", "rock": "pop_rock"}``.

    Raises:
        ConfigError: not of the form NEW=OLD,OLD, or one old label joined twice.
    """
    joins: dict[str, str] = {}
    for text in texts:
        new, equals, olds = (part.strip() for part in text.partition("="))
        names = [old.strip() for old in olds.split(",") if old.strip()]
        if not (new and equals and names):
            raise ConfigError(f"expected labels to join as NEW=OLD,OLD (such as pop_rock=pop,rock), got {text!r}")
        for old in names:
            if joins.setdefault(old, new) != new:
                raise ConfigError(f"expected one new label for {old!r}, got {joins[old]!r} and {new!r}")
    return joins


def join_labels(tracks: Iterable[Track], joins: Mapping[str, str]) -> list[Track]:
    """Tracks with their labels joined.

    Raises:
        DatasetError: a join finds no label.
    """
    joined = [replace(track, label=joins.get(track.label, track.label)) for track in tracks]
    unused = sorted(set(joins.values()) - {track.label for track in joined})
    if unused:
        raise DatasetError(f"expected --join to name labels of the tracks, nothing became {', '.join(unused)}")
    return joined


def labels_of(tracks: Iterable[Track]) -> tuple[str, ...]:
    """Every label once, in alphabetical order: the order of a model's outputs."""
    return tuple(sorted({track.label for track in tracks}))


def describe_counts(tracks: Iterable[Track]) -> str:
    """``blues 26, classical 83, ...``"""
    counts = Counter(track.label for track in tracks)
    return ", ".join(f"{label} {counts[label]}" for label in sorted(counts))


def describe_folds(tracks: Iterable[Track]) -> str:
    """How the folds were chosen, for a model's card: the word "random" stands here wherever chance chose."""
    sources: dict[str, set[str]] = {}
    for track in tracks:
        sources.setdefault(track.chosen or "folds as given", set()).add(track.source)
    if len(sources) == 1:
        return next(iter(sources))
    return "; ".join(f"{', '.join(sorted(names))}: {chosen}" for chosen, names in sorted(sources.items()))


def some(things: Sequence[object]) -> str:
    """The first few by name, the rest as a number."""
    named = ", ".join(str(thing) for thing in things[:_NAMED_AT_MOST])
    return named if len(things) <= _NAMED_AT_MOST else f"{named} and {len(things) - _NAMED_AT_MOST} more"
