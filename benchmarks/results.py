"""Every recipe on real labelled audio: trains what docs/results.json lacks, and writes docs/results.md from it.

    python benchmarks/results.py --data DATA --runs RUNS

DATA holds the folders emotify, 4q, music_speech and esc10, each with a tracks.csv. Each network is trained by a process
of its own; stopped at any moment, the same command goes on. Nothing is chosen on a tested fold: early stopping watches
another one.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from results_page import render

from models.atomic_write import replacing
from models.errors import GenrescopeError
from train.compare import compare
from train.leaks import Leaks
from train.machine import describe_machine
from train.pipeline import open_run, train_fold
from train.plan import Plan, commit_of_this_code
from train.progress import say
from train.record import read_record
from train.statistics import metrics

DOCS = Path(__file__).parents[1] / "docs"
STORE = DOCS / "results.json"
PAGE = DOCS / "results.md"

PATIENCE = {"zhang-1d": 0, "zhang-2d": 50}
"""Recipes that another patience suits: with one window a file an epoch is a few batches. The batch normalisation of the
first forgets so slowly that the loss to watch says nothing before hundreds of batches; it is trained to its last epoch,
as published, which takes a minute."""
FIGURES = (
    "files", "file_accuracy", "file_balanced_accuracy", "file_macro_f1", "published_accuracy", "published_macro_f1",
    "window_accuracy",
)  # fmt: skip
"""What is kept of a network: what does not change with the running vote."""
LIDY = ("lidy-timbral", "lidy-parallel", "lidy-parallel-frequency")


@dataclass(frozen=True, slots=True)
class Dataset:
    """Tables below the data's folder, and how they are read."""

    tables: tuple[str, ...]
    label_column: str
    folds: tuple[int, ...] = (0, 1, 2, 3, 4)
    group_column: str | None = None
    join: tuple[str, ...] = ()
    leaks: Leaks = Leaks.REFUSE


