"""The commands that measure models: ``evaluate`` and ``compare``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.atomic_write import require_writable_folder
from models.errors import ConfigError
from models.scorer_kind import ScorerKind
from train.commands import need_training_packages
from train.leaks import Leaks
from train.options import (
    AUDIO,
    CacheOption,
    DataHomeOption,
    DatasetsOption,
    FoldersOption,
    FoldsOption,
    GroupColumnOption,
    JoinOption,
    LabelColumnOption,
    PublishedSplitOption,
    SeedOption,
    SharesOption,
    TablesOption,
    WorkersOption,
    default_cache,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from train.compare import Comparison
    from train.recipe import Paper
    from train.record import Record
    from train.track import Track


def evaluate(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A model file; or a run's folder, for a report on all its folds.")
    ],
    *,
    table: TablesOption = None,
    folder: FoldersOption = None,
    dataset: DatasetsOption = None,
    data_home: DataHomeOption = None,
    published_split: PublishedSplitOption = True,
    folds: FoldsOption = 5,
    shares: SharesOption = None,
    label_column: LabelColumnOption = "genre",
    group_column: GroupColumnOption = None,
    join: JoinOption = None,
    fold: Annotated[
        int | None,
        typer.Option(
            "--fold",
            help="Only this fold. Files that the model learned from flatter it.  [default: all]",
            rich_help_panel=AUDIO,
        ),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option("--head", help="Measure another head of the model than its first; its labels: --label-column."),
    ] = None,
    leaks: Annotated[
        Leaks | None,
        typer.Option(
            "--leaks",
            help="As `train` was given, so that the same files are tested: those of a recording in two folds, which is "
            "refused, dropped or allowed.  [default: refuse with --fold, else allow]",
            rich_help_panel=AUDIO,
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="DIR", help="Write a report (HTML, Markdown) and a record for `compare`."),
    ] = None,
    level_db: Annotated[
        float, typer.Option("--level-db", help="Measure as if all audio were so many decibels louder (or softer: -20).")
    ] = 0.0,
    scorer: Annotated[ScorerKind, typer.Option("--scorer", help="What runs the network.")] = ScorerKind.ONNX,
    seed: SeedOption = 0,
    cache: CacheOption = None,
    workers: WorkersOption = 2,
) -> None:
    """Measure a model file on labelled audio: accuracy, each class, confusion matrix, calibration.

    All folds and seeds of a run together, from the records that it left:

        genrescope evaluate runs/mine --report runs/mine/report
    """
    need_training_packages()
    if model.is_dir():
        if table or folder or dataset:
            raise ConfigError(
                f"{model} is a run's folder, whose records say what was tested: leave out --table, --folder, --dataset"
            )
        _report_on_run(model, report, head)
        return

    from models.scorer import AskedFirst, load_scorer
    from train.closing import closing_words
    from train.dataset import read_tracks
    from train.evaluate import evaluate as evaluate_model
    from train.evaluate import require_known_labels
    from train.features import read_features
    from train.findings import find
    from train.leakage import without_leaks
    from train.machine import measure_latency
    from train.record import training_in
    from train.report import file_name, write_report

    if report is not None:
        require_writable_folder(report, option="--report")  # before hours of scoring
    loaded = load_scorer(model, scorer)
    if head is not None:
        loaded = AskedFirst(loaded, head)
    tracks = read_tracks(
        tables=table or (),
        folders=folder or (),
        label_column=label_column,
        group_column=group_column,
        join=join or (),
        seed=seed,
        datasets=dataset or (),
        data_home=data_home,
        published_split=published_split,
        folds=folds,
        shares=shares,
    )
    card = loaded.card
    require_known_labels(_of_fold(tracks, fold), card)  # before hours of features
    # Of all folds: a copy that training left out of this one has its other half in another. Without a fold to test,
    # folds mean nothing.
    leaks = leaks or (Leaks.ALLOW if fold is None else Leaks.REFUSE)
    cache = cache or default_cache()
    tracks = _of_fold(without_leaks(tracks, cache=cache, workers=workers, leaks=leaks), fold)
    features = read_features(card.inputs, card.window, tracks, cache=cache, workers=workers)
    training = training_in(model.parent)
    names = [str(each) for each in (*(table or ()), *(folder or ()), *(dataset or ()))]
    tested_on = f"{', '.join(names)}, {'all of it' if fold is None else f'fold {fold}'}"
    record = evaluate_model(
        loaded,
        tracks,
        features.features,
        level_db=level_db,
        tested_on=tested_on,
        model=model,
        training=training,
    )
    _print_metrics(record)
    latency = None if report is None else measure_latency(model)  # only the page shows it
    found = find([record], paper=_paper(record), latency=latency)
    for line in closing_words(found):
        print(line)
    print(f"tested on {tested_on}")
    if fold is None:
        print("if the model has learned from some of these files, the figures flatter: give --fold for the others")
    print(f"the model was {card.provenance.protocol}")
    if report is not None:
        written = record.write(report / f"{file_name(card)}.json")
        print(f"report: {write_report(found, report)}\nrecord: {written}")


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="A record of `evaluate --report`, or a run's folder.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="What to compare it with: B - A is what is shown.")],
    *,
    published: Annotated[
        bool,
        typer.Option("--published", help="Judge files as the recipes' papers do.  [default: as live audio is judged]"),
    ] = False,
    common_only: Annotated[
        bool, typer.Option("--common-only", help="Leave out files that only one of the two has been tested on.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    seed: SeedOption = 0,
) -> None:
    """Say whether one network is really better than another on the same files, and by how much.

    Paired bootstrap over the files (10,000 resamples), and McNemar's exact test; with several seeds a sign test.
    """
    from train.compare import compare as compare_records
    from train.record import read_records

    found = compare_records(
        read_records(a),
        read_records(b),
        decision="published" if published else "live",
        common_only=common_only,
        seed=seed,
    )
    if as_json:
        print(json.dumps(found.as_json(), ensure_ascii=False))
    else:
        _print_comparison(found)


def _report_on_run(folder: Path, report: Path | None, head: str | None) -> None:
    from train.findings import find
    from train.machine import measure_latency
    from train.record import read_records
    from train.report import write_report
    from train.run_folder import MODEL_NAME, RECORDS_NAME

    if report is not None:
        require_writable_folder(report, option="--report")  # before hours of scoring
    first = read_records(folder)
    others = sorted(path.name for path in (folder / RECORDS_NAME).glob("*/"))
    if head in (None, first[0].card.head.name):
        records, kept = first, folder / RECORDS_NAME
    elif head in others:
        records, kept = read_records(folder / RECORDS_NAME / head), folder / RECORDS_NAME / head
    else:
        known = ", ".join([first[0].card.head.name, *others])
        raise ConfigError(f"expected --head to be one of those that {folder} has records of ({known}), got {head!r}")
    for record in records:
        print(f"{record.name}:")
        _print_metrics(record)
    if report is not None:
        # One network stands for the speed of all: they are of one recipe.
        model = next(iter(sorted(folder.rglob(MODEL_NAME))), None)
        latency = measure_latency(model) if model else None
        print(f"report: {write_report(find(records, paper=_paper(records[0]), latency=latency), report)}")
    else:
        print(f"--report DIR makes one page of the {len(records)} records in {kept}")


def _of_fold(tracks: Sequence[Track], fold: int | None) -> list[Track]:
    """Those of one fold; all if None."""
    from models.errors import DatasetError

    if fold is None:
        return list(tracks)
    folds = sorted({track.fold for track in tracks})
    if fold not in folds:
        raise DatasetError(f"expected a fold among {folds}, got {fold}")
    return [track for track in tracks if track.fold == fold]


def _paper(record: Record) -> Paper | None:
    from train.recipes import RECIPES

    recipe = RECIPES.get(record.card.architecture.name)
    return recipe.paper if recipe else None


def _print_metrics(record: Record) -> None:
    from train.statistics import metrics

    for key, value in metrics(record).items():
        print(f"{key:24} {value:g}")


def _print_comparison(found: Comparison) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "files", "A", "B", "B - A", "95 %", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    lines = (found.accuracy, found.macro_f1, *found.recall)
    for line in lines:
        interval = f"{100 * line.interval.low:+.1f} to {100 * line.interval.high:+.1f}" if line.interval else "none"
        figures = (f"{100 * line.a:.1f}", f"{100 * line.b:.1f}", f"{100 * line.difference:+.1f}", interval)
        table.add_row(line.name, str(line.files), *figures)
    console = Console(highlight=False, markup=False)
    console.print(f"A: {found.a}\nB: {found.b}\nFiles judged by the {found.judged}.\n")
    console.print(table)
    console.print(f"\n{found.discordance}")
    console.print("Classes: recall, each interval by itself.")
    if any(line.interval is None for line in lines):
        console.print("none: no interval, for whichever files are drawn, the difference is the same.")
    console.print()
    console.print(found.sentence)
    if found.caution:
        console.print(found.caution)
