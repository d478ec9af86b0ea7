"""genrescope-base on real labelled audio: one table of all sets, every fold, several seeds; what each head got right.

    python benchmarks/base.py --data DATA --runs RUNS

DATA holds the folders emotify, 4q, music_speech and esc10, each with a tracks.csv, and teacher/musicnn_msd.npz.
Settings were chosen with ``--folds 3``: fold 3 is looked at while choosing, the others only here. Stopped at any
moment, the same command goes on.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from train.leaks import Leaks
from train.pipeline import measure_fold, open_run
from train.plan import Plan
from train.progress import say
from train.statistics import metrics

FOLDS = (0, 1, 2, 3, 4)
SHOWN = {
    "genre": ("file_accuracy", "file_balanced_accuracy"),
    "mood": ("file_macro_f1",),
    "emotion": ("file_accuracy",),
    "kind": ("file_accuracy", "file_balanced_accuracy"),
}
"""Figures of each head."""
_SILENCES_PER_FOLD = 8
_RATE_HZ = 16_000


def write_table(data: Path, folder: Path) -> tuple[Path, list[str]]:
    """One table of all sets, in ``folder``, and the further questions to ask of it. Where a set does not answer, cells
    are empty. Silence is in none of the sets: some is made, from digital nothing to the hiss of an open line."""
    rows: list[dict[str, str]] = []
    with (data / "emotify" / "emotions.csv").open(newline="", encoding="utf-8") as file:
        emotions = {row.pop("path"): row for row in csv.DictReader(file)}
    names = [name for name in next(iter(emotions.values())) if name != "raters"]
    for row in _read(data / "emotify"):
        genre = "pop_rock" if row["genre"] in ("pop", "rock") else row["genre"]
        felt = {name: emotions[row["path"]][name] for name in names} if row["path"] in emotions else {}
        rows.append(_row(data / "emotify", row, genre=genre, kind="music", artist=row["artist"], **felt))
    for row in _read(data / "4q"):
        rows.append(
            _row(data / "4q", row, genre=row["genre"], quadrant=row["quadrant"], kind="music", artist=row["artist"])
        )
    rows += [_row(data / "music_speech", row, kind=row["label"]) for row in _read(data / "music_speech")]
    rows += [_row(data / "esc10", row, kind="other") for row in _read(data / "esc10")]
    rows += list(_silences(folder / "silence"))
    table = folder / "tracks.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        columns = ["path", "fold", "artist", "genre", "quadrant", "kind", *names]
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return table, ["mood=quadrant", f"emotion={','.join(names)}", "kind=kind"]


def _read(folder: Path) -> list[dict[str, str]]:
    with (folder / "tracks.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _row(folder: Path, row: dict[str, str], **answers: str) -> dict[str, str]:
    return {"path": str((folder / row["path"]).resolve()), "fold": row["fold"], **answers}


def _silences(folder: Path) -> Iterator[dict[str, str]]:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for number in range(_SILENCES_PER_FOLD * len(FOLDS)):
        path = folder / f"{number}.flac"
        samples = random.standard_normal(6 * _RATE_HZ)
        # From white to brown, from nothing to -65 dB of full scale.
        spectrum = np.fft.rfft(samples)
        spectrum /= np.maximum(np.arange(len(spectrum)), 20.0) ** random.uniform(0.0, 1.0)
        samples = np.fft.irfft(spectrum)
        samples *= 10 ** (random.uniform(-90.0, -65.0) / 20) / samples.std() * (number % 8 > 0)
        if not path.exists():
            soundfile.write(path, samples, _RATE_HZ, subtype="PCM_24")
        yield {"path": str(path.resolve()), "fold": str(number % len(FOLDS)), "kind": "silence"}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "genrescope" / "features")
    parser.add_argument("--folds", type=int, nargs="+", default=list(FOLDS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--no-teacher", action="store_true")
    parser.add_argument("--name", default="base", help="what this variant is called in RUNS")
    arguments = parser.parse_args()
    folder = arguments.runs / "base"
    folder.mkdir(parents=True, exist_ok=True)
    table, also = write_table(arguments.data, folder)
    settings = dict(text.split("=", 1) for text in arguments.settings)
    plan = Plan(
        recipe="base",
        settings={"precision": "bf16-mixed", **settings},
        tables=(table,),
        label_column="genre",
        group_column="artist",
        leaks=Leaks.DROP,
        also=tuple(also),
        teacher=None if arguments.no_teacher else arguments.data / "teacher" / "musicnn_msd.npz",
        test_fold=4,
        name=arguments.name,
    )
    run = open_run(plan, arguments.runs / arguments.name, cache=arguments.cache, workers=2, resume=True)
    found: dict[str, list[float]] = {}
    for seed in range(arguments.seeds):
        for fold in arguments.folds:
            records, fitted = measure_fold(run, test_fold=fold, seed=seed, resume=True)
            line = []
            for head, names in SHOWN.items():
                for name in names:
                    if head in records:
                        value = metrics(records[head])[name]
                        found.setdefault(f"{head} {name}", []).append(value)
                        line.append(f"{head} {name} {value:.3f}")
            say(f"{arguments.name}, fold {fold}, seed {seed}: {', '.join(line)}; {fitted.minutes:.1f} minutes")
    means = {key: round(statistics.mean(values), 4) for key, values in found.items()}
    say(json.dumps({"name": arguments.name, "settings": settings, "means": means}))


if __name__ == "__main__":
    main()
