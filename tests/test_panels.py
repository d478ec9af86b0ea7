"""What the page says, as pure functions."""

from __future__ import annotations

import math

import pytest
from fake_engine import CARD
from hypothesis import given
from hypothesis import strategies as st

from dashboard import panels
from dashboard.panels import Moment, Wish
from dashboard.theme import LABEL_COLOURS, THEME
from models.frontend import band_centres_hz
from stream.events import SourceChoice, VerdictState

DECIDED, SILENCE, UNSURE, WARMING = (
    VerdictState.DECIDED,
    VerdictState.SILENCE,
    VerdictState.UNSURE,
    VerdictState.WARMING_UP,
)


@given(half_life_s=st.floats(0.1, 60), enter=st.floats(0.05, 0.95), hop_s=st.floats(0.01, 0.05))
def test_the_stated_delay_is_that_of_the_vote(half_life_s: float, enter: float, hop_s: float) -> None:
    keep = 2 ** (-hop_s / half_life_s)
    vote, elapsed = 0.0, 0.0
    while vote < enter - 1e-9:
        vote = keep * vote + (1 - keep)
        elapsed += hop_s
    assert abs(elapsed - panels.change_delay_s(half_life_s, enter)) <= hop_s + 1e-6


def test_the_delay_is_one_half_life_at_one_half_and_endless_at_certainty() -> None:
    assert panels.change_delay_s(2.0, 0.5) == 2.0
    assert math.isinf(panels.change_delay_s(2.0, 1.0))
    assert "2.0\N{NO-BREAK SPACE}s" in panels.delay_sentence(half_life_s=2.0, enter=0.5, window_s=2.8)
    assert "never" in panels.delay_sentence(half_life_s=2.0, enter=1.0, window_s=2.8)


def test_frequency_ticks_stand_where_their_bands_are() -> None:
    centres = band_centres_hz(CARD.features)
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
    rows = panels.history_rows(moments, limit=5, now=76.0)
    assert [(row["Heard"], row["For"], row["Confidence"]) for row in rows] == [
        ("silence", "now", ""),
        ("pop rock", "1 min 07 s", "80\N{NO-BREAK SPACE}%"),
    ]
    assert panels.history_rows(moments, limit=1, now=200.0)[0]["For"] == "4.5\N{NO-BREAK SPACE}s"
    assert panels.history_rows([], limit=5, now=0.0) == []


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
    assert panels.half_life_steps(7.25) == sorted({*panels.HALF_LIVES_S, 7.25})
    assert panels.half_life_steps(2.0) == sorted(panels.HALF_LIVES_S)


def test_the_model_card_tells_figures_and_licence() -> None:
    told = {row[""]: row["Model card"] for row in panels.card_rows(CARD)}
    assert told["Licence"] == CARD.provenance.licence
    assert told["accuracy"] == "0.500"
    assert "pop rock" in told["Labels"]
    assert "40 mel bands" in told["Hears"]


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
