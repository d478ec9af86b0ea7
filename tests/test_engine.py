"""The whole live path, from a source to verdicts, with a real model file."""

import json
import threading
import time
from itertools import pairwise

import numpy as np
import pytest
from toy import LABELS, RATE_HZ, SPEC, ArraySource, save_toy, tone, toy_card

from models.errors import ConfigError, SourceError
from models.frontend import features
from models.half_life import DEFAULT_HALF_LIFE_S
from models.onnx_scorer import OnnxScorer
from stream.engine import Engine, checked_hop
from stream.events import Frames, Gap, Health, HealthState, SetHalfLife, SetSource, Settings, SourceChoice, Verdict
from stream.events import VerdictState as S
from stream.source import Chunk


class Collected:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.events = []

    def publish(self, event) -> None:
        self.events.append(event)

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def scorer(tmp_path) -> OnnxScorer:
    return OnnxScorer(save_toy(tmp_path / "toy.onnx"))


def replay(scorer, source, **settings) -> Collected:
    sink = Collected()
    Engine(scorer, {"a": source}, [sink], **settings).run()
    return sink


def states(verdicts) -> list[tuple[S, str | None]]:
    """The run of states and labels, repeats left out."""
    run = []
    for verdict in verdicts:
        if not run or run[-1] != (verdict.state, verdict.label):
            run.append((verdict.state, verdict.label))
    return run


PROGRAMME = np.concatenate([tone("low", 6), np.zeros(4 * RATE_HZ, np.float32), tone("high", 6)])


def test_a_programme_is_named_in_order(scorer):
    verdicts = replay(scorer, ArraySource(PROGRAMME), half_life_s=0.5).of(Verdict)
    run = states(verdicts)
    assert run[:3] == [(S.WARMING_UP, None), (S.DECIDED, "low"), (S.SILENCE, None)]
    assert run[-1] == (S.DECIDED, "high")


def test_verdicts_stand_on_the_grid_of_hops(scorer):
    verdicts = replay(scorer, ArraySource(tone("low", 5))).of(Verdict)
    first = next(verdict for verdict in verdicts if verdict.raw is not None)
    assert first.sample == scorer.card.window_samples
    assert {b.sample - a.sample for a, b in pairwise(verdicts)} == {5 * SPEC.hop_samples}
    times = [verdict.time - verdict.sample / RATE_HZ for verdict in verdicts]
    assert np.ptp(times) < 1e-3


@pytest.mark.parametrize("chunk", [1, 97, 256, 5_000, 10**6])
def test_verdicts_do_not_depend_on_how_audio_is_cut(scorer, chunk):
    short = PROGRAMME[: 8 * RATE_HZ] if chunk > 1 else PROGRAMME[: 3 * RATE_HZ]
    reference = replay(scorer, ArraySource(short, chunk=1_000)).of(Verdict)
    verdicts = replay(scorer, ArraySource(short, chunk=chunk)).of(Verdict)
    assert [(v.sample, v.state, v.label) for v in verdicts] == [(v.sample, v.state, v.label) for v in reference]
    for one, other in zip(verdicts, reference, strict=True):
        if one.raw is not None:
            np.testing.assert_allclose(one.raw, other.raw, atol=1e-5)
            np.testing.assert_allclose(one.smoothed, other.smoothed, atol=1e-5)


def test_the_published_frames_are_the_whole_files(scorer):
    signal = PROGRAMME[: 5 * RATE_HZ]
    frames = replay(scorer, ArraySource(signal)).of(Frames)
    np.testing.assert_allclose(np.concatenate([f.values for f in frames]), features(signal, SPEC), atol=1e-4)
    assert [f.start for f in frames] == np.cumsum([0] + [len(f.values) * SPEC.hop_samples for f in frames])[
        :-1
    ].tolist()


def test_live_and_replay_of_the_same_samples_agree(scorer):
    signal = tone("middle", 4)
    live = replay(scorer, ArraySource(signal, live=True)).of(Verdict)
    everything = {v.sample: v for v in replay(scorer, ArraySource(signal)).of(Verdict)}
    # A live source delivered faster than real time overloads the engine on purpose: what it does score is the same.
    assert live
    for verdict in live:
        if verdict.raw is not None:
            np.testing.assert_allclose(verdict.raw, everything[verdict.sample].raw, atol=1e-5)


def test_under_overload_the_newest_window_wins_and_drops_are_counted(scorer):
    source = ArraySource(tone("low", 4), live=True, chunk=4 * RATE_HZ)
    verdicts = replay(scorer, source).of(Verdict)
    due = (SPEC.frames_in(4 * RATE_HZ) - scorer.card.window.frames) // 5 + 1
    assert len(verdicts) == 1
    assert verdicts[0].dropped == due - 1
    assert verdicts[0].label == "low"


