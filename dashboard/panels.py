"""What the page says, as pure functions: no Streamlit, no clock, no state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from models.novelty import FASTEST
from models.spec import ModelCard
from models.vote import change_s
from stream.events import SourceChoice, VerdictState
from stream.windows import GATE_S, first_look_s

HALF_LIVES_S = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0)
"""The steps of the half-life control, in seconds."""
BREAK_S = 3.0
"""Verdicts further apart than this, in seconds, do not join into one run."""

_NICE_HZ = (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)
_STATE_NAMES = {
    VerdictState.SILENCE: "silence",
    VerdictState.UNSURE: "not sure",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """One remembered verdict: Unix ``time``, state, label and confidence; ``instead`` of a label, what it is."""

    time: float
    state: VerdictState
    label: str | None
    confidence: float | None
    instead: str | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on the frequency axis; ``position`` 0 is the centre of the lowest band, 1 that of the highest."""

    position: float
    text: str


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of time with one state and label, or with one thing ``instead`` of a label; times in Unix seconds,
    ``confidence`` the mean of its moments."""

    start: float
    end: float
    state: VerdictState
    label: str | None
    confidence: float | None
    instead: str | None = None


def frequency_ticks(centres_hz: Sequence[float]) -> list[Tick]:
    """Round frequencies within the bands' centres, as far apart on the axis as the bands place them."""
    if len(centres_hz) < 2:
        return []
    return [
        Tick(
            position=float(np.interp(hz, centres_hz, np.linspace(0.0, 1.0, len(centres_hz)))),
            text=f"{hz // 1000} kHz" if hz >= 1000 else f"{hz} Hz",
        )
        for hz in _NICE_HZ
        if centres_hz[0] <= hz <= centres_hz[-1]
    ]


def delay_sentence(*, half_life_s: float, enter: float, window_s: float, hop_s: float, hears_changes: bool) -> str:
    """What the half-life costs, for a person who is about to change it; less if the model can hear new sound."""
    if enter >= 1.0:
        return "This model never decides: its threshold is 100 %."
    new, alike = (seconds(change_s(half_life_s, hop_s=hop_s, pace=pace, enter=enter)) for pace in (FASTEST, 1.0))
    within = f"within {alike}"
    if hears_changes:
        within = f"within {new} where it sounds quite different from before, and {within} where it sounds much the same"
    return (
        f"After a change of music of which the model is sure, the label follows {within}, on top of the "
        f"{seconds(window_s)} window that has to fill."
    )


def half_life_steps(current_s: float) -> list[float]:
    """The control's steps, with the present value among them."""
    return sorted({*HALF_LIVES_S, current_s})


def source_names(choices: Sequence[SourceChoice], current: str) -> dict[str, str]:
    """What to show for each address that may be chosen, the present one included; no two names are the same."""
    names = {choice.address: choice.name for choice in choices}
    names = names if current in names else {current: current, **names}
    shared = {name for name, uses in Counter(names.values()).items() if uses > 1}
    told = {address: f"{name} ({_place(address)})" if name in shared else name for address, name in names.items()}
    uses: Counter[str] = Counter()
    for address, name in told.items():
        uses[name] += 1
        told[address] = name if uses[name] == 1 else f"{name} #{uses[name]}"
    return told


def _place(address: str) -> str:
    """Where a source is: the host of a station, the folder of a file."""
    return urlsplit(address).hostname or Path(address).resolve().parent.name


@dataclass(frozen=True, slots=True)
class Wish:
    """A setting that this viewer asked for at Unix time ``at`` and that the engine may not have confirmed yet."""

    value: object
    at: float


def settled(applied: object, wish: Wish | None, *, now: float, patience_s: float = 3.0) -> object:
    """The value a control should show: the wish while it is fresh, else what the engine has applied."""
    if wish is not None and wish.value != applied and now - wish.at < patience_s:
        return wish.value
    return applied


