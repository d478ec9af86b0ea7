"""Options that several commands have: which audio, how it is labelled and split, where its features are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from train.leaks import Leaks

AUDIO = "Audio, labels and folds"
SPEED = "Speed"

TablesOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--table",
        metavar="CSV",
        help="A table with the columns path (relative to the table), a label, and fold (or none: see --folds). "
        "Repeat to join several.",
        rich_help_panel=AUDIO,
    ),
]
FoldersOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--folder",
        metavar="DIR",
        help="Instead of a table: a folder with one sub-folder of audio files per class.",
        rich_help_panel=AUDIO,
    ),
]
LabelColumnOption = Annotated[
    str, typer.Option("--label-column", help="The table's column to learn.", rich_help_panel=AUDIO)
]
GroupColumnOption = Annotated[
    str | None,
    typer.Option(
        "--group-column",
        help="A column, such as artist, none of whose values may stand in two folds.",
        rich_help_panel=AUDIO,
    ),
]
DatasetsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--dataset",
        metavar="NAME",
        help="A public data set: gtzan, ballroom, fma-small, fma-medium, fma-large, or a name that mirdata knows.",
        rich_help_panel=AUDIO,
    ),
]
DataHomeOption = Annotated[
    Path | None,
    typer.Option(
        "--data-home",
        metavar="DIR",
        help="Where the data set is.  [default: ~/mir_datasets/NAME]",
        rich_help_panel=AUDIO,
    ),
]
PublishedSplitOption = Annotated[
    bool,
    typer.Option(
        "--published-split/--random-split",
        help="Of a data set that has one (gtzan: the fault-filtered artist split): training is fold 0, validation 3, "
        "test 4. Random: --folds or --shares.",
        rich_help_panel=AUDIO,
    ),
]
FoldsOption = Annotated[
    int,
    typer.Option(
        "--folds",
        min=2,
        help="Random folds where none are given, each class evenly, a group whole. Tested on one of 5 is 80/20; "
        "80/10/10 is --folds 10 --test-fold 9 --calibration-fold 8.",
        rich_help_panel=AUDIO,
    ),
]
SharesOption = Annotated[
    str | None,
    typer.Option(
        "--shares",
        metavar="PERCENT/...",
        help="Instead of folds: 75/15/10 makes training fold 0, validation fold 3, test fold 4; 80/20 folds 0 and 4.",
        rich_help_panel=AUDIO,
    ),
]
LeaksOption = Annotated[
    Leaks,
    typer.Option(
        "--leaks",
        help="An artist or a recording in two folds (the same file, or one that sounds the same): refuse to train, "
        "drop the shorter of each two files of it, or allow it and look for none.",
        rich_help_panel=AUDIO,
    ),
]
JoinOption = Annotated[
    list[str] | None,
    typer.Option(
        "--join", metavar="NEW=OLD,OLD", help="Treat several labels as one: pop_rock=pop,rock.", rich_help_panel=AUDIO
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Everything random follows from it.")]
CacheOption = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        metavar="DIR",
        help="Where features are kept.  [default: ~/.cache/genrescope/features]",
        rich_help_panel=SPEED,
    ),
]
WorkersOption = Annotated[
    int, typer.Option("--workers", min=0, help="Processes that decode audio; 0: this one.", rich_help_panel=SPEED)
]


def default_cache() -> Path:
    """Where features are kept if nothing else is said."""
    return Path.home() / ".cache" / "genrescope" / "features"
