import re
from pathlib import Path

import numpy as np
import pytest
import scipy.io.wavfile
from toy import LABELS, RATE_HZ, save_toy, tone, toy_card

import genrescope
from models.errors import AudioError
from models.frontend import features
from models.onnx_scorer import OnnxScorer
from models.spec import Given, Mfcc
from models.windowing import tile
from stream.classify import classify
from stream.events import VerdictState

CEPSTRA = Mfcc(
    sample_rate_hz=RATE_HZ, n_fft=1024, hop_samples=256, centred=True, n_mels=40, fmax_hz=RATE_HZ / 2, n_mfcc=13
)


@pytest.fixture
def scorer(tmp_path) -> OnnxScorer:
    return OnnxScorer(save_toy(tmp_path / "toy.onnx"))


def wav(path: Path, *parts: np.ndarray, rate_hz: int = RATE_HZ) -> Path:
    scipy.io.wavfile.write(path, rate_hz, np.concatenate(parts))
    return path


def test_a_file_is_named_with_its_segments(tmp_path, scorer):
    file = wav(tmp_path / "a.wav", tone("low", 9), np.zeros(4 * RATE_HZ, np.float32), tone("high", 4))
    result = classify(file, scorer, half_life_s=0.5)
    assert result.seconds == pytest.approx(17.0, abs=0.001)
    assert result.label == "low"
    assert result.probabilities.sum() == pytest.approx(1.0, abs=1e-5)
    named = [(s.label, s.state) for s in result.segments]
    assert named[0] == (None, VerdictState.WARMING_UP)
    assert named[1] == ("low", VerdictState.DECIDED)
    assert (None, VerdictState.SILENCE) in named
    assert named[-1] == ("high", VerdictState.DECIDED)
    # The segments tile the file.
    assert result.segments[0].start == 0.0
    assert result.segments[-1].end == pytest.approx(result.seconds)
    for one, following in zip(result.segments, result.segments[1:], strict=False):
        assert one.end == following.start


def test_the_rate_and_channels_of_the_file_do_not_matter(tmp_path, scorer):
    stereo = np.repeat(tone("middle", 5, rate_hz=44_100)[:, np.newaxis], 2, axis=1)
    assert classify(wav(tmp_path / "s.wav", stereo, rate_hz=44_100), scorer).label == "middle"


def test_a_silent_file_has_no_label(tmp_path, scorer):
    result = classify(wav(tmp_path / "silent.wav", np.zeros(6 * RATE_HZ, np.float32)), scorer)
    assert (result.label, result.confidence, result.probabilities) == (None, None, None)
    assert result.to_json()["label"] is None


def test_a_file_shorter_than_the_window_is_refused(tmp_path, scorer):
    with pytest.raises(AudioError, match=r"at least the model's window of 1\.31 seconds, the file has 1\.00"):
        classify(wav(tmp_path / "short.wav", tone("low", 1)), scorer)


@pytest.fixture
def long(tmp_path) -> OnnxScorer:
    """Hears 9.6 s at a time; what is shorter is repeated."""
    return OnnxScorer(save_toy(tmp_path / "long.onnx", toy_card(CEPSTRA, frames=300, short="tile")))


@pytest.mark.parametrize("seconds", [0.1, 1.0, 5.0, 9.5, 9.625])
def test_a_file_shorter_than_a_long_window_is_judged_as_in_training(tmp_path, long, seconds):
    signal = np.concatenate([tone("low", 4), tone("high", 6)])[: round(seconds * RATE_HZ)]
    result = classify(wav(tmp_path / "a.wav", signal), long)
    window = tile(features(signal, CEPSTRA), 300).T[np.newaxis]
    np.testing.assert_allclose(result.probabilities, long.score((window,))["pitch"][0], atol=1e-5)
    assert {segment.state for segment in result.segments} == {VerdictState.WARMING_UP}
    assert (result.segments[0].start, result.segments[-1].end) == (0.0, pytest.approx(seconds))


def test_of_a_longer_file_the_whole_windows_count(tmp_path, long):
    signal = np.concatenate([tone("low", 6), tone("high", 8)])
    result = classify(wav(tmp_path / "a.wav", signal), long)
    frames = features(signal, CEPSTRA)
    ends = range(300, CEPSTRA.frames_in(len(signal)) + 1, long.card.window.hop_frames)
    windows = np.stack([frames[end - 300 : end].T for end in ends])
    np.testing.assert_allclose(result.probabilities, long.score((windows,))["pitch"].mean(axis=0), atol=1e-4)


@pytest.mark.parametrize(("seconds", "power"), [(12.0, 2.0), (1.32, 1.0)])
def test_the_mean_of_many_windows_has_a_temperature_of_its_own(tmp_path, seconds, power):
    # Low and high at once, so that no answer is certain; 1.32 s are one whole window.
    signal = (tone("low", seconds) + tone("high", seconds))[: round(seconds * RATE_HZ)]
    card = toy_card()
    sharp = card.model_copy(update={"heads": (card.head.model_copy(update={"file_temperature": 0.5}),)})
    plain, sharpened = (
        classify(wav(tmp_path / "a.wav", signal), OnnxScorer(save_toy(tmp_path / f"{name}.onnx", of)), hop_s=0.3)
        for name, of in (("plain", card), ("sharp", sharp))
    )
    expected = plain.probabilities**power
    np.testing.assert_allclose(sharpened.probabilities, expected / expected.sum(), rtol=1e-4)
    assert sharpened.label == plain.label


