"""Which recordings to learn from: the tracks of all tables, folders and public data sets together, each with a fold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from models.errors import DatasetError
from train.public_datasets import read_public
from train.split import assign_folds, parse_shares
from train.tables import read_folders, read_table
from train.track import Track, join_labels, parse_joins, some

FOLDS = 5
"""Folds made where none are given."""


def read_tracks(
    *,
    tables: Sequence[Path],
    folders: Sequence[Path],
    label_column: str,
    group_column: str | None,
    join: Sequence[str],
    seed: int,
    datasets: Sequence[str] = (),
    data_home: Path | None = None,
    published_split: bool = True,
    folds: int = FOLDS,
    shares: str | None = None,
) -> list[Track]:
    """The tracks of everything given, those without a fold spread over ``folds`` (or sides of these ``shares``).

    See ``read_table``, ``read_folders``, ``read_public``, ``parse_joins``, ``parse_shares`` and ``assign_folds``.

    Raises:
        ConfigError, DatasetError: as those; or nothing is given, a file is listed twice, or a join finds no label.
    """
    if not (tables or folders or datasets):
        raise DatasetError(
            "expected labelled audio: give --table tracks.csv, --folder with one folder per class, or --dataset NAME"
        )
    joins = parse_joins(join)
    percent = parse_shares(shares) if shares else ()
    tracks: list[Track] = []
    for table in tables:
        tracks += read_table(table, label_column=label_column, group_column=group_column)
    for folder in folders:
        tracks += read_folders(folder)
    for name in datasets:
        tracks += read_public(name, data_home=data_home, published_split=published_split, label_attribute=label_column)
    twice = [path for path, times in Counter(track.path for track in tracks).items() if times > 1]
    if twice:
        raise DatasetError(f"expected each file once, {len(twice)} are listed more than once: {some(twice)}")
    return assign_folds(join_labels(tracks, joins), folds=folds, shares=percent, seed=seed)
