"""The commands ``train`` and ``recipes``."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from models.errors import ConfigError
from train.leaks import Leaks
from train.options import (
    AUDIO,
    SPEED,
    CacheOption,
    DataHomeOption,
    DatasetsOption,
    FoldersOption,
    FoldsOption,
    GroupColumnOption,
    JoinOption,
    LabelColumnOption,
    LeaksOption,
    PublishedSplitOption,
    SeedOption,
    SharesOption,
    TablesOption,
    WorkersOption,
    default_cache,
)

HOW = "How to learn"
CARD = "The model's card"

_TEST_FOLD = 4
_NEEDED = ("torch", "lightning", "onnx", "onnxscript", "matplotlib", "jinja2", "mirdata", "sklearn")


def train(
    *,
    output: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="Folder of this run: model, report, checkpoints.")
    ],
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe", help="A paper's network and settings; `genrescope recipes` lists them.", rich_help_panel=HOW
        ),
    ] = "lidy-parallel",
    table: TablesOption = None,
    folder: FoldersOption = None,
    dataset: DatasetsOption = None,
    data_home: DataHomeOption = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch the data set if it is not there.", rich_help_panel=AUDIO)
    ] = False,
    published_split: PublishedSplitOption = True,
    folds: FoldsOption = 5,
    shares: SharesOption = None,
    leaks: LeaksOption = Leaks.REFUSE,
    label_column: LabelColumnOption = "genre",
    group_column: GroupColumnOption = None,
    join: JoinOption = None,
    test_fold: Annotated[
        int | None,
        typer.Option(
            "--test-fold",
            help="The fold to test on; never learned from; not with --all-folds.  [default: 4]",
            rich_help_panel=HOW,
        ),
    ] = None,
    calibration_fold: Annotated[
        int | None,
        typer.Option(
            "--calibration-fold",
            help="A fold to fit confidence on, by a first network trained without it; not with --all-folds.  "
            "[default: no calibration]",
            rich_help_panel=HOW,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs",
            min=1,
            help="Times it learns from every training file.  [default: the recipe's]",
            rich_help_panel=HOW,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Another setting of the recipe; a wrong KEY lists them all.",
            rich_help_panel=HOW,
        ),
    ] = None,
    seed: SeedOption = 0,
    lr: Annotated[
        str | None,
        typer.Option(
            "--lr",
            metavar="RATE|auto",
            help="Learning rate; `auto` finds one by a range test, with a picture of it.  [default: the recipe's]",
            rich_help_panel=HOW,
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    export_to: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="MODEL",
            help="The model file; with --all-folds one that has learned from all of them, and has their figures.  "
            "[default: DIR/model.onnx; with --all-folds none]",
        ),
    ] = None,
    all_folds: Annotated[
        bool,
        typer.Option(
            "--all-folds",
            help="Cross-validate: test on every fold in turn, and report on all of them; with --export also make a "
            "model of all.",
            rich_help_panel=HOW,
        ),
    ] = False,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, help="Only with --all-folds: from --seed on, so many.", rich_help_panel=HOW)
    ] = 1,
    accelerator: Annotated[
        str,
        typer.Option(
            "--accelerator",
            help="What to train on: auto (a GPU where there is one), cpu or gpu.",
            rich_help_panel=SPEED,
        ),
    ] = "auto",
    devices: Annotated[
        int, typer.Option("--devices", min=1, help="How many of them, each in a process.", rich_help_panel=SPEED)
    ] = 1,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Train through torch.compile.", rich_help_panel=SPEED)
    ] = False,
    name: Annotated[
        str | None, typer.Option("--name", help="The model's name.  [default: the output's]", rich_help_panel=CARD)
    ] = None,
    description: Annotated[
        str, typer.Option("--description", help="What the model is, for its card.", rich_help_panel=CARD)
    ] = "",
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="What it learns from, for its card.  [default: the names of tables, folders and data sets]",
            rich_help_panel=CARD,
            show_default=False,
        ),
    ] = "",
    licence: Annotated[
        str, typer.Option("--licence", help="What may be done with it, for its card.", rich_help_panel=CARD)
    ] = "not stated",
    head: Annotated[str, typer.Option("--head", help="What its answer is called.", rich_help_panel=CARD)] = "genre",
    also: Annotated[
        list[str] | None,
        typer.Option(
            "--also",
            metavar="NAME=COLUMN",
            help="Ask the same sound another question, which makes another head: a column of the tables, or several "
            "with the shares of raters for each label (mood=quadrant; emotion=calmness,power). Rows without an answer "
            "teach the others only. Repeat for more.",
            rich_help_panel=AUDIO,
        ),
    ] = None,
    auxiliary: Annotated[
        list[str] | None,
        typer.Option(
            "--auxiliary",
            metavar="NAME",
            help="A question of --also that only training asks, because it helps to learn the others: the "
            "model does not answer it; with --all-folds it is measured all the same. Repeat for more.",
            rich_help_panel=AUDIO,
        ),
    ] = None,
    given: Annotated[
        str | None,
        typer.Option(
            "--given",
            metavar="NAME=LABEL",
            help="All other questions are of sound that this one answers so (kind=music): live, nothing else counts "
            "for them, and they have no label while something else is heard.",
            rich_help_panel=AUDIO,
        ),
    ] = None,
    title: Annotated[
        list[str] | None,
        typer.Option(
            "--title",
            metavar="LABEL=WORDS",
            help="What people are shown of a label, where it is another word ('rnb=R&B'): the page does, JSON has the "
            "label. Repeat for more.",
            rich_help_panel=AUDIO,
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            "--teacher",
            metavar="FILE",
            help="Learn, beside the labels, what another model says of the tracks (recipe base): an .npz of path, "
            "start_s, embedding and tag_probability. Only training needs it.",
            rich_help_panel=AUDIO,
        ),
    ] = None,
    copies: Annotated[
        Path | None,
        typer.Option(
            "--copies",
            metavar="CSV",
            help="Learn from further versions of the tracks too, played faster or slower, say: a table with columns "
            "path and copy_of. They have the track's labels and its fold, and are never tested.",
            rich_help_panel=AUDIO,
        ),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--start-from",
            metavar="MODEL",
            help="Begin with the weights of a model of the same recipe, whatever its labels: less of your own music is "
            "needed. Give fewer epochs and a lower --lr too.",
            rich_help_panel=HOW,
        ),
    ] = None,
    cache: CacheOption = None,
    workers: WorkersOption = 2,
) -> None:
    """Train a model on your own music, and write it as one file that `genrescope live --model` runs.

    From folders named after their class:

        genrescope train --folder music --output runs/mine

    From tables with folds, calibrated:

        genrescope train --table DATA/tracks.csv --calibration-fold 3 --test-fold 4 --output runs/mine

    Stopped? Give the same command with --resume.
    """
    need_training_packages()
    from rich.console import Console

    from models.atomic_write import require_writable_file, require_writable_folder
    from train.closing import closing_words
    from train.cross_validation import cross_validate, make_model_of_all
    from train.findings import find
    from train.loop import Execution
    from train.machine import measure_latency
    from train.pipeline import all_metrics, make_model, open_run
    from train.plan import Plan
    from train.public_datasets import download as download_dataset
    from train.report import write_report
    from train.run_folder import MODEL_NAME

    if all_folds and test_fold is not None:
        raise ConfigError(f"--all-folds tests on every fold in turn: leave out --test-fold {test_fold}, or --all-folds")
    if all_folds and calibration_fold is not None:
        raise ConfigError("--all-folds calibrates each network by the other folds: leave out --calibration-fold")
    if seeds > 1 and not all_folds:
        raise ConfigError(f"--seeds {seeds} goes with --all-folds: add it, or give --seed alone to train one model")
    changed: dict[str, str | int | float] = dict(_setting(text) for text in settings or [])
    changed |= {} if epochs is None else {"epochs": epochs}
    changed |= _rate(lr)
    execution = Execution(accelerator=accelerator, devices=devices, compiled=compiled)
    require_writable_folder(output, option="--output")
    if export_to is not None:
        require_writable_file(export_to, option="--export")
    plan = Plan(
        recipe=recipe,
        settings=changed,
        tables=tuple(table or ()),
        folders=tuple(folder or ()),
        datasets=tuple(dataset or ()),
        data_home=data_home,
        published_split=published_split,
        folds=folds,
        shares=shares,
        leaks=leaks,
        label_column=label_column,
        group_column=group_column,
        join=tuple(join or ()),
        find_learning_rate=lr == "auto",
        all_folds=all_folds,
        test_fold=_TEST_FOLD if test_fold is None else test_fold,
        calibration_fold=calibration_fold,
        seed=seed,
        name=name or output.name,
        description=description,
        head=head,
        also=tuple(also or ()),
        auxiliary=tuple(auxiliary or ()),
        given=given,
        titles=tuple(title or ()),
        teacher=teacher,
        copies=copies,
        start=start,
        data=data,
        licence=licence,
    )
    console = Console(highlight=False)
    model = export_to or output / MODEL_NAME
    with _says_how_to_go_on(output):
        if download:
            for each in plan.datasets:
                download_dataset(each, data_home=data_home)
        run = open_run(
            plan, output, cache=cache or default_cache(), workers=workers, resume=resume, execution=execution
        )
        if all_folds:
            tested = cross_validate(run, seeds=seeds, resume=resume)
            records = tested.records[head]
            pages, timed = output / "report", output / records[0].name / MODEL_NAME  # one for all: they are alike
            shipped = "none to ship, for each network lacks a fold; --resume with --export MODEL makes one of all"
            if export_to is not None:
                make_model_of_all(run, tested, export_to, resume=resume)
                shipped = str(export_to)
        else:
            measured = make_model(run, model, resume=resume)
            records = (measured[head],)
            for key, value in all_metrics(measured).items():
                console.print(f"{key:24} {value:g}")
            pages, timed, shipped = output, model, str(model)
        found = find(records, paper=type(plan.make_recipe()).paper, latency=measure_latency(timed))
        page = write_report(found, pages)
    for line in (*closing_words(found), f"model:  {shipped}", f"report: {page}"):
        console.print(line, soft_wrap=True)


def recipes(
    *,
    json: Annotated[bool, typer.Option("--json", help="A JSON list instead of a table.")] = False,
) -> None:
    """List the networks that `train --recipe` knows: five papers, what each hears and how large it is.

    Settings, such as input_size=80x82, are given to `train` as `--set input_size=80x82`.
    """
    need_training_packages()
    from json import dumps

    from rich.console import Console
    from rich.table import Table

    from train.recipe_list import CLASSES, list_recipes

    entries = list_recipes()
    if json:
        print(dumps(entries, indent=2, ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("recipe", "settings", "input", "window", "parameters"):
        right = heading in ("window", "parameters")
        table.add_column(heading, justify="right" if right else "left", no_wrap=heading != "input")
    for entry in entries:
        settings = " ".join(f"{key}={value}" for key, value in entry["settings"].items())
        window, parameters = f"{entry['window_s']:.2f} s", f"{entry['parameters']:,}"
        shapes = zip(entry["input_shapes"], entry["features"], strict=True)
        inputs = " + ".join(f"{bands} x {frames} {kind}" for (bands, frames), kind in shapes)
        table.add_row(entry["name"], settings, inputs, window, parameters)
    console = Console(highlight=False)
    console.print(table)
    console.print(
        f"\nInputs are frequency x time; windows as the paper counts them; parameters at {CLASSES} classes. The papers:"
    )
    for paper in dict.fromkeys(entry["paper"] for entry in entries):
        names = ", ".join(dict.fromkeys(entry["name"] for entry in entries if entry["paper"] == paper))
        console.print(f"\n{names}:\n  {paper}", soft_wrap=True)


def need_training_packages() -> None:
    """Refuse to go on in a base install.

    Raises:
        ConfigError: with what is missing and how to get it.
    """
    missing = [package for package in _NEEDED if importlib.util.find_spec(package) is None]
    if missing:
        names = ", ".join(missing)
        raise ConfigError(
            f"this command needs {names}, not part of the base install: "
            'in its folder, .venv/bin/pip install -c constraints.txt -e ".[train]"'
        )


@contextmanager
def _says_how_to_go_on(output: Path) -> Iterator[None]:
    """What Ctrl-C leaves behind, in one sentence, wherever in the run it comes."""
    from train.plan import PLAN_NAME
    from train.progress import say

    try:
        yield
    except KeyboardInterrupt as stop:
        begun = (output / PLAN_NAME).exists()
        how = "with --resume goes on" if begun else "starts again, and finds the features that were done"
        say(f"{stop or 'stopped'}; the same command {how}")
        raise typer.Exit(130) from stop


def _rate(text: str | None) -> dict[str, float]:
    """The recipe's setting; none where the recipe's own is asked for, or a range test."""
    try:
        return {} if text in (None, "auto") else {"learning_rate": float(str(text))}
    except ValueError as error:
        raise ConfigError(f"expected --lr RATE, a number such as 0.01, or --lr auto, got {text!r}") from error


def _setting(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key.strip() and equals):
        raise ConfigError(f"expected --set KEY=VALUE, got {text!r}")
    return key.strip(), value.strip()
