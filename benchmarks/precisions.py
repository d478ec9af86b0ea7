"""What fp16 and int8 cost in accuracy and bring in speed on this machine's processor, one fold of a table, in one run.

    python benchmarks/precisions.py --model RUNS/base/fold-4-seed-0/model.onnx --table RUNS/table/tracks.csv --fold 4

MODEL must not have learned from the fold. Eight-bit ranges are calibrated on the other folds, which it has. Files are
judged by the mean of their windows' probabilities; times are the median of a window alone, by turns, in one thread.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from machine import describe

from models.audio import load
from models.frontend import features
from models.model_file import open_model
from models.precision import in_precision
from models.precision_kind import Precision
from models.scorer import Scorer, WindowBatch, load_scorer
from models.scorer_kind import ScorerKind
from models.spec import ModelCard
from train.evaluate import windows_of
from train.progress import track_progress
from train.sound_windows import sound_windows

RUNTIMES = (ScorerKind.ONNX, ScorerKind.OPENVINO)
_ROUNDS, _A_ROUND = 20, 25


def make_scorers(model: Path, card: ModelCard, table: Path, fold: int, folder: Path) -> dict[tuple[str, str], Scorer]:
    """The model in each precision behind each runtime."""
    learned = folder / "learned.csv"
    with table.open(newline="", encoding="utf-8") as file, learned.open("w", newline="", encoding="utf-8") as kept:
        writer = csv.writer(kept)
        writer.writerow(["path"])
        writer.writerows([table.parent / row["path"]] for row in csv.DictReader(file) if row["fold"] != str(fold))
    windows = sound_windows([learned], card)
    scorers = {}
    for precision in Precision:
        path = folder / f"{precision}.onnx"
        path.write_bytes(in_precision(model.read_bytes(), card, precision, windows=windows).SerializeToString())
        for kind in RUNTIMES:
            scorers[str(precision), str(kind)] = load_scorer(path, kind)
    return scorers


def accuracies(
    scorers: Mapping[tuple[str, str], Scorer], rows: list[dict[str, str]], table: Path
) -> dict[tuple[str, str], float]:
    """Share of the files whose first head is named rightly, by each scorer."""
    card = next(iter(scorers.values())).card
    right = dict.fromkeys(scorers, 0)
    for row in track_progress(rows, total=len(rows), title="Listening"):
        samples = load(table.parent / row["path"], card.clock.sample_rate_hz)
        windows = windows_of([features(samples, spec) for spec in card.inputs], card)
        for name, scorer in scorers.items():
            mean = scorer.score(windows)[card.head.name].mean(axis=0)
            right[name] += card.head.labels[int(mean.argmax())] == row[card.head.name]
    return {name: count / len(rows) for name, count in right.items()}


def milliseconds(scorers: Mapping[tuple[str, str], Scorer], window: WindowBatch) -> dict[tuple[str, str], float]:
    """Median time of one window alone."""
    times: dict[tuple[str, str], list[float]] = {name: [] for name in scorers}
    for _ in range(_ROUNDS):
        for name, scorer in scorers.items():
            for _ in range(_A_ROUND):
                begun = time.perf_counter()
                scorer.score(window)
                times[name].append(time.perf_counter() - begun)
    return {name: 1e3 * float(np.median(each)) for name, each in times.items()}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument(
        "--table", type=Path, required=True, help="with the columns path, fold and the first head's name"
    )
    parser.add_argument("--fold", type=int, required=True)
    arguments = parser.parse_args()
    _, card = open_model(arguments.model)
    with arguments.table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["fold"] == str(arguments.fold) and row[card.head.name]]
    with TemporaryDirectory() as folder:
        scorers = make_scorers(arguments.model, card, arguments.table, arguments.fold, Path(folder))
        window = tuple(each[:1] for each in sound_windows([arguments.table.parent / rows[0]["path"]], card))
        found = accuracies(scorers, rows, arguments.table)
        times = milliseconds(scorers, window)
    print(describe())
    print(f"{card.name}, {card.head.name} of {len(rows)} files of fold {arguments.fold}: {card.provenance.protocol}\n")
    print("| numbers | runtime | named rightly | points less | ms a window | times as fast |")
    print("|---|---|---:|---:|---:|---:|")
    reference = str(Precision.FP32), str(ScorerKind.ONNX)
    for name in scorers:
        print(
            f"| {name[0]} | {name[1]} | {found[name]:.1%} | {100 * (found[reference] - found[name]):.1f} "
            f"| {times[name]:.2f} | {times[reference] / times[name]:.2f} |"
        )


if __name__ == "__main__":
    main()
