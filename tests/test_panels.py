"""What the page says, as pure functions."""

from __future__ import annotations

import math
from itertools import count
from xml.etree import ElementTree

import numpy as np
import pytest
from fake_engine import CARD
from hypothesis import given
from hypothesis import strategies as st
from toy import toy_card

from dashboard import panels
from dashboard.panels import Moment, Wish
from dashboard.theme import LABEL_COLOURS, THEME
from models.frontend import band_centres_hz
from models.novelty import FASTEST
from models.vote import RunningVote, change_s
from stream.events import SourceChoice, VerdictState

DECIDED, SILENCE, UNSURE, WARMING = (
    VerdictState.DECIDED,
    VerdictState.SILENCE,
    VerdictState.UNSURE,
    VerdictState.WARMING_UP,
)


@pytest.mark.parametrize("half_life_s", panels.HALF_LIVES_S)
@pytest.mark.parametrize(("words", "pace"), [("follows within", FASTEST), ("and within", 1.0)])
@pytest.mark.parametrize("enter", [0.3, 0.9])
def test_the_stated_delay_is_that_of_the_vote(half_life_s: float, words: str, pace: float, enter: float) -> None:
    hop_s = 0.34
    said = panels.delay_sentence(half_life_s=half_life_s, enter=enter, window_s=2.8, hop_s=hop_s, hears_changes=True)
    stated = change_s(half_life_s, hop_s=hop_s, pace=pace, enter=enter)
    assert f"{words} {panels.seconds(stated)}" in said
    before, after = np.eye(len(CARD.head.labels), dtype=np.float32)[:2]
    vote = RunningVote(
        CARD.head.model_copy(update={"enter": enter, "leave": 0.1}), hop_s=hop_s, half_life_s=half_life_s
    )
    for _ in range(round(20 * half_life_s / hop_s)):
        assert vote.update(before, elapsed_s=hop_s).label == 0
    aged_s = pace * hop_s
    took = next(hop * hop_s for hop in count(1) if vote.update(after, elapsed_s=hop_s, aged_s=aged_s).label == 1)
    assert took == pytest.approx(stated)


def test_a_model_that_hears_no_changes_promises_none() -> None:
    said = panels.delay_sentence(half_life_s=4.0, enter=0.4, window_s=2.8, hop_s=0.34, hears_changes=False)
    alike = panels.seconds(change_s(4.0, hop_s=0.34, pace=1.0, enter=0.4))
    assert f"the label follows within {alike}, on top of" in said


def test_a_model_that_never_decides_is_said_to() -> None:
    assert "never" in panels.delay_sentence(half_life_s=2.0, enter=1.0, window_s=2.8, hop_s=0.34, hears_changes=True)


def test_frequency_ticks_stand_where_their_bands_are() -> None:
    centres = band_centres_hz(CARD.clock)
    ticks = panels.frequency_ticks(centres)
    assert [tick.text for tick in ticks] == ["100 Hz", "200 Hz", "500 Hz", "1 kHz", "2 kHz", "5 kHz", "10 kHz"]
    for tick in ticks:
        number, unit = tick.text.split()
        hz = float(number) * (1000 if unit == "kHz" else 1)
        place = tick.position * (len(centres) - 1)
        below, above = centres[math.floor(place)], centres[math.ceil(place)]
        assert below - 1e-6 <= hz <= above + 1e-6
    assert panels.frequency_ticks([440.0]) == []


def test_runs_join_what_is_the_same_and_near() -> None:
    moments = [
        Moment(0, DECIDED, "jazz", 0.6),
        Moment(1, DECIDED, "jazz", 0.8),
        Moment(2, SILENCE, None, None),
        Moment(10, SILENCE, None, None),  # too far from the one before
        Moment(11, DECIDED, "rock", 0.9),
    ]
    runs = panels.runs(moments)
    assert [(run.start, run.end, run.label) for run in runs] == [
        (0, 2, "jazz"),
        (2, 2, None),
        (10, 11, None),
        (11, 11, "rock"),
    ]
    assert runs[0].confidence == pytest.approx(0.7)
    assert runs[1].confidence is None
    assert panels.runs([]) == []


@given(
    st.lists(
        st.tuples(st.floats(0, 6), st.sampled_from([DECIDED, SILENCE, UNSURE]), st.sampled_from(["a", "b"])),
        min_size=1,
        max_size=50,
    )
)
def test_runs_cover_the_moments_in_order_without_overlap(
    steps: list[tuple[float, VerdictState, str]],
) -> None:
    now, moments = 0.0, []
    for apart, state, label in steps:
        now += apart
        moments.append(Moment(now, state, label, 0.5))
    runs = panels.runs(moments)
    assert runs[0].start == moments[0].time
    assert runs[-1].end == moments[-1].time
    for run, following in zip(runs, [*runs[1:], None], strict=True):
        assert run.start <= run.end
        assert following is None or run.end <= following.start
        inside = [moment for moment in moments if run.start < moment.time < run.end]
        assert all((moment.state, moment.label) == (run.state, run.label) for moment in inside)


