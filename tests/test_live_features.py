"""The live path of networks that hear other things than short log-mel windows: it scores what training would cut."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import LABELS, RATE_HZ, SPEC, ArraySource, save_toy, tone, toy_card

from models.frontend import features, mel_filterbank
from models.onnx_scorer import OnnxScorer
from models.spec import LogMel, Magnitude, Mfcc, ModelCard, Raw
from models.windowing import tile
from stream.channel import Channel
from stream.engine import Engine
from stream.events import Event, Frames, Gap, Verdict
from stream.events import VerdictState as S
from stream.picture import picture_spec
from stream.windows import FIRST_LOOK_S, first_look_s

HOP = 256
DECIBELS = LogMel(
    sample_rate_hz=RATE_HZ, n_fft=512, hop_samples=HOP, centred=True, n_mels=12, fmax_hz=RATE_HZ / 2, unit="dB"
)
CEPSTRA = Mfcc(
    sample_rate_hz=RATE_HZ, n_fft=1024, hop_samples=HOP, centred=True, n_mels=40, fmax_hz=RATE_HZ / 2, n_mfcc=13
)
MAGNITUDE = Magnitude(sample_rate_hz=RATE_HZ, n_fft=2 * HOP, hop_samples=HOP, centred=True)
RAW = Raw(sample_rate_hz=RATE_HZ, n_fft=HOP, hop_samples=HOP)
CARDS = {
    "centred decibels": toy_card(DECIBELS, frames=80, hop_frames=10),
    "cepstra, tiled": toy_card(CEPSTRA, frames=300, hop_frames=10, short="tile"),
    "magnitudes and samples": toy_card(MAGNITUDE, RAW, frames=88, hop_frames=7, short="tile"),
    "samples": toy_card(RAW, frames=60, hop_frames=10),
}
LONG = toy_card(SPEC, frames=940, hop_frames=10, short="tile")  # 30 s


@pytest.fixture(scope="module")
def scorers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, OnnxScorer]:
    folder: Path = tmp_path_factory.mktemp("models")
    cards = {**CARDS, "long": LONG, "long, waits": toy_card(SPEC, frames=940, hop_frames=10)}
    return {name: OnnxScorer(save_toy(folder / f"{name}.onnx", card)) for name, card in cards.items()}


class Collected:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def publish(self, event: Event) -> None:
        self.events.append(event)

    def verdicts(self) -> list[Verdict]:
        return [event for event in self.events if isinstance(event, Verdict)]

    def frames(self) -> list[Frames]:
        return [event for event in self.events if isinstance(event, Frames)]


class Hand:
    """An engine without threads, fed by hand: each write is followed by a tick."""

    def __init__(self, scorer: OnnxScorer, *, live: bool = False, half_life_s: float = 0.5) -> None:
        self.sink = Collected()
        nothing = ArraySource(np.empty(0, np.float32), live=live)
        self.engine = Engine(scorer, {"a": nothing}, [self.sink], half_life_s=half_life_s)
        self.ring = self.engine.channels[0].ring

    def hear(self, samples: np.ndarray, *, piece: int = 4_000) -> list[Verdict]:
        """Write and tick, piece by piece; return the verdicts on these samples."""
        before = len(self.sink.events)
        for at in range(0, len(samples), piece):
            self.ring.write(samples[at : at + piece])
            self.engine.tick()
        return [event for event in self.sink.events[before:] if isinstance(event, Verdict)]


def varied(seconds: float) -> np.ndarray:
    """A sweep over noise: no two windows of it are alike."""
    at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    noise = 0.02 * np.random.default_rng(3).standard_normal(len(at))
    return (0.4 * np.sin(2 * np.pi * (60 * at + 120 * at**2)) + noise).astype(np.float32)


SIGNAL = varied(12)


def expected(scorer: OnnxScorer, signal: np.ndarray, sample: int) -> np.ndarray | None:
    """Probabilities of what training would cut from the whole signal's features at ``sample``; None if too short."""
    card: ModelCard = scorer.card
    size, count = card.window.frames, card.clock.frames_in(sample)
    enough = min(size, round(FIRST_LOOK_S / card.clock.seconds_per_frame)) if card.window.short == "tile" else size
    if count < enough:
        return None
    cut = [features(signal, spec)[max(0, count - size) : count] for spec in card.inputs]
    return scorer.score(tuple(tile(each, size).T[np.newaxis] for each in cut))["pitch"][0]


