"""The front door: one command line over all packages. Nothing heavy is imported until a command runs."""

from __future__ import annotations

import sys
from importlib import metadata
from typing import Annotated

import typer

import dashboard.commands
import genrescope_bench
import genrescope_doctor
import models.commands
import stream.commands
import train.commands
import train.export_command
import train.measure_commands
from models.errors import GenrescopeError

app = typer.Typer(
    name="genrescope",
    help="Names the genre of live audio, as it plays.\n\n"
    "Start with: genrescope live (a microphone, a file, a radio address, or `demo`), and open the page it names.",
    no_args_is_help=True,
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
LISTEN, MAKE, MEASURE = "Listen", "Make models", "Measure"


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        print(f"genrescope {metadata.version('genrescope')}")
        raise typer.Exit


app.command(rich_help_panel=LISTEN)(dashboard.commands.live)
app.command(rich_help_panel=LISTEN)(stream.commands.classify)
app.command(rich_help_panel=LISTEN)(stream.commands.devices)
app.command(rich_help_panel=LISTEN)(models.commands.models)
app.command(rich_help_panel=LISTEN)(genrescope_doctor.doctor)
app.command(rich_help_panel=MAKE)(train.commands.recipes)
app.command(rich_help_panel=MAKE)(train.commands.train)
app.command(rich_help_panel=MAKE)(train.measure_commands.evaluate)
app.command(rich_help_panel=MAKE)(train.measure_commands.compare)
app.command(rich_help_panel=MAKE)(train.export_command.export)
app.add_typer(genrescope_bench.app, name="bench", rich_help_panel=MEASURE)


def main() -> None:
    """Run the command line: exit status 0 done, 1 some inputs failed, 2 wrong use or a clear error."""
    try:
        app()
    except GenrescopeError as error:
        print(f"genrescope: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