def test_frozen_in_silence_the_vote_is_what_it_was(scorer):
    signal = np.concatenate([tone("low", 5), np.zeros(6 * RATE_HZ, np.float32)])
    verdicts = replay(scorer, ArraySource(signal)).of(Verdict)
    silent = [v for v in verdicts if v.state is S.SILENCE]
    before = [v for v in verdicts if v.state is S.DECIDED][-1]
    assert len(silent) > 3
    for verdict in silent:
        assert (verdict.raw, verdict.label, verdict.confidence) == (None, None, None)
        np.testing.assert_array_equal(verdict.smoothed, before.smoothed)


def test_a_break_is_a_gap_that_no_window_spans(scorer, monkeypatch):
    monkeypatch.setattr("stream.supervisor._FIRST_DELAY_S", 0.01)
    source = ArraySource(tone("low", 6), finite=False, breaks={200: SourceError("cable pulled")})  # at second 2.5
    sink = Collected()
    engine = Engine(scorer, {"a": source}, [sink])
    heard = until(lambda v: v.sample > 5 * RATE_HZ, sink, Verdict)
    thread = threading.Thread(target=engine.run)
    thread.start()
    assert heard()
    engine.stop()
    thread.join(5)
    (gap,) = sink.of(Gap)
    assert (gap.start, gap.reason) == (20_000, "cable pulled")
    assert gap.samples >= 1
    after = [v for v in sink.of(Verdict) if v.sample > gap.start]
    assert after[0].state is S.WARMING_UP
    scored = next(v for v in after if v.raw is not None)
    assert scored.sample == gap.start + gap.samples + scorer.card.window_samples
    reasons = [(h.state, h.reason) for h in sink.of(Health)]
    assert (HealthState.RECONNECTING, "cable pulled") in reasons
    assert source.opened == 2
    assert sink.of(Health)[-1].reconnects == 1


def test_json_lines_have_the_contracts_fields(scorer):
    verdict = replay(scorer, ArraySource(tone("low", 5))).of(Verdict)[-1]
    line = json.loads(json.dumps(verdict.to_json()))
    fields = "channel sample time state label confidence since raw smoothed heads latency_ms dropped heard_s"
    assert list(line) == fields.split()
    assert set(line["raw"]) == set(line["smoothed"]) == set(LABELS)
    assert line["heads"] == {
        "pitch": {"label": line["label"], "confidence": line["confidence"], "probabilities": line["smoothed"]}
    }
    assert line["since"] <= line["time"]


def test_every_head_has_its_vote_and_the_first_is_the_verdict(tmp_path):
    scorer = OnnxScorer(save_toy(tmp_path / "two.onnx", toy_card(others=("hush",))))
    verdict = replay(scorer, ArraySource(tone("low", 8))).of(Verdict)[-1]
    assert [head.name for head in verdict.heads] == ["pitch", "hush"]
    pitch, hush = verdict.heads
    assert (verdict.label, verdict.confidence) == (pitch.label, pitch.confidence) == ("low", pitch.smoothed.max())
    assert hush.smoothed.argmin() == LABELS.index("low")
    said = json.loads(json.dumps(verdict.to_json()))["heads"]
    assert set(said) == {"pitch", "hush"}
    assert said["hush"]["probabilities"]["low"] == pytest.approx(hush.smoothed.min(), abs=1e-5)
    silent = replay(scorer, ArraySource(np.concatenate([tone("low", 8), np.zeros(8 * RATE_HZ, np.float32)])))
    last = silent.of(Verdict)[-1]
    assert [head.raw for head in last.heads] == [None, None]
    assert all(head.smoothed is not None for head in last.heads)


def until(condition, sink, kind, timeout_s=10.0):
    """Wait until an event of this kind satisfies the condition."""
    found = threading.Event()
    original = sink.publish

    def publish(event):
        original(event)
        if isinstance(event, kind) and condition(event):
            found.set()

    sink.publish = publish
    return lambda: found.wait(timeout_s)


