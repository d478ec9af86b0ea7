from pathlib import Path

import numpy as np
import pytest
import scipy.io.wavfile
from toy import RATE_HZ, save_toy, tone

from models.errors import AudioError
from models.onnx_scorer import OnnxScorer
from stream.classify import classify
from stream.events import VerdictState


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
