import math
from itertools import pairwise

import numpy as np
import pytest
from labelled_audio import LABELS, clip, write_wav

from models.audio import load
from models.errors import AudioError, ConfigError
from models.recode import CODECS, recode
from stream.decision_measures import Counts, Shown, measure
from stream.programme import Clip, Composer, Programme, Stretch

RATE_HZ = 8_000


def programme(*stretches: tuple[float, str | None]) -> Programme:
    """Stretches by their ends and labels, one after the other."""
    starts = [0.0, *(end for end, _ in stretches)]
    parts = tuple(Stretch(start, end, label) for start, (end, label) in zip(starts, stretches, strict=False))
    return Programme(np.zeros(0, np.float32), RATE_HZ, parts)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    made = []
    for label in LABELS:
        for number in range(2):
            file = write_wav(folder / f"{label}-{number}.wav", np.tile(clip(label, number), 20))
            made.append(Clip(file, label))
    return made


def test_a_programme_follows_from_its_seed_and_has_no_hole(clips):
    composer = Composer(clips, speech=[clips[0].path], sample_rate_hz=RATE_HZ, seed=3)
    one, again, other = composer.compose(0, minutes=4), composer.compose(0, minutes=4), composer.compose(1, minutes=4)
    np.testing.assert_array_equal(one.samples, again.samples)
    assert one.stretches == again.stretches != other.stretches
    assert one.stretches[0].start == 0.0
    for before, after in pairwise(one.stretches):
        assert before.end == pytest.approx(after.start)
        assert before.end > before.start
    assert one.seconds == pytest.approx(len(one.samples) / RATE_HZ, abs=1e-3)
    assert one.seconds >= 240
    assert np.isfinite(one.samples).all()


def test_all_that_can_happen_happens(clips):
    composer = Composer(clips, speech=[clips[0].path], sample_rate_hz=RATE_HZ, seed=0)
    stretches = composer.compose(0, minutes=30).stretches
    named = [stretch for stretch in stretches if stretch.label]
    assert {stretch.boundary for stretch in named} == {"cut", "crossfade", "jingle", "silence"}
    assert {stretch.event for stretch in named} == {"none", "talk-over", "level", "codec"}
    same = sum(a.label == b.label for a, b in pairwise(named))
    assert 0 < same < len(named) / 2


def test_what_is_on_is_what_is_heard(clips):
    whole = Composer(clips, sample_rate_hz=RATE_HZ, seed=1).compose(0, minutes=5)
    named = [stretch for stretch in whole.stretches if stretch.label is not None]
    for stretch in named:
        # After a crossfade, and before what happens in the middle of a stretch.
        part = whole.samples[round((stretch.start + 1.5) * RATE_HZ) : round((stretch.start + 2.5) * RATE_HZ)]
        assert _nearest(np.abs(np.fft.rfft(part)), clips) == stretch.label


def _nearest(spectrum, clips):
    def shape(values):
        bands = np.array([part.sum() for part in np.array_split(values, 8)])
        return bands / bands.sum()

    found = {each.label: shape(np.abs(np.fft.rfft(load(each.path, RATE_HZ)[:RATE_HZ]))) for each in clips}
    return min(found, key=lambda label: np.abs(found[label] - shape(spectrum)).sum())