def test_commands_change_a_running_engine(scorer):
    sink = Collected()
    engine = Engine(
        scorer,
        {"a": ArraySource(tone("low", 4), finite=False)},
        [sink],
        choices=[SourceChoice("other", "Other")],
        open_source=lambda address: ArraySource(tone("high", 4), finite=False),
    )
    switched = until(lambda v: v.label == "high", sink, Verdict)
    started = until(lambda v: v.label == "low", sink, Verdict)
    thread = threading.Thread(target=engine.run)
    thread.start()
    try:
        assert started()
        engine.submit(SetSource("/etc/passwd"))  # not offered: refused, and the engine lives on
        engine.submit(SetHalfLife(-1))
        engine.submit(SetHalfLife(7.5))
        engine.submit(SetSource("other"))
        assert switched()
    finally:
        engine.stop()
        thread.join(5)
    assert not thread.is_alive()
    assert {s.half_life_s for s in sink.of(Settings)} == {DEFAULT_HALF_LIFE_S, 7.5}
    # The sample count went on, and the frames of the other source do not follow on from the first's.
    starts = [(f.start, f.start + len(f.values) * SPEC.hop_samples) for f in sink.of(Frames)]
    breaks = [after[0] for before, after in pairwise(starts) if after[0] != before[1]]
    assert len(breaks) == 1
    assert breaks[0] > 4 * RATE_HZ
    assert sink.of(Gap) == []


def test_one_batch_scores_many_channels(scorer):
    sink = Collected()
    sources = {label: ArraySource(tone(label, 5)) for label in LABELS}
    Engine(scorer, sources, [sink]).run()
    for label in LABELS:
        assert [v for v in sink.of(Verdict) if v.channel == label][-1].label == label


def test_what_is_scored_at_once_is_bounded_in_bytes(scorer, monkeypatch):
    sizes = []

    class Counting:
        card = scorer.card
        name = scorer.name

        def score(self, windows):
            sizes.append(len(windows[0]))
            return scorer.score(windows)

    (shape,) = scorer.card.input_shapes
    monkeypatch.setattr("models.scorer._BATCH_BYTES", 2 * 4 * shape[0] * shape[1] + 1)
    # One piece of audio: more than twenty windows are due at once.
    verdicts = replay(Counting(), ArraySource(tone("low", 5), chunk=5 * RATE_HZ)).of(Verdict)
    assert max(sizes) == 2
    assert sum(sizes) == sum(verdict.raw is not None for verdict in verdicts) > 20


@pytest.mark.parametrize("hop_s", [0.0, -1.0, 100.0])
def test_a_hop_that_is_none_is_refused(scorer, hop_s):
    with pytest.raises(ConfigError, match="hop"):
        checked_hop(hop_s, scorer.card)


def test_sources_that_cannot_be_closed_do_not_hold_up_the_engine(scorer, monkeypatch, caplog):
    class Stuck(ArraySource):
        def read(self, timeout_s):
            stuck.wait(60)

        def interrupt(self):
            return

    stuck = threading.Event()
    monkeypatch.setattr("stream.engine.CLOSE_S", 0.5)
    engine = Engine(scorer, {str(n): Stuck(tone("low", 1)) for n in range(40)}, [])
    thread = threading.Thread(target=engine.run)
    thread.start()
    engine.stop()
    thread.join(15)  # one after the other they would take 20 seconds
    alive = thread.is_alive()
    stuck.set()
    assert not alive
    assert caplog.text.count("abandoned") == 40


def test_a_fault_in_a_source_is_seen_and_the_engine_lives_on(scorer, caplog):
    sink = Collected()
    sources = {
        "broken": ArraySource(tone("low", 4), breaks={3: ZeroDivisionError("a bug")}),
        "sound": ArraySource(tone("high", 4), finite=False),
    }
    engine = Engine(scorer, sources, [sink])
    named = until(lambda v: v.label == "high", sink, Verdict)
    failed = until(lambda h: h.state is HealthState.FAILED, sink, Health)
    thread = threading.Thread(target=engine.run)
    thread.start()
    try:
        assert named()
        assert failed()
    finally:
        engine.stop()
        thread.join(5)
    assert "unexpected ZeroDivisionError: a bug" in {h.reason for h in sink.of(Health)}
    assert "Traceback" in caplog.text


def test_a_file_that_breaks_off_is_not_played_again(scorer):
    source = ArraySource(tone("low", 4), breaks={200: SourceError("the disk is gone")})
    sink = replay(scorer, source)
    assert source.opened == 1
    assert (sink.of(Health)[-1].state, sink.of(Health)[-1].reason) == (HealthState.FAILED, "the disk is gone")
    assert sink.of(Verdict)[-1].label == "low"


def test_scores_that_are_no_numbers_do_not_count(scorer, caplog):
    class Broken:
        """Cannot cope with the middle of the spectrum."""

        card, name = scorer.card, "broken"

        def score(self, windows):
            scores = scorer.score(windows)["pitch"]
            return {"pitch": np.where((scores.argmax(axis=1) == 1)[:, np.newaxis], np.nan, scores)}

    signal = np.concatenate([tone("low", 3), tone("middle", 4), tone("low", 4)])
    verdicts = replay(Broken(), ArraySource(signal)).of(Verdict)
    assert all(np.isfinite(v.smoothed).all() for v in verdicts if v.smoothed is not None)
    assert states(verdicts)[1:] == [(S.DECIDED, "low"), (S.UNSURE, None), (S.DECIDED, "low")]
    assert caplog.text.count("no numbers") == 1