@pytest.mark.parametrize("name", CARDS)
@settings(max_examples=12)
@given(sizes=st.lists(st.integers(1, 30_000), min_size=1, max_size=8))
def test_any_chunking_scores_what_training_would_cut(
    scorers: dict[str, OnnxScorer], name: str, sizes: list[int]
) -> None:
    scorer, hand = scorers[name], Hand(scorers[name])
    for piece in np.split(SIGNAL, [cut for cut in np.cumsum(sizes) if cut < len(SIGNAL)]):
        hand.hear(piece, piece=30_000)
    verdicts = hand.sink.verdicts()
    scored = [verdict for verdict in verdicts if verdict.raw is not None]
    assert [expected(scorer, SIGNAL, verdict.sample) is None for verdict in verdicts] == [
        verdict.raw is None for verdict in verdicts
    ]
    for verdict in scored:
        np.testing.assert_allclose(verdict.raw, expected(scorer, SIGNAL, verdict.sample), atol=1e-4)
        assert (verdict.state is S.WARMING_UP) == (verdict.sample < scorer.card.window_samples)
        assert verdict.heard_s * RATE_HZ == pytest.approx(min(verdict.sample, scorer.card.window_samples))
    assert scored[0].sample / RATE_HZ == pytest.approx(first_look_s(scorer.card), abs=0.4)
    # The scores tell windows apart: it would be seen if they were cut at other places.
    assert np.ptp([verdict.raw for verdict in scored], axis=0).max() > 0.01


@pytest.mark.parametrize("name", CARDS)
def test_the_picture_is_the_log_mel_of_the_same_samples(scorers: dict[str, OnnxScorer], name: str) -> None:
    hand = Hand(scorers[name])
    hand.hear(SIGNAL, piece=1_234)
    spec = picture_spec(CARDS[name])
    frames = hand.sink.frames()
    shown = np.concatenate([event.values for event in frames])
    assert spec.unit == "log10"
    assert len(shown) == spec.frames_in(len(SIGNAL))
    np.testing.assert_allclose(shown, features(SIGNAL, spec)[: len(shown)], atol=1e-4)
    assert frames[0].start == -spec.lead_samples
    for before, after in pairwise(frames):
        assert after.start == before.start + len(before.values) * HOP
    # A frame has the time of its last sample, as a verdict has; theirs are one clock.
    zero = [
        event.time - (event.start - frames[0].start + spec.samples_for(len(event.values))) / RATE_HZ for event in frames
    ]
    zero += [verdict.time - verdict.sample / RATE_HZ for verdict in hand.sink.verdicts()]
    assert np.ptp(zero) < 1e-3


@pytest.mark.parametrize(("rate_hz", "hop"), [(8_000, 16), (22_050, 64), (44_100, 256), (48_000, 1024)])
def test_every_band_of_the_picture_hears_something(rate_hz: int, hop: int) -> None:
    samples = Raw(sample_rate_hz=rate_hz, n_fft=hop, hop_samples=hop)
    spec = picture_spec(toy_card(samples))
    assert spec.hop_samples == hop
    assert mel_filterbank(spec).max(axis=0).min() > 0


@pytest.mark.parametrize("name", CARDS)
def test_it_is_woken_for_each_look_at_once_and_never_for_nothing(name: str) -> None:
    woken: list[int] = []
    per_tick, piece = 4, 32
    card = CARDS[name]
    channel = Channel(
        "a",
        ArraySource(np.empty(0, np.float32)),
        card,
        hop_frames=card.window.hop_frames,
        half_life_s=1.0,
        frames_per_tick=per_tick,
        on_due=lambda: woken.append(channel.ring.written),
    )
    looks = 0
    for written, samples in pieces(SIGNAL[: 4 * RATE_HZ], piece):
        woken.clear()
        channel.ring.write(samples)
        if woken or written == 0:
            due, events = channel.feed()
            shown = sum(len(event.values) for event in events if isinstance(event, Frames))
            assert due or shown >= per_tick or written == 0
            looks += len(due)
            assert all(channel.ring.written - one.look.end < piece for one in due)
    assert looks == sum(
        (card.window.frames - count) % card.window.hop_frames == 0
        for count in range(1, card.clock.frames_in(4 * RATE_HZ) + 1)
    )


def pieces(signal: np.ndarray, size: int) -> Iterator[tuple[int, np.ndarray]]:
    for at in range(0, len(signal), size):
        yield at, signal[at : at + size]


def test_a_long_window_is_named_while_it_fills(scorers: dict[str, OnnxScorer]) -> None:
    verdicts = Hand(scorers["long"]).hear(tone("low", 33))
    states = list(dict.fromkeys((verdict.state, verdict.label) for verdict in verdicts))
    assert states == [(S.WARMING_UP, None), (S.WARMING_UP, "low"), (S.DECIDED, "low")]
    named = next(verdict for verdict in verdicts if verdict.label)
    decided = next(verdict for verdict in verdicts if verdict.state is S.DECIDED)
    assert named.sample / RATE_HZ == pytest.approx(FIRST_LOOK_S, abs=0.4)
    assert decided.sample == LONG.window_samples
    assert decided.since == decided.time
    heard = [verdict.heard_s for verdict in verdicts]
    assert heard == sorted(heard)
    assert heard[-1] == LONG.window_seconds


