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
    from models.scorer_bench import ModelBench
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
    pieces: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--pieces",
            metavar="SHORTEST LONGEST",
            help="Seconds that pieces are on; a clip shorter than the shortest is repeated.  [default: 18 40]",
        ),
    ] = None,
    seed: SeedOption = 0,
    model: ModelOption = None,
    scorer: ScorerOption = ScorerKind.ONNX,
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
    from stream.programme import PIECES_S, Composer
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
    shortest, longest = pieces or PIECES_S
    composer = Composer(
        clips,
        speech=_recordings(speech),
        sample_rate_hz=card.clock.sample_rate_hz,
        seed=seed,
        pieces_s=(shortest, longest),
    )
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
        f"{counted(programmes, 'programme')} of {counted(len(clips), 'clip')}, {shortest:g} to {longest:g} s each: "
        f"{everything.minutes:.0f} minutes, {counted(len(everything.delays), 'change')} of label. "
        f"Model {card.name}, seed {seed}.\n"
    )
    console.print(shown)
    console.print(
        "\nShares are of the time in which there is something to name; unsure is not right. The plain vote is shown at "
        "the setting that switches falsely about as often as the running vote that is never unsure. Who is told when "
        "pieces begin takes the mean of all windows since, which no listener can: about what a perfect detector of "
        "changes would make of these windows; at the threshold nearest to the running vote in false switches."
    )
    if report is not None:
        _write_report(report, results, chosen)
        console.print(f"\nfigures: {report / _JSON_NAME}\ncurves:  {report / _PICTURE_NAME}")


@app.command()
def scorers(
    *,
    model: Annotated[
        list[Path] | None,
        typer.Option("--model", metavar="PATH", help="A model file; repeat for more.  [default: all that ship]"),
    ] = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(
            "--batch", min=1, help="Windows at once; repeat for more.  [default: 1, 8, 64, 256, 1024 and 4096]"
        ),
    ] = None,
    scorer: Annotated[
        list[ScorerKind] | None,
        typer.Option(
            "--scorer", help="Only this one, beside ONNX Runtime; repeat for more.  [default: all that are usable]"
        ),
    ] = None,
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds", min=0.01, help="For each scorer and number of windows; what takes longer is left out."
        ),
    ] = 3.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="DIR", help="Write all figures (JSON) and a picture (PNG).")
    ] = None,
) -> None:
    """How fast each runtime runs the network on this machine: one window, and many at once.

    All in one run and by turns, on the same windows; beside ONNX Runtime, and beside the least that one thread must
    take for the network's arithmetic and bytes. Leave the machine alone meanwhile.

        genrescope bench scorers --seconds 10 --report out
    """
    from models.atomic_write import require_writable_folder
    from models.machine import energy_counters
    from models.scorer import PRETRAINED
    from models.scorer_bench import BATCHES, open_bench, run
    from train.progress import track_progress

    if ScorerKind.AUTO in (scorer or ()):
        raise ConfigError("--scorer auto is none of its own: name those to measure, or leave it out for all")
    if report is not None:
        _need_matplotlib()
        require_writable_folder(report, option="--report")
    facts = _facts()
    batches = sorted(set(batch or BATCHES))
    benches = [open_bench(path, scorer or ()) for path in model or sorted(PRETRAINED.glob("*.onnx"))]
    with energy_counters() as joules:
        steps = (step for bench in benches for step in run(bench, batches, seconds=seconds, joules=joules))
        for _ in track_progress(steps, total=len(benches) * len(batches), title="Scoring by turns"):
            pass
    figures = {**facts, "seconds": seconds, "models": [_bench_figures(bench) for bench in benches]}
    if as_json:
        print(json.dumps(figures, ensure_ascii=False))
    else:
        _print_scorers(facts, benches)
    if report is not None:
        _write_scorers(report, figures, benches)
        if not as_json:
            print(f"\nfigures: {report / _SCORERS_JSON}\npicture: {report / _SCORERS_PICTURE}")


_SCORERS_JSON, _SCORERS_PICTURE = "scorers.json", "scorers.png"


def _facts() -> dict[str, Any]:
    """Where and by which command it is measured, and whether the machine was left alone before."""
    import os
    import platform

    from models.machine import nvidia_gpus, processor

    return {
        "machine": ", ".join([processor(), f"{os.cpu_count()} cores", *nvidia_gpus()]),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "command": f"genrescope {' '.join(sys.argv[1:])}",
    }


def _bench_figures(bench: ModelBench) -> dict[str, Any]:
    """All of one model, for JSON."""
    from dataclasses import asdict

    return {
        "model": bench.card.name,
        "file": bench.path.name,
        "input_shapes": bench.card.input_shapes,
        "cost": asdict(bench.cost) if bench.cost else None,
        "ceilings": asdict(bench.ceilings) if bench.ceilings else None,
        "uncounted": bench.uncounted,
        "scorers": [
            {"scorer": kind, "name": scorer.name, "difference": bench.measured[kind].difference}
            for kind, scorer in bench.scorers.items()
        ],
        "unusable": bench.unusable,
        "timings": [
            {
                **asdict(timing),
                "windows_per_s": timing.windows_per_s,
                "floor_s": bench.floor_s(timing),
            }
            for timing in bench.timings
        ],
        "skipped": [asdict(each) for each in bench.skipped],
    }


