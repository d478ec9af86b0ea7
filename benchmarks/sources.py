"""How much a network hears of where its music comes from: most genres come from one collection, with a codec, bandwidth
and level of its own. Electronic and pop_rock come from both.

    python benchmarks/sources.py --data DATA --runs RUNS

*What its embedding tells*: of the networks that ``benchmarks/base.py`` trained in RUNS, can a logistic regression on a
file's mean embedding say which collection the file is from? Each fold is asked of the network, and of the regression,
that have not heard it; beside it the same of the features themselves.

*What it relies on*: trained on electronic of one collection and pop_rock of the other, and tested with the collections
exchanged, a network that hears the music is right and one that hears the collection is wrong.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from base import keep, parse_settings, write_table
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from train.evaluate import windows_of
from train.export import load_checkpoint
from train.features import read_features
from train.leaks import Leaks
from train.pipeline import open_run, train_fold
from train.plan import Plan
from train.progress import say
from train.run_folder import fold_name
from train.statistics import metrics
from train.track import Track

SHARED = ("electronic", "pop_rock")
COLLECTIONS = ("emotify", "4q")
_TESTED = 9
"""The fold that the exchanged rows are put in."""

FloatArray = npt.NDArray[np.float32]


def shared_tracks(table: Path) -> list[Track]:
    """Files of the shared genres; ``label`` is the collection."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["genre"] in SHARED]
    return [Track(Path(row["path"]), _collection(row), int(row["fold"]), group=row["genre"]) for row in rows]


def _collection(row: Mapping[str, str]) -> str:
    return next(name for name in COLLECTIONS if name in Path(row["path"]).parts)


def told_by_embeddings(run: Path, table: Path, *, cache: Path) -> dict[str, float]:
    """Balanced accuracy, over all folds and within each genre, with which the collection can be told from the mean
    embedding of a file, and from the mean and deviation of its features."""
    tracks = shared_tracks(table)
    checkpoints = {fold: run / fold_name(fold, 0) / "checkpoint.ckpt" for fold in sorted({t.fold for t in tracks})}
    _, card = load_checkpoint(next(iter(checkpoints.values())))
    features = read_features(card.inputs, card.window, tracks, cache=cache, workers=2).features
    tracks = [track for track in tracks if track.path in features]
    plain = np.stack([np.concatenate([f.mean(0), f.std(0)]) for f in (features[track.path][0] for track in tracks)])
    told = {"embedding": np.zeros(len(tracks), dtype=bool), "features": np.zeros(len(tracks), dtype=bool)}
    fold_of, genre_of = np.array([t.fold for t in tracks]), np.array([t.group for t in tracks])
    first = np.array([track.label == COLLECTIONS[0] for track in tracks])
    for fold, checkpoint in checkpoints.items():
        network: Any = load_checkpoint(checkpoint)[0]
        embedded = []
        with torch.inference_mode():
            for track in tracks:
                (windows,) = windows_of(features[track.path], card)
                embedded.append(network.embed(torch.from_numpy(np.ascontiguousarray(windows))).mean(0).numpy())
        for name, values in (("embedding", np.stack(embedded)), ("features", plain)):
            for genre in SHARED:
                learned, asked = (genre_of == genre) & (fold_of != fold), (genre_of == genre) & (fold_of == fold)
                model = make_pipeline(
                    StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=500)
                )
                told[name][asked] = model.fit(values[learned], first[learned]).predict(values[asked])
        say(f"embeddings of fold {fold}: done")
    return {
        f"{genre} by {name}": float(balanced_accuracy_score(first[genre_of == genre], found[genre_of == genre]))
        for name, found in told.items()
        for genre in SHARED
    }


def exchanged(table: Path, folder: Path, *, first: str) -> Path:
    """A table to learn electronic from collection ``first`` and pop_rock from the other, and to test on the exchanged
    rest, but for artists that have been learned from."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["genre"] in SHARED]

    def learned(row: Mapping[str, str]) -> bool:
        return (row["genre"] == "electronic") == (_collection(row) == first)

    known = {row["artist"] for row in rows if learned(row)}
    path = folder / f"electronic-of-{first}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["path", "fold", "artist", "genre"])
        writer.writeheader()
        for row in rows:
            if learned(row) or row["artist"] not in known:
                fold = "0" if learned(row) else str(_TESTED)
                writer.writerow({"path": row["path"], "fold": fold, "artist": row["artist"], "genre": row["genre"]})
    return path


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True, help="the folder of benchmarks/base.py")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "genrescope" / "features")
    parser.add_argument("--name", default="base", help="the variant of benchmarks/base.py, or a new one")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--teacher", type=Path, help="as of the variant (default: none)")
    parser.add_argument("--no-embeddings", action="store_true", help="where no networks of all folds are in RUNS")
    arguments = parser.parse_args()
    folder = arguments.runs / "table"
    folder.mkdir(parents=True, exist_ok=True)
    table, _ = write_table(arguments.data, folder)
    found: dict[str, float] = {}
    if not arguments.no_embeddings:
        found |= told_by_embeddings(arguments.runs / arguments.name, table, cache=arguments.cache)
    for first in COLLECTIONS:
        plan = Plan(
            recipe="base",
            settings={"precision": "bf16-mixed", **parse_settings(arguments.settings)},
            tables=(exchanged(table, folder, first=first),),
            group_column="artist",
            leaks=Leaks.DROP,
            teacher=arguments.teacher,
            test_fold=_TESTED,
            name=f"{arguments.name}-{first}",
        )
        path = arguments.runs / f"{arguments.name}-exchanged" / first
        run = open_run(plan, path, cache=arguments.cache, workers=2, resume=True)
        records = run.measure(train_fold(run, test_fold=_TESTED, seed=0, resume=True), _TESTED)
        found[f"exchanged, electronic of {first}"] = metrics(records["genre"])["file_balanced_accuracy"]
    keep("sources", arguments.name, {name: round(value, 4) for name, value in found.items()})
    for name, value in found.items():
        print(f"{name:40} {value:.3f}")


if __name__ == "__main__":
    main()
