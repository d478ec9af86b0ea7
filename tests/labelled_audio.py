"""A small labelled collection that the tests make themselves: three kinds of sound, five clips of each, five folds."""

from __future__ import annotations

import csv
import wave
from pathlib import Path

import numpy as np

RATE_HZ = 22_050
LABELS = ("high", "low", "noise")
FOLDS = 5


def write_wav(path: Path, samples: np.ndarray, rate_hz: int = RATE_HZ) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def clip(label: str, number: int, *, seconds: float = 3.4) -> np.ndarray:
    random = np.random.default_rng([LABELS.index(label), number])
    at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    hiss = random.standard_normal(len(at)) * 0.003
    if label == "noise":
        return hiss * 50
    hz = {"low": 200, "high": 3_000}[label] * random.uniform(0.9, 1.1)
    return 0.3 * np.sin(2 * np.pi * hz * at) + hiss


def write_folders(folder: Path) -> Path:
    """``folder/LABEL/N.wav``."""
    for label in LABELS:
        for number in range(FOLDS):
            write_wav(folder / label / f"{number}.wav", clip(label, number))
    return folder


def write_table(folder: Path, rows: list[dict[str, object]] | None = None, *, audio: bool = True) -> Path:
    """``folder/tracks.csv`` over the clips of ``write_folders``, clip N in fold N; ``rows`` replaces its rows."""
    if audio:
        write_folders(folder)
    if rows is None:
        rows = [
            {"path": f"{label}/{n}.wav", "genre": label, "artist": f"{label} {n}", "fold": n}
            for label in LABELS
            for n in range(FOLDS)
        ]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "tracks.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "tracks.csv"
