"""The command group ``bench``. It puts the tables of ``train`` and the engine of ``stream`` together, and so stands
above both, beside the front door."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.commands import HalfLifeOption, ModelOption, ScorerOption
from models.errors import ConfigError
from models.scorer_kind import ScorerKind
from train.options import JoinOption, LabelColumnOption, SeedOption, TablesOption

if TYPE_CHECKING:
    from models.spec import ModelCard
    from stream.decision_bench import Setting
    from stream.decision_measures import Counts
    from stream.programme import Clip
    from train.track import Track

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")


@app.callback()
def _bench() -> None:
    """Measure what genrescope does on this machine and on your audio."""


@app.command()
def decisions(
    *,
    table: TablesOption = None,
    fold: Annotated[
        int | None,
        typer.Option("--fold", help="Only clips of this fold. Clips that the model learned from flatter it."),
    ] = None,
    label_column: LabelColumnOption = "genre",
    join: JoinOption = None,
    speech: Annotated[
        Path | None, typer.Option("--speech", metavar="DIR", help="Recordings of voices that talk over the music.")
    ] = None,
    programmes: Annotated[int, typer.Option("--programmes", min=1, help="How many.")] = 6,
    minutes: Annotated[float, typer.Option("--minutes", min=0.5, help="Length of each.")] = 10.0,
    seed: SeedOption = 0,
    model: ModelOption = None,
    scorer: ScorerOption = ScorerKind.AUTO,
    half_life: HalfLifeOption = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="DIR", help="Write all figures (JSON) and the curves (PNG).")
    ] = None,
) -> None:
    """How soon the label is right after a change of music, how steady it is, how often right.

    Makes radio programmes of labelled clips: cuts, crossfades, jingles, silences, talk-over, jumps of level, codecs.
    The engine hears them, and the running vote is compared with no smoothing, a plain exponential vote and a majority
    of the last windows, on the same windows.

        genrescope bench decisions --table DATA/tracks.csv --fold 4 --speech DATA/speech --report out
    """
    from rich.console import Console
    from rich.table import Table

    from models.atomic_write import require_writable_folder
    from models.half_life import DEFAULT_HALF_LIFE_S, checked_half_life
    from models.scorer import DEFAULT_MODEL, load_scorer
    from stream.decision_bench import compare_rules, hear
    from stream.programme import Composer
    from train.progress import track_progress
    from train.tables import read_table
    from train.track import join_labels, parse_joins
    from train.wording import counted

    half_life_s = checked_half_life(DEFAULT_HALF_LIFE_S if half_life is None else half_life)
    if report is not None:
        _need_matplotlib()
        require_writable_folder(report, option="--report")
    loaded = load_scorer(model or DEFAULT_MODEL, scorer)
    card = loaded.card
    if not table:
        raise ConfigError("expected clips to make programmes of: give --table tracks.csv")
    tracks = [track for each in table for track in read_table(each, label_column=label_column)]
    tracks = join_labels(tracks, parse_joins(join or ()))
    clips = _clips(tracks, fold, card)
    composer = Composer(clips, speech=_recordings(speech), sample_rate_hz=card.clock.sample_rate_hz, seed=seed)
    heard = [
        hear(composer.compose(number, minutes=minutes), loaded, half_life_s=half_life_s)
        for number in track_progress(range(programmes), total=programmes, title="Listening to programmes")
    ]
    results = compare_rules(heard, card, half_life_s=half_life_s)
    chosen = _chosen(results, half_life_s)
    figures = {name: counts.figures() for name, (_, counts) in chosen.items()}
    shown = Table(box=None, pad_edge=False)
    shown.add_column(no_wrap=True)
    for name in chosen:
        shown.add_column(name.replace(", ", ",\n"), justify="right")
    shown.add_row("setting", *(_setting(setting) for setting, _ in chosen.values()))
    for key, (title, unit) in _ROWS.items():
        shown.add_row(title, *(_cell(each[key], unit) for each in figures.values()))
    everything = results[0][1]
    console = Console(highlight=False)
    console.print(
        f"{counted(programmes, 'programme')} of {counted(len(clips), 'clip')}: {everything.minutes:.0f} minutes, "
        f"{counted(len(everything.delays), 'change')} of label. Model {card.name}, seed {seed}.\n"
    )
    console.print(shown)
    console.print(
        "\nShares are of the time in which there is something to name; unsure is not right. The plain vote is shown at "
        "the setting that switches falsely about as often as the running vote that is never unsure."
    )
    if report is not None:
        _write_report(report, results, chosen)
        console.print(f"\nfigures: {report / _JSON_NAME}\ncurves:  {report / _PICTURE_NAME}")


_JSON_NAME, _PICTURE_NAME = "decisions.json", "decisions.png"
_ROWS = {
    "delay_median_s": ("right label after (median)", "s"),
    "delay_p90_s": ("  90 % within", "s"),
    "held_delay_median_s": ("  staying for 3 s", "s"),
    "never_share": ("  not within 15 s", "%"),
    "false_switches_per_minute": ("false switches a minute", ""),
    "accuracy": ("right", "%"),
    "accuracy_settled": ("  after the first 3 s", "%"),
    "decided_accuracy": ("  while it names one", "%"),
    "abstention": ("unsure", "%"),
    "change_f1": ("changes found (F1)", ""),
}


def _cell(value: float, unit: str) -> str:
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "never"
    return {"s": f"{value:.1f} s", "%": f"{value:.1%}", "": f"{value:.2f}"}[unit]


def _setting(setting: Setting) -> str:
    from stream.decision_bench import MAJORITY, UNSMOOTHED

    units = {UNSMOOTHED: "", MAJORITY: f"last {setting.value:g}"}
    return units.get(setting.rule, f"{setting.value:g} s")


def _chosen(results: list[tuple[Setting, Counts]], half_life_s: float) -> dict[str, tuple[Setting, Counts]]:
    """Our vote at its setting, with and without abstaining; the plain one where it is as steady as the latter."""
    from stream.decision_bench import MAJORITY, NEVER_UNSURE, OURS, PLAIN, UNSMOOTHED

    def at(rule: str, value: float) -> tuple[Setting, Counts]:
        return next(each for each in results if (each[0].rule, each[0].value) == (rule, value))

    ours, always = at(OURS, half_life_s), at(NEVER_UNSURE, half_life_s)
    steadiness = always[1].figures()["false_switches_per_minute"]
    plain = [each for each in results if each[0].rule == PLAIN]
    return {
        OURS: ours,
        NEVER_UNSURE: always,
        PLAIN: min(plain, key=lambda each: abs(each[1].figures()["false_switches_per_minute"] - steadiness)),
        MAJORITY: at(MAJORITY, 10),
        UNSMOOTHED: at(UNSMOOTHED, 0),
    }


def _clips(tracks: list[Track], fold: int | None, card: ModelCard) -> list[Clip]:
    from stream.programme import Clip
    from train.track import NO_FOLD

    chosen = [track for track in tracks if fold is None or track.fold == fold]
    if not chosen:
        folds = sorted({track.fold for track in tracks} - {NO_FOLD})
        raise ConfigError(
            f"expected clips in fold {fold}; {f'there are folds {folds}' if folds else 'no table has any'}"
        )
    foreign = sorted({track.label for track in chosen} - set(card.head.labels))
    if foreign:
        raise ConfigError(
            f"expected labels of the model {card.name!r} ({', '.join(card.head.labels)}), the clips have "
            f"{', '.join(foreign)}: choose --label-column, or join labels with --join"
        )
    return [Clip(track.path, track.label) for track in chosen]


def _recordings(folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    found = sorted(path for path in folder.rglob("[!.]*") if path.is_file()) if folder.is_dir() else []
    if not found:
        raise ConfigError(f"--speech: expected a folder with recordings, {folder} has none")
    return found


def _need_matplotlib() -> None:
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise ConfigError(
            "--report draws curves with matplotlib, not part of the base install: in its folder, "
            '.venv/bin/pip install -c constraints.txt -e ".[train]"'
        )


def _sayable(figures: dict[str, float]) -> dict[str, float | None]:
    """JSON has no word for never."""
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}


def _write_report(
    folder: Path, results: list[tuple[Setting, Counts]], chosen: dict[str, tuple[Setting, Counts]]
) -> None:
    from models.atomic_write import replacing
    from train.figures import LIGHT, draw_decisions

    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = [
        {"rule": setting.rule, "value": setting.value, **_sayable(counts.figures())} for setting, counts in results
    ]
    with replacing(folder / _JSON_NAME) as temporary:
        temporary.write_text(json.dumps({"command": sys.argv, "rules": rows}, indent=1) + "\n", encoding="utf-8")

    def point(figures: dict[str, float]) -> tuple[float, float, float]:
        return figures["false_switches_per_minute"], figures["delay_median_s"], figures["accuracy"]

    curves: dict[str, list[tuple[float, float, float]]] = {}
    for setting, counts in results:
        curves.setdefault(setting.rule, []).append(point(counts.figures()))
    marked = {name: point(counts.figures()) for name, (_, counts) in chosen.items()}
    picture = draw_decisions(curves, marked, palette=LIGHT, format="png")
    with replacing(folder / _PICTURE_NAME) as temporary:
        temporary.write_bytes(picture)