def runs(moments: Iterable[Moment]) -> list[Run]:
    """Moments in the order of time, joined where state and label stay the same and nothing is missing between."""
    found: list[list[Moment]] = []
    for moment in moments:
        last = found[-1][-1] if found else None
        if (
            last is not None
            and (last.state, last.label, last.instead) == (moment.state, moment.label, moment.instead)
            and moment.time - last.time <= BREAK_S
        ):
            found[-1].append(moment)
        else:
            found.append([moment])
    ends = [
        after[0].time if after[0].time - run[-1].time <= BREAK_S else run[-1].time for run, after in pairwise(found)
    ]
    ends += [found[-1][-1].time] if found else []
    return [
        Run(run[0].time, end, run[0].state, run[0].label, _mean_confidence(run), run[0].instead)
        for run, end in zip(found, ends, strict=True)
    ]


def _mean_confidence(moments: Sequence[Moment]) -> float | None:
    known = [moment.confidence for moment in moments if moment.confidence is not None]
    return sum(known) / len(known) if known else None


def history_rows(moments: Iterable[Moment], card: ModelCard, *, limit: int, now: float) -> list[dict[str, str]]:
    """The last ``limit`` runs as rows of a table, newest first; a file heard faster than it plays ends after ``now``.

    Left out is what says nothing (warming up without a label) or passed within a second.
    """
    found = runs(moments)
    now = max(now, found[-1].end) if found else now
    told = [
        run
        for run in found
        if (run.state is not VerdictState.WARMING_UP or run.label)
        and (run.end - run.start >= 1.0 or now - run.end < BREAK_S)
    ]
    return [
        {
            "Heard": _heard(run, card),
            "From": datetime.fromtimestamp(run.start).strftime("%H:%M:%S"),
            "For": "now" if now - run.end < BREAK_S and position == 0 else seconds(run.end - run.start),
            "Confidence": percent(run.confidence) if run.label and run.confidence is not None else "",
        }
        for position, run in enumerate(reversed(told[-limit:]))
    ]


def _heard(run: Run, card: ModelCard) -> str:
    """What one row says was heard."""
    if run.instead is not None:
        return f"{card.shown(run.instead)}, no {card.head.name}"
    if run.label is None:
        return _STATE_NAMES.get(run.state, "")
    warming_up = run.state is VerdictState.WARMING_UP
    return card.shown(run.label) + (" (warming up)" if warming_up else "")


def table(rows: Iterable[Iterable[str]], *, head: Iterable[str] = ()) -> str:
    """An HTML table; whatever its cells say is shown letter by letter.

    Streamlit's own table would take it for Markdown, and a model's description could make the page fetch an image.
    """

    def line(tag: str, cells: Iterable[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return f'<table class="rows">{line("th", head)}{"".join(line("td", row) for row in rows)}</table>'


def percent(probability: float) -> str:
    """A probability for people: ``82 %``."""
    return f"{100 * probability:.0f}\N{NO-BREAK SPACE}%"


def seconds(value: float) -> str:
    """A duration for people: ``2.8 s``, ``45 s``, ``3 min 05 s``."""
    if value < 10:
        return f"{value:.1f}\N{NO-BREAK SPACE}s"
    whole = round(value)
    return f"{whole}\N{NO-BREAK SPACE}s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


def _while_it_fills(card: ModelCard) -> str:
    """What a model does while it has heard less than its window; empty where that is soon over."""
    if first_look_s(card) < card.window_seconds:
        return f"repeats what it has heard, from {seconds(first_look_s(card))} on"
    return "gives no label" if card.window_seconds > 2 * GATE_S else ""


def card_facts(card: ModelCard) -> dict[str, str]:
    """The model card by name of the fact: what it is and where it comes from."""
    facts = {
        "Model": card.name,
        "What it is": card.description,
        "Network": card.architecture.name,
        **{head.name.capitalize(): ", ".join(head.shown(label) for label in head.labels) for head in card.heads},
        "Hears": f"{seconds(card.window_seconds)} at a time: {card.hears}",
        "While that fills": _while_it_fills(card),
        "Decides": f"{card.head.name} from {percent(card.head.enter)} on, gives it up below {percent(card.head.leave)}",
        "Trained on": card.provenance.data,
        "Measured by": card.provenance.protocol,
        "Licence": card.provenance.licence,
    }
    return {name: value for name, value in facts.items() if value}
