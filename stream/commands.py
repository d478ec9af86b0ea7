"""The commands ``classify`` and ``devices``. Heavy imports wait until a command runs, so that ``--help`` is instant."""

from __future__ import annotations

import json
import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from models.commands import HalfLifeOption, HopOption, ModelOption, ScorerOption, load
from models.scorer_kind import ScorerKind

if TYPE_CHECKING:
    from models.spec import ModelCard
    from stream.classify import Classification


def classify(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Audio files of any format FFmpeg reads.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per file and line.")] = False,
    model: ModelOption = None,
    scorer: ScorerOption = ScorerKind.AUTO,
    hop: HopOption = None,
    half_life: HalfLifeOption = None,
) -> None:
    """Say what each FILE is, and when within it.

    The files go through the same path as live audio, as fast as they can be scored. A file that cannot be read is
    reported in its own line, the others go on, and the exit status is 1.

    Example: genrescope classify --json ~/Music/*.mp3 | jq -r '[.file, .label] | @tsv'
    """
    from rich.console import Console
    from rich.progress import track

    from models.errors import AudioError
    from models.half_life import DEFAULT_HALF_LIFE_S, checked_half_life
    from stream.classify import classify as classify_file
    from stream.engine import checked_hop

    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    loaded = load(model, scorer, say=lambda words: errors.print(words, markup=False))
    half_life_s = checked_half_life(DEFAULT_HALF_LIFE_S if half_life is None else half_life)
    if hop is not None:
        checked_hop(hop, loaded.card)
    done: list[Classification] = []
    failed = 0
    # A bar only where a person waits; on a pipe it would be noise.
    wait = errors.is_terminal and len(files) > 1
    for path in track(files, "Listening", console=errors, transient=True, disable=not wait):
        try:
            result = classify_file(path, loaded, hop_s=hop, half_life_s=half_life_s)
        except AudioError as error:
            failed += 1
            if as_json:
                _print_json(sys.stdout, {"file": str(path), "error": str(error)})
            else:
                errors.print(f"genrescope: {error}", markup=False)
            continue
        if as_json:
            _print_json(sys.stdout, result.to_json())
        else:
            done.append(result)
    if done:
        _print_table(done, loaded.card)
    if failed:
        raise typer.Exit(1)


def devices() -> None:
    """List the microphones and line inputs of this machine, by the names that ``live mic:NAME`` takes."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from stream.microphone import list_devices

    found = list_devices()
    if not found:
        print("No audio input was found. Files, radio addresses, standard input and `demo` work without one.")
        return
    table = Table("Name", "Rate (Hz)", "Channels", "Through", box=None, pad_edge=False)
    for device in found:
        name = f"{device.name} (default)" if device.is_default else device.name
        table.add_row(Text(name), f"{device.sample_rate_hz:g}", str(device.channels), device.host_api)
    Console(highlight=False).print(table)
    print(f"\nListen to one with: genrescope live 'mic:{found[0].name}'")


def _print_json(file: TextIO, value: object) -> None:
    file.write(json.dumps(value, ensure_ascii=False) + "\n")
    file.flush()


def _unnamed(result: Classification, card: ModelCard) -> str:
    """Why a file has no label: it is something else, there is nothing to hear in it, or nowhere a whole window without
    a gap."""
    from stream.events import VerdictState

    first = result.heads[0]
    if first.instead is not None:
        return f"{card.shown(first.instead)}, no {first.name}"
    if any(head.probabilities is not None for head in result.heads):
        return f"nothing clear enough to have a {first.name}"
    silent = any(segment.state is VerdictState.SILENCE for segment in result.segments)
    return "silence" if silent else "no unbroken window"


def _print_table(results: list[Classification], card: ModelCard) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("File", "Seconds", "Label", "Confidence", "Over time", box=None, pad_edge=False)
    for result in results:
        # A label goes on where the window has become whole.
        runs = [(label, list(run)) for label, run in groupby(result.segments, lambda each: each.label or each.instead)]
        named = [f"{card.shown(label)} {run[0].start:.0f}-{run[-1].end:.0f} s" for label, run in runs if label]
        course = ", ".join(named[:4])
        table.add_row(
            Text(result.file, overflow="fold"),
            f"{result.seconds:.1f}",
            _unnamed(result, card) if result.label is None else card.shown(result.label),
            "" if result.confidence is None else f"{result.confidence:.0%}",
            course + (", …" if len(named) > 4 else "") if named else "" if result.label is None else "never sure",
        )
    # What a program reads is not folded.
    Console(highlight=False, width=None if sys.stdout.isatty() else 1_000).print(table)
