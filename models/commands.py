"""The command ``models``, and the options that every command with a model shares."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.half_life import DEFAULT_HALF_LIFE_S
from models.scorer_kind import ScorerKind

if TYPE_CHECKING:
    from models.scorer import Scorer
    from models.spec import Head

ModelOption = Annotated[
    Path | None,
    typer.Option(
        "--model", metavar="PATH", help="A model file, as `genrescope train` makes it.  [default: the shipped one]"
    ),
]
ScorerOption = Annotated[
    ScorerKind,
    typer.Option("--scorer", help="What runs the network; auto measures what this machine has (`genrescope doctor`)."),
]
HopOption = Annotated[
    float | None,
    typer.Option("--hop", metavar="SECONDS", help="Time between two verdicts.  [default: the model's]"),
]
HalfLifeOption = Annotated[
    float | None,
    typer.Option(
        "--half-life",
        metavar="SECONDS",
        help="Memory of the running vote: shorter reacts sooner, longer flickers less.  "
        f"[default: {DEFAULT_HALF_LIFE_S:g}]",
    ),
]


def load(model: Path | None, scorer: ScorerKind, *, say: Callable[[str], None]) -> Scorer:
    """The model asked for, or the one that ships, behind the runtime asked for; ``say`` is told what ``auto`` took.

    Raises:
        ModelFileError, EngineError: as ``load_scorer``.
    """
    from models.scorer import DEFAULT_MODEL, load_scorer

    path = model or DEFAULT_MODEL
    if scorer is not ScorerKind.AUTO:
        return load_scorer(path, scorer)
    from models.choose import choose

    choice = choose(path)
    if choice.words:
        say(choice.words)
    return choice.scorer


def models(
    paths: Annotated[list[Path] | None, typer.Argument(metavar="[MODEL...]", help="Model files to look at.")] = None,
) -> None:
    """List the models that ship, or the cards of MODEL files and engines: labels, window, figures, licence."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from models.card_words import figures_in_words
    from models.engine_file import EngineFile
    from models.model_file import open_model
    from models.scorer import DEFAULT_MODEL, ENGINE_SUFFIX, PRETRAINED

    console = Console(highlight=False)
    for path in paths or sorted(PRETRAINED.glob("*.onnx")):
        engine = EngineFile.read(path) if path.suffix == ENGINE_SUFFIX else None
        card = engine.card if engine else open_model(path)[1]
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        rows = {
            "model": card.name + (" (default)" if path == DEFAULT_MODEL else ""),
            "file": str(path),
            **({"engine": engine.about.words} if engine else {}),
            "what": card.description,
            **{head.name: ", ".join(_with_title(label, head) for label in head.labels) for head in card.heads},
            "window": f"{card.window_seconds:.2f} s, a verdict every "
            f"{card.hop_seconds:.2f} s"
            + ("; shorter audio is repeated to fill it" if card.window.short == "tile" else ""),
            "input": card.hears,
            "trained on": card.provenance.data,
            "measured": "\n".join(f"{name}: {words}" for name, words in figures_in_words(card).items()) or "no figures",
            "protocol": card.provenance.protocol,
            "licence": card.provenance.licence,
        }
        for name, value in rows.items():
            table.add_row(name, Text(value))  # as text: brackets in a foreign file are no markup
        console.print(table)
        console.print()


def _with_title(label: str, head: Head) -> str:
    return f"{label} ({head.titles[label]})" if label in head.titles else label