@pytest.mark.parametrize("name", ["long", "long, waits"])
def test_silence_is_said_within_seconds_and_a_rest_does_not_empty_a_long_window(
    scorers: dict[str, OnnxScorer], name: str
) -> None:
    hand = Hand(scorers[name])
    before = hand.hear(tone("low", 32))[-1]
    assert (before.state, before.label) == (S.DECIDED, "low")
    rest = hand.hear(np.zeros(6 * RATE_HZ, np.float32))
    silent = [verdict for verdict in rest if verdict.state is S.SILENCE]
    assert silent[0].sample / RATE_HZ - 32 < FIRST_LOOK_S
    assert silent == rest[-len(silent) :]
    for verdict in silent:
        assert (verdict.label, verdict.raw, verdict.heard_s) == (None, None, 0.0)
        np.testing.assert_array_equal(verdict.smoothed, silent[0].smoothed)
    after = hand.hear(tone("low", 3))
    assert (after[-1].state, after[-1].label, after[-1].heard_s) == (S.DECIDED, "low", LONG.window_seconds)


def test_after_a_long_silence_a_long_window_fills_anew(scorers: dict[str, OnnxScorer]) -> None:
    hand = Hand(scorers["long"])
    hand.hear(tone("low", 32))
    hand.hear(np.zeros(40 * RATE_HZ, np.float32))
    after = [verdict for verdict in hand.hear(tone("high", 20)) if verdict.state is not S.SILENCE]
    states = list(dict.fromkeys((verdict.state, verdict.label) for verdict in after))
    assert states[-2:] == [(S.WARMING_UP, "high"), (S.DECIDED, "high")]
    assert after[0].sample / RATE_HZ - 72 < FIRST_LOOK_S
    # None of them is about the music before the silence, nor mostly about the silence.
    assert all(verdict.heard_s * RATE_HZ <= 2 * (verdict.sample - 72 * RATE_HZ) + 2 * HOP for verdict in after)

    waiting = Hand(scorers["long, waits"])
    waiting.hear(np.zeros(40 * RATE_HZ, np.float32))
    assert {verdict.raw is None for verdict in waiting.hear(tone("high", 12))} == {True}


def test_after_a_gap_a_long_window_fills_anew(scorers: dict[str, OnnxScorer]) -> None:
    hand = Hand(scorers["long"])
    hand.hear(tone("low", 32))
    hand.ring.skip(RATE_HZ, "cable pulled")
    after = hand.hear(tone("low", 31))
    (gap,) = [event for event in hand.sink.events if isinstance(event, Gap)]
    assert (gap.start, gap.samples) == (32 * RATE_HZ, RATE_HZ)
    states = list(dict.fromkeys((verdict.state, verdict.label) for verdict in after))
    assert states == [(S.WARMING_UP, None), (S.WARMING_UP, "low"), (S.DECIDED, "low")]
    assert all(verdict.heard_s * RATE_HZ <= verdict.sample - 33 * RATE_HZ for verdict in after)


class Slow:
    """A scorer that needs so long that ``audio`` goes on by seconds meanwhile."""

    def __init__(self, scorer: OnnxScorer, audio: Iterator[np.ndarray]) -> None:
        self.card, self.name = scorer.card, scorer.name
        self._scorer = scorer
        self._audio = audio
        self.sizes: list[int] = []
        self.write = lambda samples: None

    def score(self, windows):
        self.sizes.append(len(windows[0]))
        self.write(next(self._audio, np.empty(0, np.float32)))
        return self._scorer.score(windows)


@pytest.mark.parametrize("name", ["cepstra, tiled", "magnitudes and samples", "centred decibels"])
def test_with_a_scorer_too_slow_the_newest_window_wins_and_nothing_piles_up(
    scorers: dict[str, OnnxScorer], name: str
) -> None:
    seconds, each_s = 60, 1.5
    signal = varied(seconds)
    audio = (piece for _, piece in pieces(signal, round(each_s * RATE_HZ)))
    slow = Slow(scorers[name], audio)
    hand = Hand(slow, live=True)
    slow.write = hand.ring.write
    while True:
        if not hand.ring.held:  # nothing was scored, so nothing came meanwhile
            piece = next(audio, None)
            if piece is None:
                break
            hand.ring.write(piece)
        written = hand.ring.written
        hand.engine.tick()
        verdict = hand.sink.verdicts()[-1]
        # What is said is about now: no more than a hop behind what had come before the scoring began.
        assert written - verdict.sample < (slow.card.window.hop_frames + 2) * HOP
        assert hand.ring.held <= each_s * RATE_HZ
    verdicts = hand.sink.verdicts()
    scored = [verdict for verdict in verdicts if verdict.raw is not None]
    assert set(slow.sizes) == {1}
    assert len(scored) == len(slow.sizes)
    card, first = slow.card, round(first_look_s(slow.card) * RATE_HZ)
    ends = [card.clock.samples_for(count) for count in range(1, card.clock.frames_in(len(signal)) + 1)]
    due = [
        end
        for count, end in enumerate(ends, start=1)
        if (card.window.frames - count) % card.window.hop_frames == 0 and end >= first
    ]
    assert verdicts[-1].dropped == len(due) - len(scored) > len(scored)
    assert not [event for event in hand.sink.events if isinstance(event, Gap)]
    assert set(LABELS) == set(verdicts[-1].to_json()["raw"])
