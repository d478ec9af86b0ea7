"""Tracks of a CSV table, and of one folder per class."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from models.errors import DatasetError
from train.progress import say
from train.track import NO_FOLD, Track, some


def read_table(table: Path, *, label_column: str = "genre", group_column: str | None = None) -> list[Track]:
    """Tracks of a UTF-8 CSV table with the columns path (relative to the table), the label's own, and perhaps fold.

    A row with an empty label is not used. Without a column ``fold``, all tracks have ``NO_FOLD``.

    Raises:
        DatasetError: missing table, column or audio file; a fold that is not a whole number from 0; no labelled row.
    """
    rows, columns = _rows(table)
    _require(table, columns, ["path", label_column, *([group_column] if group_column else [])])
    tracks = _labelled(table, rows, (label_column,), group_column)
    if not tracks:
        raise DatasetError(f"table {table}: expected rows with a {label_column!r}, all {len(rows)} are empty")
    return tracks


def read_answers(table: Path, answers: Sequence[str], *, group_column: str | None = None) -> list[Track]:
    """As ``read_table``, of a table that may have no answer: the label stands in one column or, where ``answers`` are
    several, is the one with the largest number, and the numbers are its shares.

    Raises:
        DatasetError: as ``read_table``; a share that is no number from 0, or shares that are all 0.
    """
    rows, columns = _rows(table)
    if not set(answers) <= set(columns):
        return []
    _require(table, columns, ["path", *([group_column] if group_column else [])])
    return _labelled(table, rows, tuple(answers), group_column)


def read_copies(table: Path, tracks: Sequence[Track]) -> dict[Path, tuple[Path, ...]]:
    """By track, further versions of it: of a UTF-8 CSV table with the columns path and copy_of, both relative to it.
    Copies of other files are left out, and some of these named.

    Raises:
        DatasetError: missing table, column or audio file; a copy that is a track itself, or that is listed twice; no
            copy of any track.
    """
    rows, columns = _rows(table)
    _require(table, columns, ["path", "copy_of"])
    # A file may be two tracks, by two names: which of them is left out in the end is not known here.
    known: dict[Path, list[Path]] = {}
    for track in tracks:
        known.setdefault(track.path.resolve(), []).append(track.path)
    copies: dict[Path, tuple[Path, ...]] = {}
    listed: set[Path] = set()
    of_no_track = []
    for row in rows:
        copy, original = (table.parent / (row[column] or "") for column in ("path", "copy_of"))
        copied, tracks_of = copy.resolve(), known.get(original.resolve(), [])
        if copied in known:
            raise DatasetError(f"table {table}: expected copies of tracks, {copy} is a track itself")
        if copied in listed:
            raise DatasetError(
                f"table {table}: expected each copy once, as a copy of one track; {copy} is listed twice"
            )
        listed.add(copied)
        if not tracks_of:
            of_no_track.append(original)
        for path in tracks_of:
            copies[path] = (*copies.get(path, ()), copy)
    if copies and of_no_track:
        say(f"copies: {len(of_no_track)} of {len(rows)} rows are of no track here: {some(of_no_track)}")
    if not copies:
        raise DatasetError(f"table {table}: expected copies of the tracks, none of {len(rows)} rows is (copy_of)")
    _require_files(table, [copy for each in copies.values() for copy in each])
    return copies


def _rows(table: Path) -> tuple[list[dict[str, str]], list[str]]:
    """The rows, by column, and the columns."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            return list(reader), list(reader.fieldnames or [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"table {table}: cannot be read as UTF-8 CSV ({error})") from error


def _require(table: Path, columns: Sequence[str], needed: Sequence[str]) -> None:
    missing = [column for column in needed if column not in columns]
    if missing:
        raise DatasetError(f"table {table}: expected the columns {needed}, {missing} missing; it has {columns}")


def _labelled(
    table: Path, rows: Sequence[dict[str, str]], answers: tuple[str, ...], group_column: str | None
) -> list[Track]:
    tracks = []
    # Line 1 is the header.
    for line, row in enumerate(rows, start=2):
        texts = [(row[column] or "").strip() for column in answers]
        if not any(texts):
            continue
        where = f"table {table}, line {line}"
        shares = _shares(texts, where) if len(answers) > 1 else ()
        label = answers[shares.index(max(shares))] if shares else texts[0]
        fold = _fold(row["fold"], where) if "fold" in row else NO_FOLD
        group = (row[group_column] or "").strip() if group_column else ""
        path = table.parent / (row["path"] or "")
        tracks.append(Track(path, label, fold, group=group, source=table.absolute().parent.name, shares=shares))
    _require_files(table, [track.path for track in tracks])
    return tracks


def _require_files(table: Path, paths: Sequence[Path]) -> None:
    absent = [path for path in paths if not path.is_file()]
    if absent:
        raise DatasetError(f"table {table}: {len(absent)} of {len(paths)} audio files are missing: {some(absent)}")


def _shares(texts: Sequence[str], where: str) -> tuple[float, ...]:
    """Numbers that add up to 1 and are in proportion to those given."""
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        numbers = []
    total = sum(numbers)
    if not numbers or min(numbers) < 0 or not 0 < total < math.inf:
        raise DatasetError(f"{where}: expected shares that are numbers from 0, not all 0, got {some(texts)}")
    return tuple(number / total for number in numbers)


def read_folders(folder: Path) -> list[Track]:
    """Tracks of ``folder/CLASS/*``, without a fold; nothing is known of their artists.

    Raises:
        DatasetError: no such folder, fewer than two classes, or a class without a file.
    """
    if not folder.is_dir():
        raise DatasetError(f"folder {folder}: expected a folder with one sub-folder of audio files per class")
    tracks, empty = [], []
    for sub_folder in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        files = sorted(path for path in sub_folder.iterdir() if path.is_file() and not path.name.startswith("."))
        source = folder.absolute().name
        tracks += [Track(path, sub_folder.name, NO_FOLD, source=source) for path in files]
        if not files:
            empty.append(sub_folder.name)
    if empty:
        raise DatasetError(f"folder {folder}: no audio in {some(empty)}: remove empty classes, or fill them")
    classes = sorted({track.label for track in tracks})
    if len(classes) < 2:
        raise DatasetError(f"folder {folder}: expected sub-folders of at least two classes, found {classes}")
    return tracks


def _fold(text: str | None, where: str) -> int:
    try:
        fold = int(text or "")
    except ValueError:
        fold = NO_FOLD
    if fold < 0:
        raise DatasetError(f"{where}: expected a whole number from 0 as fold, got {text!r}")
    return fold