DATASETS = {
    "emotify": Dataset(("emotify",), "genre", group_column="artist"),
    "genre-10": Dataset(
        ("emotify", "4q"), "genre", group_column="artist", join=("pop_rock=pop,rock",), leaks=Leaks.DROP
    ),
    "music_speech": Dataset(("music_speech",), "label"),
    "esc10": Dataset(("esc10",), "label", folds=(0, 1, 2, 3)),
    "quadrants": Dataset(("4q",), "quadrant", group_column="artist", leaks=Leaks.DROP),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One network to be trained and measured."""

    dataset: str
    recipe: str
    fold: int
    settings: Mapping[str, str | int | float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the cell is called in the store, on the command line and as a folder."""
        settings = "".join(f",{key}={value}" for key, value in self.settings.items())
        return f"{self.dataset}/{self.recipe}{settings}/fold-{self.fold}"

    @property
    def watched_fold(self) -> int | None:
        """The fold that early stopping watches: the one before the tested one. None where nothing stops it early."""
        if self.settings.get("patience") == 0:
            return None
        folds = DATASETS[self.dataset].folds
        return folds[folds.index(self.fold) - 1]


def cells() -> Iterator[Cell]:
    """All cells: the folds of the small recipes on every set, then every recipe on one split of emotify."""
    yield from _all_folds("music_speech")
    for recipe in LIDY:
        for fold in DATASETS["music_speech"].folds:
            yield Cell("music_speech", recipe, fold, {"patience": 0})
    for recipe, variants in VARIANTS.items():
        for settings in variants:
            yield Cell("emotify", recipe, 4, settings)
    for dataset in ("emotify", "quadrants", "genre-10", "esc10"):
        yield from _all_folds(dataset)


def _all_folds(dataset: str) -> Iterator[Cell]:
    for recipe in (*LIDY, "zhang-1d", "xu"):
        settings = {"slices": 1} if recipe == "xu" else {}
        for fold in DATASETS[dataset].folds:
            if not (dataset == "emotify" and fold == 4):
                yield Cell(dataset, recipe, fold, settings)


VARIANTS: Mapping[str, Sequence[Mapping[str, str | int | float]]] = {
    **{recipe: ({}, {"input_size": "80x82"}) for recipe in LIDY},
    "zhang-1d": ({},),
    "zhang-2d": ({}, {"learning_rate": 5e-4}),
    "xu": ({"slices": 1}, {"slices": 2}),
    "veselinov-simple": ({}, {"normalise": 0}),
    "veselinov-alexnet": ({},),
    "veselinov-googlenet": ({},),
    "benito-raw": ({}, {"sample": "whole"}),
    "benito-spectrogram": ({}, {"sample": "whole"}, {"dropout": 0.2}),
    "benito-both": ({}, {"sample": "whole"}, {"dropout": 0.2}),
    "veselinov-vgg": ({}, {"normalise": 0}),
}


@dataclass(frozen=True, slots=True)
class Claim:
    """What a paper claims: the recipe ``winner`` is better than ``loser``. Looked at on one split of emotify, or over
    all folds of a data set."""

    words: str
    loser: str
    winner: str
    dataset: str = "emotify"
    folds: tuple[int, ...] = (4,)


CLAIMS: Sequence[Claim] = (
    Claim("Zhang: two dimensions over one", "zhang-1d", "zhang-2d"),
    Claim("Zhang: two dimensions over one (both at 5e-4)", "zhang-1d", "zhang-2d,learning_rate=0.0005"),
    Claim("Benito: segments over whole samples (raw)", "benito-raw,sample=whole", "benito-raw"),
    Claim("Benito: segments over whole samples (spectrogram)", "benito-spectrogram,sample=whole", "benito-spectrogram"),
    Claim("Benito: segments over whole samples (both)", "benito-both,sample=whole", "benito-both"),
    Claim("Benito: spectrogram over raw", "benito-raw", "benito-spectrogram"),
    Claim("Benito: dropout 0.2 hurts (spectrogram)", "benito-spectrogram,dropout=0.2", "benito-spectrogram"),
    Claim("Benito: dropout 0.2 hurts (both)", "benito-both,dropout=0.2", "benito-both"),
    Claim("Lidy: parallel over timbral (40x80)", "lidy-timbral", "lidy-parallel"),
    Claim("Lidy: parallel over timbral (80x82)", "lidy-timbral,input_size=80x82", "lidy-parallel,input_size=80x82"),
    Claim("Veselinov: MFCC as they are fail (simple)", "veselinov-simple,normalise=0", "veselinov-simple"),
    Claim("Veselinov: MFCC as they are fail (VGG)", "veselinov-vgg,normalise=0", "veselinov-vgg"),
    Claim("Xu: two joined slices over one", "xu,slices=1", "xu,slices=2"),
    *(
        Claim(f"Lidy: parallel over timbral (40x80; {name}, all folds)", LIDY[0], LIDY[1], name, DATASETS[name].folds)
        for name in ("emotify", "genre-10", "quadrants", "music_speech", "esc10")
    ),
)


@dataclass(frozen=True, slots=True)
class Options:
    """Where things lie, and how long a network may take."""

    data: Path
    runs: Path
    cache: Path
    minutes: float
    patience: int
    precision: str


def train_cell(cell: Cell, options: Options) -> dict[str, Any]:
    """Train and measure one network; return what the store keeps of it."""
    dataset = DATASETS[cell.dataset]
    patience = PATIENCE.get(cell.recipe, options.patience)
    settings = {"patience": patience, "precision": options.precision, **cell.settings}
    plan = Plan(
        recipe=cell.recipe,
        settings=settings,
        tables=tuple(options.data / table / "tracks.csv" for table in dataset.tables),
        label_column=dataset.label_column,
        group_column=dataset.group_column,
        join=dataset.join,
        leaks=dataset.leaks,
        test_fold=cell.fold,
        calibration_fold=cell.watched_fold,
        name=cell.name,
    )
    folder = options.runs / cell.name
    run = open_run(plan, folder, cache=options.cache, workers=1, resume=True)
    fitted = train_fold(
        run,
        test_fold=cell.fold,
        watched_fold=cell.watched_fold,
        seed=plan.seed,
        resume=True,
        max_minutes=options.minutes,
    )
    record = run.measure(fitted, cell.fold)[plan.head]
    return {
        "name": cell.name,
        "figures": {name: value for name, value in metrics(record).items() if name in FIGURES},
        "classes": len(record.labels),
        "parameters": record.parameters,
        "megabytes": round((record.file_bytes or 0) / 1e6, 1),
        "epochs": fitted.epochs,
        "best_epoch": fitted.best_epoch,
        "published_epochs": plan.make_recipe().epochs,
        "stopped": fitted.stopped,
        "minutes": round(fitted.minutes, 1),
        "hardware": f"{describe_machine()}, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}",
        "precision": options.precision,
        "commit": commit_of_this_code(),
    }


def compare_claims(runs: Path) -> list[dict[str, Any]]:
    """Each claim whose networks have all been measured on this machine."""
    found = []
    for claim in CLAIMS:
        sides = [
            [runs / claim.dataset / side / f"fold-{fold}/records/fold-{fold}-seed-0.json" for fold in claim.folds]
            for side in (claim.loser, claim.winner)
        ]
        if all(path.exists() for side in sides for path in side):
            without, with_ = ([read_record(path) for path in side] for side in sides)
            result = compare(without, with_, names=(claim.loser, claim.winner), decision="published", common_only=True)
            found.append({"claim": claim.words, **result.as_json()})
    return found


def read_store() -> dict[str, Any]:
    """What docs/results.json holds."""
    if not STORE.exists():
        return {"cells": {}, "claims": {}}
    store: dict[str, Any] = json.loads(STORE.read_text(encoding="utf-8"))
    return store


def write_store(store: dict[str, Any]) -> None:
    """Keep the store, and write the page from it."""
    with replacing(STORE) as temporary:
        temporary.write_text(json.dumps(store, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    page = render(store, order=[cell.name for cell in cells()], claims=[claim.words for claim in CLAIMS])
    with replacing(PAGE) as temporary:
        temporary.write_text(page, encoding="utf-8")


def collect(name: str, runs: Path) -> None:
    """Put a finished cell and the claims that it completes into the store."""
    store = read_store()
    store["cells"][name] = json.loads((runs / name / "cell.json").read_text(encoding="utf-8"))
    store["claims"] |= {found["claim"]: found for found in compare_claims(runs)}
    write_store(store)


def run_all(todo: list[Cell], arguments: argparse.Namespace, command: Sequence[str]) -> int:
    """Train the cells, ``arguments.jobs`` at a time, each in a process of its own; return how many failed."""
    threads = str(max(1, (os.cpu_count() or 1) // arguments.jobs))
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    waiting, running, failed = list(todo), dict[str, subprocess.Popen[bytes]](), 0
    done = 0
    while waiting or running:
        while waiting and len(running) < arguments.jobs:
            cell = waiting.pop(0)
            folder = arguments.runs / cell.name
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / "log.txt").open("ab") as log:
                process = [sys.executable, __file__, *command, "--cell", cell.name]
                running[cell.name] = subprocess.Popen(process, stdout=log, stderr=log, env=environment)
            say(f"started {cell.name}")
        for name, process in list(running.items()):
            if process.poll() is None:
                continue
            del running[name]
            if process.returncode:
                failed += 1
                say(f"failed: {name}, see {arguments.runs / name / 'log.txt'}")
                continue
            collect(name, arguments.runs)
            done += 1
            kept = json.loads((arguments.runs / name / "cell.json").read_text(encoding="utf-8"))
            say(
                f"{done} of {len(todo)}: {name}: {kept['figures']['published_accuracy']:.3f} after {kept['epochs']} "
                f"epochs, {kept['minutes']} minutes ({kept['stopped']})"
            )
        time.sleep(0.5)
    return failed


def _done(kept: dict[str, Any] | None, minutes: float) -> bool:
    """A network that an earlier, shorter limit stopped goes on under a longer one."""
    return kept is not None and not (kept["stopped"] == "time" and kept["minutes"] < minutes)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with emotify, 4q, music_speech and esc10")
    parser.add_argument("--runs", type=Path, help="folder for checkpoints, models and records")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "genrescope" / "features")
    parser.add_argument("--minutes", type=float, default=60.0, help="no epoch begins after so long (default: 60)")
    parser.add_argument("--patience", type=int, default=10, help="epochs without a better loss before it stops")
    parser.add_argument("--precision", default="bf16-mixed")
    parser.add_argument("--jobs", type=int, default=1, help="networks trained at a time")
    parser.add_argument("--only", default="*", help="cells whose name fits: 'emotify/*', '*/fold-4'")
    parser.add_argument("--list", action="store_true", help="name the cells, and which are done")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    store = read_store()
    chosen = [cell for cell in cells() if fnmatch.fnmatch(cell.name, arguments.only)]
    if arguments.list:
        for cell in chosen:
            print("done" if _done(store["cells"].get(cell.name), arguments.minutes) else "    ", cell.name)
        return
    if arguments.data is None or arguments.runs is None:
        parser.error("--data and --runs are needed to train")
    if arguments.cell:
        cell = next(cell for cell in cells() if cell.name == arguments.cell)
        paths = arguments.data, arguments.runs, arguments.cache
        try:
            kept = train_cell(cell, Options(*paths, arguments.minutes, arguments.patience, arguments.precision))
        except GenrescopeError as error:
            sys.exit(f"{cell.name}: {error}")
        with replacing(arguments.runs / cell.name / "cell.json") as temporary:
            temporary.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        return
    todo = [cell for cell in chosen if not _done(store["cells"].get(cell.name), arguments.minutes)]
    say(f"{len(todo)} of {len(chosen)} networks to train")
    if run_all(todo, arguments, sys.argv[1:]):
        sys.exit(1)
    write_store(read_store())


if __name__ == "__main__":
    main()