def test_short_clips_are_repeated_for_long_pieces(clips):
    longest_clip_s = max(len(load(each.path, RATE_HZ)) for each in clips) / RATE_HZ
    least_s = 2.5 * longest_clip_s
    made = Composer(clips, sample_rate_hz=RATE_HZ, seed=1, pieces_s=(least_s, least_s + 10)).compose(0, minutes=10)
    # Crossfades take two seconds at each end.
    for stretch in made.stretches[:-1]:
        if stretch.label is not None:
            assert least_s - 4 < stretch.end - stretch.start < least_s + 10
    # The joints are none to the ear: there is no gap, and nothing is louder than the clips.
    first = made.samples[: round(2.4 * longest_clip_s * RATE_HZ)]
    level = np.sqrt(np.mean(first[: len(first) // 100 * 100].reshape(100, -1) ** 2, axis=1))
    assert level.min() > level.max() / 2


@pytest.mark.parametrize("pieces_s", [(0.0, 40.0), (40.0, 18.0), (18.0, math.inf), (math.nan, 40.0)])
def test_pieces_of_no_length_are_refused(clips, pieces_s):
    with pytest.raises(ConfigError, match="the shortest first"):
        Composer(clips, sample_rate_hz=RATE_HZ, seed=0, pieces_s=pieces_s)


def test_clips_of_one_label_make_no_programme(clips):
    with pytest.raises(ConfigError, match="two labels"):
        Composer(clips[:2], sample_rate_hz=RATE_HZ, seed=0)


def test_a_clip_that_cannot_be_read_is_named(clips, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF....")
    with pytest.raises(AudioError, match=r"broken\.wav"):
        Composer([Clip(broken, "a"), Clip(broken, "b")], sample_rate_hz=RATE_HZ, seed=0).compose(0, minutes=1)


@pytest.mark.parametrize("codec", CODECS)
def test_a_codec_keeps_the_tune_and_the_length_and_loses_something(codec):
    at = np.arange(3 * 22_050) / 22_050
    sound = (0.2 * np.sin(2 * np.pi * 440 * at)).astype(np.float32)
    heard = recode(sound, 22_050, codec=codec, kbit_s=32)
    assert heard.shape == sound.shape
    assert heard.dtype == np.float32
    assert not np.allclose(heard, sound, atol=1e-3)
    spectrum = np.abs(np.fft.rfft(heard))
    assert spectrum.argmax() / 3 == pytest.approx(440, abs=1)


def test_an_unknown_codec_is_refused():
    with pytest.raises(ConfigError, match="mp3, aac, opus, got 'flac'"):
        recode(np.zeros(10, np.float32), 22_050, codec="flac", kbit_s=32)


def test_a_perfect_rule_is_perfect():
    whole = programme((20, "a"), (40, "b"), (60, "b"), (80, "a"))
    figures = measure(whole, [Shown(0, "a"), Shown(20, "b"), Shown(60, "a")]).figures()
    assert figures["delay_median_s"] == figures["never_share"] == figures["false_switches_per_minute"] == 0.0
    assert figures["further_switches_per_minute"] == 0.0
    assert figures["accuracy"] == figures["accuracy_settled"] == figures["change_f1"] == 1.0
    assert figures["abstention"] == 0.0


def test_each_measure_by_hand():
    whole = programme((20, "a"), (22, None), (60, "b"), (90, "c"))
    shown = [
        Shown(2, "a"),  # 2 s unsure before
        Shown(21, "c"),  # in the jingle, to what is neither before nor after it: false
        Shown(24, "b"),  # 2 s late, but
        Shown(25, "a"),  # false,
        Shown(27, "b"),  # so it stays after 5 s
        Shown(58, None),  # unsure is no switch
        Shown(76, "c"),  # 16 s after the change: never
    ]
    counts = measure(whole, shown)
    assert counts.minutes == 1.5
    assert counts.delays == (2.0, math.inf)
    assert counts.held_delays == (5.0, math.inf)
    assert counts.false_switches == 2
    assert (counts.right, counts.wrong, counts.unsure) == (18 + 1 + 31 + 14, 2 + 2, 2 + 2 + 16)
    assert counts.settled_right == 17 + 31 + 14
    assert (counts.changes_shown, counts.changes_found) == (5, 1)
    assert counts.figures()["further_switches_per_minute"] == pytest.approx(4 / 1.5)
    both = counts + counts
    assert both.minutes == 3.0
    assert both.figures() == pytest.approx(counts.figures(), nan_ok=True)


def test_nothing_shown_is_unsure_all_the_time():
    counts = measure(programme((10, "a"), (20, "b")), [])
    assert (counts.right, counts.wrong, counts.unsure) == (0, 0, 20)
    assert counts.delays == (math.inf,)
    assert math.isnan(Counts().figures()["accuracy"])
