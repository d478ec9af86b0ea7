"""Windows of the user's own sound, to calibrate eight-bit numbers on and to compare runtimes on."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.audio import load
from models.errors import AudioError, ConfigError
from models.frontend import features
from models.scorer import WindowBatch
from models.spec import ModelCard
from train.evaluate import windows_of
from train.progress import say, track_progress

_MOST_FILES, _WINDOWS_A_FILE = 128, 4


def sound_windows(places: Sequence[Path], card: ModelCard) -> WindowBatch:
    """Windows of recordings, (n, bands, frames) for each of the card's inputs: a few from all over each file, of as
    many files as are worth it, evenly chosen.

    Args:
        places: recordings, folders of them, or tables (.csv) with a column ``path``.

    Raises:
        ConfigError: nothing there, or no file has a window.
    """
    files = [file for place in places for file in _files(place)]
    chosen = [files[at] for at in np.unique(np.linspace(0, len(files) - 1, min(len(files), _MOST_FILES)).astype(int))]
    found: list[WindowBatch] = []
    for path in track_progress(chosen, total=len(chosen), title="Listening"):
        try:
            samples = load(path, card.clock.sample_rate_hz)
        except AudioError as error:
            say(f"left out: {error}")
            continue
        windows = windows_of([features(samples, spec) for spec in card.inputs], card)
        count = len(windows[0])
        some = np.unique(np.linspace(0, count - 1, min(count, _WINDOWS_A_FILE)).astype(int))
        found.append(tuple(each[some] for each in windows))
    if not sum(len(each[0]) for each in found):
        raise ConfigError(
            f"--sound: expected recordings of at least {card.window_seconds:.1f} seconds, none of "
            f"{len(chosen)} files has a window"
        )
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


def _files(place: Path) -> list[Path]:
    if place.is_dir():
        found = sorted(path for path in place.rglob("[!.]*") if path.is_file() and path.suffix.lower() not in _NO_SOUND)
    elif place.suffix.lower() == ".csv" and place.is_file():
        try:
            with place.open(newline="", encoding="utf-8-sig") as file:
                found = [place.parent / row["path"] for row in csv.DictReader(file) if row.get("path")]
        except UnicodeDecodeError as error:
            raise ConfigError(
                f"--sound {place}: expected a table in UTF-8, got other bytes ({error.reason})"
            ) from error
    else:
        found = [place] if place.is_file() else []
    if not found:
        raise ConfigError(f"--sound {place}: expected a recording, a folder of them, or a table with a column path")
    return found


_NO_SOUND = {".csv", ".txt", ".json", ".md", ".png", ".jpg"}
"""Endings of what lies beside recordings."""
