"""Tracks of a CSV table, and of one folder per class."""

from __future__ import annotations

import csv
from pathlib import Path

from models.errors import DatasetError
from train.track import NO_FOLD, Track, some


def read_table(table: Path, *, label_column: str = "genre", group_column: str | None = None) -> list[Track]:
    """Tracks of a UTF-8 CSV table with the columns path (relative to the table), the label's own, and perhaps fold.

    A row with an empty label is not used. Without a column ``fold``, all tracks have ``NO_FOLD``.

    Raises:
        DatasetError: missing table, column or audio file; a fold that is not a whole number from 0; no labelled row.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            columns = list(reader.fieldnames or [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"table {table}: cannot be read as UTF-8 CSV ({error})") from error
    needed = ["path", label_column, *([group_column] if group_column else [])]
    missing = [column for column in needed if column not in columns]
    if missing:
        raise DatasetError(f"table {table}: expected the columns {needed}, {missing} missing; it has {columns}")
    tracks = []
    # Line 1 is the header.
    for line, row in enumerate(rows, start=2):
        label = (row[label_column] or "").strip()
        if not label:
            continue
        fold = _fold(row["fold"], f"table {table}, line {line}") if "fold" in columns else NO_FOLD
        group = (row[group_column] or "").strip() if group_column else ""
        path = table.parent / (row["path"] or "")
        tracks.append(Track(path, label, fold, group=group, source=table.absolute().parent.name))
    if not tracks:
        raise DatasetError(f"table {table}: expected rows with a {label_column!r}, all {len(rows)} are empty")
    absent = [track.path for track in tracks if not track.path.is_file()]
    if absent:
        raise DatasetError(f"table {table}: {len(absent)} of {len(tracks)} audio files are missing: {some(absent)}")
    return tracks


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
