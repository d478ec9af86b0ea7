"""The Free Music Archive data set (Defferrard et al. 2017) by its own table, ``fma_metadata/tracks.csv``."""

from __future__ import annotations

import csv
from pathlib import Path

from models.errors import DatasetError
from train.split import SIDE_FOLDS
from train.track import NO_FOLD, Track, some

FMA_SIZES = ("small", "medium", "large")
"""Each holds those before it."""

_COLUMNS = {
    "artist": ("artist", "id"),
    "genre": ("track", "genre_top"),
    "side": ("set", "split"),
    "size": ("set", "subset"),
}
_LONGEST_FIELD = 1 << 24
"""Biographies of artists, in characters."""


def read_fma(home: Path, *, size: str, published_split: bool) -> list[Track]:
    """Tracks of ``home/fma_SIZE`` with one top genre, grouped by artist; folds by its published split, or ``NO_FOLD``.

    Raises:
        DatasetError: the table or the audio is missing, or not as published.
    """
    table = next((path for path in (home / "fma_metadata/tracks.csv", home / "tracks.csv") if path.is_file()), None)
    audio = home / f"fma_{size}"
    if table is None or not audio.is_dir():
        raise DatasetError(f"fma-{size}: expected fma_metadata/tracks.csv and fma_{size}/ in {home}")
    sizes = FMA_SIZES[: FMA_SIZES.index(size) + 1]
    tracks = []
    # The limit is the whole process's.
    limit = csv.field_size_limit(_LONGEST_FIELD)
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            names = list(zip(next(rows), next(rows), strict=True))
            at = {key: names.index(column) for key, column in _COLUMNS.items()}
            for row in rows:
                # The third line of the header names the first column only.
                if not row[0].isdigit() or row[at["size"]] not in sizes or not row[at["genre"]]:
                    continue
                number = f"{int(row[0]):06}"
                fold = SIDE_FOLDS[row[at["side"]]] if published_split else NO_FOLD
                tracks.append(
                    Track(
                        audio / number[:3] / f"{number}.mp3",
                        row[at["genre"]],
                        fold,
                        group=f"FMA artist {row[at['artist']]}",
                        source=f"fma-{size}",
                        chosen="published split" if published_split else "",
                    )
                )
    except (OSError, UnicodeDecodeError, csv.Error, ValueError, IndexError, KeyError, StopIteration) as error:
        columns = some([".".join(column) for column in _COLUMNS.values()])
        raise DatasetError(
            f"{table}: expected the table of FMA with two lines of column names ({columns}), cannot read it: {error!r}"
        ) from error
    finally:
        csv.field_size_limit(limit)
    if not any(track.path.is_file() for track in tracks):
        raise DatasetError(f"fma-{size}: expected audio such as {audio}/000/000002.mp3, none of {len(tracks)} is there")
    return tracks
