"""The trunk of genrescope-base on sounds of everyday: fine-tuned to esc10's ten classes.

    python benchmarks/fine_tune.py --data DATA --runs RUNS

Each of esc10's four folds is tested with a network that began with the weights of the one that ``benchmarks/base.py``
trained in RUNS without that fold, beside one that began with none.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean
from typing import Any

from base import keep, parse_settings

from train.pipeline import open_run, train_fold
from train.plan import Plan
from train.progress import say
from train.run_folder import MODEL_NAME, fold_name
from train.statistics import metrics

FOLDS = (0, 1, 2, 3)


def tune(arguments: argparse.Namespace, *, fold: int, seed: int, fresh: bool) -> float:
    """Accuracy on the files of one fold."""
    name = f"{arguments.name}-{'fresh' if fresh else 'tuned'}"
    plan = Plan(
        recipe="base",
        settings={"precision": "bf16-mixed", **parse_settings(arguments.settings)},
        tables=(arguments.data / "esc10" / "tracks.csv",),
        label_column="label",
        head="sound",
        test_fold=fold,
        seed=seed,
        teacher=arguments.teacher,
        start=None if fresh else arguments.runs / arguments.name / fold_name(fold, seed) / MODEL_NAME,
        name=name,
    )
    folder = arguments.runs / f"{name}-esc10" / fold_name(fold, seed)
    run = open_run(plan, folder, cache=arguments.cache, workers=2, resume=True)
    fitted = train_fold(run, test_fold=fold, seed=seed, resume=True)
    records = run.measure(fitted, fold)
    accuracy = metrics(records["sound"])["file_accuracy"]
    say(f"{name}, fold {fold}, seed {seed}: {accuracy:.3f} after {fitted.minutes:.1f} minutes")
    return accuracy


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True, help="the folder of benchmarks/base.py")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "genrescope" / "features")
    parser.add_argument("--name", default="base", help="the variant of benchmarks/base.py to begin with")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--teacher", type=Path, help="an .npz that speaks of esc10 too (default: none)")
    arguments = parser.parse_args()
    starts = [
        arguments.runs / arguments.name / fold_name(f, s) / MODEL_NAME for s in range(arguments.seeds) for f in FOLDS
    ]
    if missing := [str(path) for path in starts if not path.exists()]:
        parser.error(f"expected networks of benchmarks/base.py to begin with, there is no {', '.join(missing)}")
    found: dict[str, Any] = {}
    for fresh in (False, True):
        accuracies = [
            tune(arguments, fold=fold, seed=seed, fresh=fresh) for seed in range(arguments.seeds) for fold in FOLDS
        ]
        found["begun anew" if fresh else "fine-tuned"] = {
            "accuracy": round(mean(accuracies), 4),
            "networks": len(accuracies),
        }
    keep("esc10", arguments.name, found)


if __name__ == "__main__":
    main()