def test_history_rows_are_newest_first_and_leave_out_what_says_nothing() -> None:
    moments = [
        Moment(0, WARMING, None, None),
        *(Moment(time, DECIDED, "pop_rock", 0.8) for time in range(3, 70)),
        Moment(70, UNSURE, None, None),
        Moment(70.5, SILENCE, None, None),
        *(Moment(time, SILENCE, None, None) for time in range(72, 76)),
    ]
    rows = panels.history_rows(moments, CARD, limit=5, now=76.0)
    assert [(row["Heard"], row["For"], row["Confidence"]) for row in rows] == [
        ("silence", "now", ""),
        ("pop rock", "1 min 07 s", "80\N{NO-BREAK SPACE}%"),
    ]
    assert panels.history_rows(moments, CARD, limit=1, now=200.0)[0]["For"] == "4.5\N{NO-BREAK SPACE}s"
    assert panels.history_rows([], CARD, limit=5, now=0.0) == []
    # A label that is given while a long window fills is told, as what it is.
    early = [Moment(time, WARMING, "jazz", 0.6) for time in range(5)] + [Moment(5, DECIDED, "jazz", 0.7)]
    assert [(row["Heard"], row["Confidence"]) for row in panels.history_rows(early, CARD, limit=5, now=5.0)] == [
        ("jazz", "70\N{NO-BREAK SPACE}%"),
        ("jazz (warming up)", "60\N{NO-BREAK SPACE}%"),
    ]
    # What has no label is told as what it is, and labels by what the card has people shown.
    other = [*(Moment(time, UNSURE, None, None, "speech") for time in range(3)), Moment(3, UNSURE, None, None)]
    other += [Moment(time, SILENCE, None, None) for time in range(5, 9)]
    assert [row["Heard"] for row in panels.history_rows(other, CARD, limit=5, now=9.0)] == [
        "silence",
        "not sure",
        "speech, no genre",
    ]
    shown = CARD.model_copy(update={"heads": (CARD.head.model_copy(update={"titles": {"pop_rock": "pop/rock"}}),)})
    assert panels.history_rows(moments, shown, limit=5, now=76.0)[1]["Heard"] == "pop/rock"
    # A file heard faster than it plays: its verdicts lie ahead of the clock.
    assert panels.history_rows(moments, CARD, limit=5, now=1.0) == rows


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0.0 s"), (2.82, "2.8 s"), (45.4, "45 s"), (59.7, "1 min 00 s"), (185, "3 min 05 s")]
)
def test_durations(value: float, text: str) -> None:
    assert panels.seconds(value).replace("\N{NO-BREAK SPACE}", " ") == text


def test_a_control_shows_the_wish_until_it_is_applied_or_too_old() -> None:
    assert panels.settled(2.0, None, now=10.0) == 2.0
    assert panels.settled(2.0, Wish(5.0, 9.0), now=10.0) == 5.0
    assert panels.settled(5.0, Wish(5.0, 9.0), now=10.0) == 5.0
    assert panels.settled(2.0, Wish(5.0, 1.0), now=10.0) == 2.0  # refused, or overruled by another viewer


def test_the_present_values_are_always_among_the_choices() -> None:
    choices = [SourceChoice("mic", "Microphone"), SourceChoice("demo", "Demo")]
    assert panels.source_names(choices, "mic") == {"mic": "Microphone", "demo": "Demo"}
    assert panels.source_names(choices, "song.mp3") == {"song.mp3": "song.mp3", "mic": "Microphone", "demo": "Demo"}
    assert panels.source_names([], "song.mp3") == {"song.mp3": "song.mp3"}


@pytest.mark.parametrize(
    ("addresses", "names"),
    [
        (["/a/live/one.mp3", "/a/studio/one.mp3", "/a/two.mp3"], ["same (live)", "same (studio)", "two"]),
        (["http://a.example/x", "http://u:secret@b.example:8000/x"], ["same (a.example)", "same (b.example)"]),
        (["/a/live/one.mp3", "/b/live/one.mp3"], ["same (live)", "same (live) #2"]),
    ],
)
def test_sources_of_one_name_can_be_told_apart(addresses: list[str], names: list[str]) -> None:
    choices = [SourceChoice(address, "two" if "two" in address else "same") for address in addresses]
    assert list(panels.source_names(choices, addresses[0]).values()) == names


def test_the_present_half_life_is_among_the_steps() -> None:
    assert panels.half_life_steps(7.25) == sorted({*panels.HALF_LIVES_S, 7.25})
    assert panels.half_life_steps(2.0) == sorted(panels.HALF_LIVES_S)


def test_the_model_card_tells_figures_and_licence() -> None:
    told = panels.card_facts(CARD)
    assert told["Licence"] == CARD.provenance.licence
    assert "pop rock" in told["Genre"]
    assert "40 mel bands" in told["Hears"]
    assert "While that fills" not in told


def test_the_model_card_tells_what_a_long_window_does_while_it_fills() -> None:
    long = panels.card_facts(toy_card(frames=940, short="tile"))
    assert "30\N{NO-BREAK SPACE}s at a time" in long["Hears"]
    assert "from 2.8\N{NO-BREAK SPACE}s on" in long["While that fills"]
    assert panels.card_facts(toy_card(frames=940))["While that fills"] == "gives no label"


def test_a_table_says_what_it_is_given_and_nothing_of_it_is_markup() -> None:
    foreign = "![x](http://evil.example/x.png) <img src=x onerror=alert(1)> **bold** & $x$"
    shown = panels.table([[foreign, "2 s"]], head=["Heard", "For"])
    assert shown.count("<") == len(["table", "tr", "th", "th", "tr", "td", "td"]) * 2
    cells = ElementTree.fromstring(shown).findall("tr")[1]
    assert [cell.text for cell in cells] == [foreign, "2 s"]


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("base", ["light", "dark"])
def test_colours_stand_out_from_their_ground_and_from_one_another(base: str) -> None:
    ground = THEME[f"theme.{base}.backgroundColor"]
    colours = LABEL_COLOURS[base]
    assert len(set(colours)) == len(colours) == 10
    for colour in colours:
        assert _contrast(colour, ground) >= 3.0, colour  # WCAG 2.2, 1.4.11
    assert _contrast(THEME[f"theme.{base}.textColor"], ground) >= 7.0