def _print_scorers(facts: dict[str, Any], benches: list[ModelBench]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"{facts['machine']}, {facts['system']}")
    if facts["load_before"] is not None:
        console.print(f"load average before: {facts['load_before']:.2f}")
    console.print(facts["command"])
    for bench in benches:
        console.print(f"\n{bench.card.name}: {bench.card.hears}")
        counters = sorted({name for timing in bench.timings for name in timing.joules})
        table = Table(box=None, pad_edge=False)
        for heading in ("windows", "scorer", "p50 ms", "p99 ms", "windows/s", "x onnx", "x floor"):
            table.add_column(heading, justify="left" if heading == "scorer" else "right")
        for name in counters:
            table.add_column(f"mJ ({name})", justify="right")
        for timing in bench.timings:
            floor_s = bench.floor_s(timing)
            table.add_row(
                str(timing.batch),
                timing.kind,
                f"{1000 * timing.p50_s:.2f}",
                f"{1000 * timing.p99_s:.2f}",
                f"{timing.windows_per_s:,.0f}",
                "-" if timing.ratio is None else f"{timing.ratio:.2f}",
                "-" if floor_s is None else f"{timing.p50_s / floor_s:.2f}",
                *(f"{1000 * timing.joules[name]:.2f}" if name in timing.joules else "-" for name in counters),
            )
        console.print(table)
        for line in _beside(bench):
            console.print(line)


def _beside(bench: ModelBench) -> list[str]:
    """What is said under the figures of a model: who is who and how alike they answer, the floor, what is missing."""
    lines = [
        f"{kind}: {scorer.name}"
        + (f", differs by {bench.measured[kind].difference:.1e}" if kind is not ScorerKind.ONNX else "")
        for kind, scorer in bench.scorers.items()
    ]
    if bench.cost and bench.ceilings:
        moved = bench.cost.weight_bytes + bench.cost.activation_bytes
        lines.append(
            f"floor: {bench.cost.flops / 1e6:.1f} MFLOP and {moved / 1e6:.1f} MB for one window, at "
            f"{bench.ceilings.flops / 1e9:.0f} GFLOP/s and {bench.ceilings.bytes / 1e9:.0f} GB/s as one thread was "
            f"measured here: {1000 * bench.ceilings.floor_s(bench.cost, 1):.2f} ms"
        )
    else:
        lines.append(f"no floor: {bench.uncounted}")
    if not any(timing.joules for timing in bench.timings):
        lines.append("no energy: there is no counter of it that may be read here")
    lines += [f"{each.batch} windows not with {', '.join(each.kinds)}: {each.reason}" for each in bench.skipped]
    if bench.unusable:
        lines.append(f"cannot be used here: {', '.join(bench.unusable)} (`genrescope doctor` says why)")
    return lines


def _write_scorers(folder: Path, figures: dict[str, Any], benches: list[ModelBench]) -> None:
    from models.atomic_write import replacing
    from train.figures import LIGHT, draw_scorers

    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / _SCORERS_JSON) as temporary:
        temporary.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def curves(bench: ModelBench) -> dict[str, list[tuple[int, float]]]:
        found: dict[str, list[tuple[int, float]]] = {}
        for timing in bench.timings:
            found.setdefault(bench.scorers[timing.kind].name, []).append((timing.batch, timing.windows_per_s))
        return found

    def floor(bench: ModelBench) -> list[tuple[int, float]]:
        floors = {timing.batch: bench.floor_s(timing) for timing in bench.timings}
        return [(batch, batch / floor_s) for batch, floor_s in floors.items() if floor_s is not None]

    panels = {bench.card.name: (curves(bench), floor(bench)) for bench in benches}
    picture = draw_scorers(panels, palette=LIGHT, format="png")
    with replacing(folder / _SCORERS_PICTURE) as temporary:
        temporary.write_bytes(picture)


_JSON_NAME, _PICTURE_NAME = "decisions.json", "decisions.png"
_ROWS = {
    "delay_median_s": ("right label after (median)", "s"),
    "delay_p90_s": ("  90 % within", "s"),
    "held_delay_median_s": ("  staying for 3 s", "s"),
    "never_share": ("  not within 15 s", "%"),
    "false_switches_per_minute": ("false switches a minute", ""),
    "further_switches_per_minute": ("further switches a minute", ""),
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
    from stream.decision_bench import MAJORITY, TOLD, UNSMOOTHED

    units = {UNSMOOTHED: "", MAJORITY: f"last {setting.value:g}", TOLD: f"from {setting.value:.2f}"}
    return units.get(setting.rule, f"{setting.value:g} s")


def _chosen(results: list[tuple[Setting, Counts]], half_life_s: float) -> dict[str, tuple[Setting, Counts]]:
    """Our vote at its setting, with and without abstaining; who is told when pieces begin where that comes nearest to
    the first in steadiness, the plain vote where it comes nearest to the other."""
    from stream.decision_bench import MAJORITY, NEVER_UNSURE, OURS, PLAIN, TOLD, UNSMOOTHED

    def at(rule: str, value: float) -> tuple[Setting, Counts]:
        return next(each for each in results if (each[0].rule, each[0].value) == (rule, value))

    def as_steady(rule: str, as_what: tuple[Setting, Counts]) -> tuple[Setting, Counts]:
        def steadiness(each: tuple[Setting, Counts]) -> float:
            return each[1].figures()["false_switches_per_minute"]

        along = [each for each in results if each[0].rule == rule]
        return min(along, key=lambda each: abs(steadiness(each) - steadiness(as_what)))

    ours, always = at(OURS, half_life_s), at(NEVER_UNSURE, half_life_s)
    return {
        OURS: ours,
        NEVER_UNSURE: always,
        PLAIN: as_steady(PLAIN, always),
        MAJORITY: at(MAJORITY, 10),
        UNSMOOTHED: at(UNSMOOTHED, 0),
        TOLD: as_steady(TOLD, ours),
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
    from stream.decision_bench import TOLD
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
    picture = draw_decisions(curves, marked, reference=TOLD, palette=LIGHT, format="png")
    with replacing(folder / _PICTURE_NAME) as temporary:
        temporary.write_bytes(picture)