def test_where_no_window_becomes_whole_the_parts_count(tmp_path, long):
    rest = np.zeros(12 * RATE_HZ, np.float32)
    result = classify(wav(tmp_path / "a.wav", tone("low", 6), rest), long)
    assert result.probabilities is not None
    assert classify(wav(tmp_path / "b.wav", rest[: 5 * RATE_HZ]), long).probabilities is None
    assert classify(wav(tmp_path / "c.wav", rest), long).probabilities is None


def test_a_file_shorter_than_a_frame_is_refused(tmp_path, long):
    with pytest.raises(AudioError, match="at least 512 samples at 8000 Hz, the file has 100"):
        classify(wav(tmp_path / "a.wav", tone("low", 100 / RATE_HZ)), long)


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "no such file"), (b"", "empty"), (b"hello, this is text\n" * 50, "audio"), (b"RIFF\0\0", "audio")],
)
def test_what_is_no_audio_is_refused_in_one_sentence(tmp_path, scorer, content, says):
    path = tmp_path / "x.mp3"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AudioError, match=says) as caught:
        classify(path, scorer)
    assert "\n" not in str(caught.value)


def test_a_damaged_middle_costs_only_itself(tmp_path, scorer):
    import av

    path = tmp_path / "a.mp3"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mp3", rate=44_100, layout="mono")
        samples = (tone("low", 8, rate_hz=44_100) * 32_767).astype(np.int16)[np.newaxis]
        frame = av.AudioFrame.from_ndarray(samples, format="s16p", layout="mono")
        frame.sample_rate = 44_100
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3_000] = np.random.default_rng(0).bytes(3_000)
    path.write_bytes(data)
    result = classify(path, scorer)
    assert result.label == "low"
    assert result.seconds > 6


def test_every_head_has_its_answer(tmp_path):
    scorer = OnnxScorer(save_toy(tmp_path / "two.onnx", toy_card(others=("hush",))))
    said = classify(wav(tmp_path / "low.wav", tone("low", 6)), scorer).to_json()
    assert list(said["heads"]) == ["pitch", "hush"]
    assert said["heads"]["pitch"] == {key: said[key] for key in ("label", "confidence", "probabilities")}
    hush = said["heads"]["hush"]["probabilities"]
    assert min(hush, key=hush.get) == said["label"] == "low"
    quiet = classify(wav(tmp_path / "rest.wav", np.zeros(6 * RATE_HZ, np.float32)), scorer).to_json()
    assert quiet["heads"]["hush"] == {"label": None, "confidence": None, "probabilities": None}


def test_a_question_that_a_file_does_not_mean_has_no_label(tmp_path, capsys):
    card = toy_card(others=("hush",), given=Given(head="hush", label="low"))
    titled = tuple(head.model_copy(update={"titles": {"high": "shrill"}}) for head in card.heads)
    only_without_low = card.model_copy(update={"heads": titled})
    scorer = OnnxScorer(save_toy(tmp_path / "given.onnx", only_without_low))
    meant, other = tone("high", 6) + tone("middle", 6, level=0.02), tone("low", 9) + tone("middle", 9, level=0.02)
    high = classify(wav(tmp_path / "high.wav", meant), scorer)
    assert (high.label, high.heads[0].instead, high.heads[1].label) == ("high", None, "low")
    low = classify(wav(tmp_path / "low.wav", other), scorer)
    assert (low.label, low.probabilities, low.heads[0].instead) == (None, None, "high")
    assert {segment.label for segment in low.segments} == {None}
    *_, last = low.to_json()["segments"]
    assert (last["state"], last["instead"]) == ("unsure", "high")
    assert all("instead" not in segment for segment in high.to_json()["segments"] if segment["label"])
    both = classify(wav(tmp_path / "both.wav", meant, other), scorer)
    assert (both.label, both.heads[0].instead) == (None, "high")
    assert both.heads[0].probabilities.argmax() == LABELS.index("high")  # what was meant was so
    assert {segment.label for segment in both.segments} == {None, "high"}
    assert both.segments[-1].instead == "high"
    genrescope.app(
        ["classify", "--model", str(tmp_path / "given.onnx"), str(tmp_path / "low.wav")], standalone_mode=False
    )
    (_, row) = capsys.readouterr().out.splitlines()
    assert "shrill, no pitch" in row
    # When it was what, for people who would look for it in the file.
    assert re.search(r"shrill \d+-9 s\s*$", row)
    # A program that reads the table finds the file by its name, however long.
    assert str(tmp_path / "low.wav") in row