def healths_of(scorer, signal) -> set[HealthState]:
    """The states of health while a source of this signal is open and says no more."""
    sink = Collected()
    engine = Engine(scorer, {"a": ArraySource(signal, chunk=500, finite=False)}, [sink])
    heard = until(lambda h: h.latency_p50_ms is not None, sink, Health)
    thread = threading.Thread(target=engine.run)
    thread.start()
    assert heard()
    engine.stop()
    thread.join(5)
    return {h.state for h in sink.of(Health)}


def test_a_rest_in_the_music_is_not_called_silence(scorer):
    rest = np.zeros(RATE_HZ // 4, np.float32)
    music = np.concatenate([part for _ in range(6) for part in (tone("low", 1), rest)])
    assert HealthState.SILENT not in healths_of(scorer, music)
    assert HealthState.SILENT in healths_of(scorer, np.zeros(4 * RATE_HZ, np.float32))


def test_a_vote_forgets_over_an_outage(scorer, monkeypatch):
    monkeypatch.setattr("stream.supervisor._FIRST_DELAY_S", 0.01)

    class LossySource(ArraySource):
        """An hour is missing in the middle, and the source knows it."""

        def read(self, timeout_s):
            chunk = super().read(timeout_s)
            lost = 3_600 * RATE_HZ if self._next == 400 else 0
            return chunk and Chunk(chunk.samples, chunk.captured_at, lost)

    sink = replay(scorer, LossySource(np.concatenate([tone("low", 5), tone("high", 5)])), half_life_s=30.0)
    (gap,) = sink.of(Gap)
    assert gap.samples == 3_600 * RATE_HZ
    first = next(v for v in sink.of(Verdict) if v.sample > gap.start and v.raw is not None)
    np.testing.assert_allclose(first.smoothed, first.raw, atol=1e-5)
    health = sink.of(Health)[-1]
    assert (health.gaps, health.lost_samples) == (1, gap.samples)


def test_a_gap_does_not_leak_through_the_resampler(scorer):
    class LossySource(ArraySource):
        def read(self, timeout_s):
            chunk = super().read(timeout_s)
            return chunk and Chunk(chunk.samples, chunk.captured_at, 48_000 if self._next == 240 else 0)

    # Five seconds of a tone, a second lost, then a very faint one: whatever of the first came after the gap would show.
    loud, faint = tone("low", 5, rate_hz=48_000), tone("high", 3, rate_hz=48_000, level=1e-4)
    sink = replay(scorer, LossySource(np.concatenate([loud, faint]), rate_hz=48_000, chunk=1_000))
    (gap,) = sink.of(Gap)
    assert gap.start == pytest.approx(239_000 / 6, abs=20)
    after = np.concatenate([f.values for f in sink.of(Frames) if f.start >= gap.start + gap.samples])
    assert after[2:20].max() > -9  # 239,000 is inside the first tone: it goes on for a little


def test_health_goes_on_when_the_clock_is_set_back(scorer, monkeypatch):
    sink = Collected()
    engine = Engine(scorer, {"a": ArraySource(tone("low", 2), finite=False)}, [sink])
    real = time.time
    thread = threading.Thread(target=engine.run)
    thread.start()
    monkeypatch.setattr("stream.channel.time.time", lambda: real() - 3_600)
    set_back = until(lambda h: h.time < real() - 3_000, sink, Health)
    try:
        assert set_back()
    finally:
        engine.stop()
        thread.join(5)


def test_nothing_of_a_source_is_left_after_a_change(scorer):
    sink = Collected()
    loud = ArraySource(np.ones(4 * RATE_HZ, np.float32), finite=False)
    engine = Engine(
        scorer,
        {"a": loud},
        [sink],
        choices=[SourceChoice("dead", "Dead")],
        open_source=lambda address: ArraySource(tone("low", 1), finite=False, breaks={0: SourceError("no such luck")}),
    )
    heard = until(lambda h: h.latency_p50_ms is not None and h.warnings, sink, Health)
    thread = threading.Thread(target=engine.run)
    thread.start()
    assert heard()
    changed = until(lambda h: h.state is HealthState.RECONNECTING, sink, Health)
    engine.submit(SetSource("dead"))
    assert changed()
    engine.stop()
    thread.join(5)
    health = next(h for h in sink.of(Health) if h.state is HealthState.RECONNECTING)
    assert (health.level_dbfs, health.warnings, health.latency_p50_ms, health.gaps) == (None, (), None, 0)
