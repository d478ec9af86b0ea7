"""Which recordings to learn from: tracks with a label and a fold, from tables or from one folder per class."""

from __future__ import annotations

import csv
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.errors import ConfigError, DatasetError

FOLDS = 5
"""Folds made of a folder that comes without any."""

_NAMED_AT_MOST = 3


@dataclass(frozen=True, slots=True)
class Track:
    """One recording. ``group`` is what must not stand in two folds (its artist), empty where unknown; ``source`` names
    the table or folder that it comes from."""

    path: Path
    label: str
    fold: int
    group: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Split:
    """Tracks by their use. ``calibration`` may be empty."""

    training: tuple[Track, ...]
    calibration: tuple[Track, ...]
    test: tuple[Track, ...]


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


def read_table(
    table: Path, *, label_column: str = "genre", group_column: str | None = None, joins: Mapping[str, str] | None = None
) -> list[Track]:
    """Tracks of a UTF-8 CSV table with the columns path (relative to the table), fold, and the label's own.

    A row with an empty label is not used.

    Raises:
        DatasetError: missing table, column or audio file; a fold that is not a whole number; no labelled row.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            columns = list(reader.fieldnames or [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"table {table}: cannot be read as UTF-8 CSV ({error})") from error
    needed = ["path", "fold", label_column, *([group_column] if group_column else [])]
    missing = [column for column in needed if column not in columns]
    if missing:
        raise DatasetError(f"table {table}: expected the columns {needed}, {missing} missing; it has {columns}")
    tracks = []
    # Line 1 is the header.
    for line, row in enumerate(rows, start=2):
        label = (row[label_column] or "").strip()
        if not label:
            continue
        try:
            fold = int(row["fold"])
        except (TypeError, ValueError):
            raise DatasetError(
                f"table {table}, line {line}: expected a whole number as fold, got {row['fold']!r}"
            ) from None
        group = (row[group_column] or "").strip() if group_column else ""
        path, label = table.parent / row["path"], (joins or {}).get(label, label)
        tracks.append(Track(path, label, fold, group=group, source=table.parent.name))
    if not tracks:
        raise DatasetError(f"table {table}: expected rows with a {label_column!r}, all {len(rows)} are empty")
    absent = [track.path for track in tracks if not track.path.is_file()]
    if absent:
        raise DatasetError(f"table {table}: {len(absent)} of {len(tracks)} audio files are missing: {_some(absent)}")
    return tracks


def read_folders(folder: Path, *, seed: int, joins: Mapping[str, str] | None = None) -> list[Track]:
    """Tracks of ``folder/CLASS/*``, spread over ``FOLDS`` folds, each class evenly, at random but the same for a seed.

    Nothing is known of artists or albums here, so figures measured on such folds are optimistic.

    Raises:
        DatasetError: no such folder, fewer than two classes, or a class with fewer files than folds.
    """
    if not folder.is_dir():
        raise DatasetError(f"folder {folder}: expected a folder with one sub-folder of audio files per class")
    by_label: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.glob("*/*")):
        if path.is_file() and not path.name.startswith("."):
            label = path.parent.name
            by_label[(joins or {}).get(label, label)].append(path)
    if len(by_label) < 2:
        raise DatasetError(f"folder {folder}: expected sub-folders of at least two classes, found {sorted(by_label)}")
    tracks = []
    for label, paths in sorted(by_label.items()):
        if len(paths) < FOLDS:
            raise DatasetError(f"class {label!r}: expected at least {FOLDS} files, one a fold, found {len(paths)}")
        random.Random(f"{seed}/{label}").shuffle(paths)
        tracks += [Track(path, label, index % FOLDS, source=folder.name) for index, path in enumerate(paths)]
    return tracks


def read_tracks(
    *,
    tables: Sequence[Path],
    folders: Sequence[Path],
    label_column: str,
    group_column: str | None,
    join: Sequence[str],
    seed: int,
) -> list[Track]:
    """The tracks of all tables and folders together; see ``read_table``, ``read_folders`` and ``parse_joins``.

    Raises:
        DatasetError: as those; or nothing is given, or a join finds no label.
    """
    if not (tables or folders):
        raise DatasetError("expected labelled audio: give --table tracks.csv, or --folder with one folder per class")
    joins = parse_joins(join)
    tracks: list[Track] = []
    for table in tables:
        tracks += read_table(table, label_column=label_column, group_column=group_column, joins=joins)
    for folder in folders:
        tracks += read_folders(folder, seed=seed, joins=joins)
    unused = sorted(set(joins.values()) - {track.label for track in tracks})
    if unused:
        raise DatasetError(f"expected --join to name labels of the tracks, nothing became {', '.join(unused)}")
    return tracks


def split_by_fold(tracks: Iterable[Track], *, test_fold: int, calibration_fold: int | None = None) -> Split:
    """Tracks of the test fold, of the calibration fold, and the rest for training.

    Raises:
        DatasetError: an unknown fold; a file or group in two folds; a class with no track on one of the sides.
    """
    tracks = tuple(tracks)
    folds = sorted({track.fold for track in tracks})
    for name, fold in (("test", test_fold), ("calibration", calibration_fold)):
        if fold is not None and fold not in folds:
            raise DatasetError(f"expected a {name} fold among {folds}, got {fold}")
    if test_fold == calibration_fold:
        raise DatasetError(f"expected a calibration fold other than the test fold, got {test_fold} for both")
    _refuse_leaks(tracks)
    held_out = {test_fold, calibration_fold}
    split = Split(
        training=tuple(track for track in tracks if track.fold not in held_out),
        calibration=tuple(track for track in tracks if track.fold == calibration_fold),
        test=tuple(track for track in tracks if track.fold == test_fold),
    )
    sides = {"training": split.training, "test": split.test}
    if calibration_fold is not None:
        sides["calibration"] = split.calibration
    for side, members in sides.items():
        absent = sorted({track.label for track in tracks} - {track.label for track in members})
        if absent:
            raise DatasetError(
                f"the {side} side has no track of {', '.join(absent)}: leave the class out, or choose other folds"
            )
    return split


def labels_of(tracks: Iterable[Track]) -> tuple[str, ...]:
    """Every label once, in alphabetical order: the order of a model's outputs."""
    return tuple(sorted({track.label for track in tracks}))


def describe_counts(tracks: Iterable[Track]) -> str:
    """``blues 26, classical 83, ...``"""
    counts = Counter(track.label for track in tracks)
    return ", ".join(f"{label} {counts[label]}" for label in sorted(counts))


def _refuse_leaks(tracks: Sequence[Track]) -> None:
    folds_of: dict[tuple[str, str], set[int]] = defaultdict(set)
    for track in tracks:
        folds_of["file", str(track.path.resolve())].add(track.fold)
        if track.group:
            folds_of["group", track.group.casefold()].add(track.fold)
    leaks = [f"{kind} {name}" for (kind, name), folds in folds_of.items() if len(folds) > 1]
    if leaks:
        raise DatasetError(f"{len(leaks)} stand in more than one fold, so a test would be too kind: {_some(leaks)}")


def _some(things: Sequence[object]) -> str:
    """The first few by name, the rest as a number."""
    named = ", ".join(str(thing) for thing in things[:_NAMED_AT_MOST])
    return named if len(things) <= _NAMED_AT_MOST else f"{named} and {len(things) - _NAMED_AT_MOST} more"
