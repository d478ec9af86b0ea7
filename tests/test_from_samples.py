from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import scipy.io.wavfile
from hypothesis import given
from hypothesis import strategies as st
from networks import export_random
from onnx import TensorProto, helper
from toy import RATE_HZ, SPEC, save_toy, tone, toy_card, toy_graph

from models.errors import AudioError, ModelFileError
from models.from_samples import FRONT_END, from_samples
from models.frontend import features
from models.model_file import CARD_KEY, open_model
from models.onnx_scorer import OnnxScorer
from models.precision import HEAVY, census, in_precision
from models.precision_kind import Precision
from models.scorer import DEFAULT_MODEL, WindowBatch, load_scorer
from models.scorer_kind import ScorerKind
from models.spec import FeatureSpec, LogMel, Magnitude, Mfcc, ModelCard, Raw
from stream.classify import classify

BASE = LogMel(sample_rate_hz=16_000, n_fft=1024, hop_samples=320, n_mels=80, fmax_hz=8_000, floor=1e-6)
DECIBELS = LogMel(
    sample_rate_hz=16_000, n_fft=1000, hop_samples=160, n_mels=23, fmin_hz=60, fmax_hz=7_600, unit="dB", centred=True
)
MFCC = Mfcc(sample_rate_hz=22_050, n_fft=2048, hop_samples=1024, n_mels=64, fmax_hz=11_025, n_mfcc=13, centred=True)
STFT = Magnitude(sample_rate_hz=22_050, n_fft=512, hop_samples=256, centred=True)
RAW = Raw(sample_rate_hz=22_050, n_fft=256, hop_samples=256)
CARDS = {
    "log-mel": toy_card(BASE, frames=9),
    "dB": toy_card(DECIBELS, frames=9),
    "mfcc": toy_card(MFCC, frames=9),
    "stft": toy_card(STFT, frames=9),
    "two": toy_card(STFT, RAW, frames=9),
}
TOLERANCE = {"dB": 1e-2, "mfcc": 1e-2 * np.sqrt(64), "stft": 1e-3, "raw": 0.0}
"""Of features; a cepstral coefficient sums up as many decibels as there are bands. Else 1e-3 of log10."""


def sounds(samples: int, rate_hz: int) -> dict[str, np.ndarray]:
    """What music, and what is hard, sounds like: (samples,) each."""
    rng = np.random.default_rng(5)
    at = np.arange(samples) / rate_hz
    chord = sum(
        np.sin(2 * np.pi * hz * overtone * at + rng.uniform(0, 6)) / overtone**1.5
        for hz in (110.0, 220.0, 277.2, 329.6)
        for overtone in range(1, 20)
    )
    music = 0.2 * chord * np.exp(-6 * (at % 0.5)) + 0.2 * rng.standard_normal(samples) * np.exp(-60 * (at % 0.25))
    broken_off = music.copy()
    broken_off[samples // 3 : samples // 2] = 0.0
    all_sounds = {
        "music": music,
        "clipped": np.clip(10 * music, -1, 1),
        "60 dB softer": 1e-3 * music,
        "broken off": broken_off,
        "noise": 0.3 * rng.standard_normal(samples),
        "silence": np.zeros(samples),
    }
    return {name: sound.astype(np.float32) for name, sound in all_sounds.items()}


def both_windows(old: ModelCard, new: ModelCard) -> tuple[WindowBatch, WindowBatch]:
    """Windows from the middle of streams as live audio cuts them for the one model and for the other: the frames that
    are complete at the same moment."""
    (raw,) = new.inputs
    seen: list[tuple[np.ndarray, ...]] = []
    heard: list[np.ndarray] = []
    for sound in sounds(new.window_samples + 5 * raw.hop_samples, raw.sample_rate_hz).values():
        frames = [features(sound, spec) for spec in old.inputs]
        for end in (new.window_samples, len(sound)):
            complete = old.clock.frames_in(end)
            seen.append(tuple(each[complete - old.window.frames : complete].T for each in frames))
            heard.append(features(sound[:end], raw)[-new.window.frames :].T)
    return tuple(np.stack(each) for each in zip(*seen, strict=True)), (np.stack(heard),)


def saved(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "samples.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@dataclass(frozen=True)
class Toy:
    """A toy model, the same from samples, and windows of sound for either."""

    model: onnx.ModelProto
    old: OnnxScorer
    new: OnnxScorer
    seen: WindowBatch
    heard: WindowBatch


@pytest.fixture(scope="module", params=CARDS.values(), ids=CARDS.keys())
def toy(request, tmp_path_factory) -> Toy:
    folder, card = tmp_path_factory.mktemp("toy"), request.param
    model, new = from_samples(toy_graph(card).SerializeToString(), card)
    old = OnnxScorer(save_toy(folder / "toy.onnx", card))
    return Toy(model, old, OnnxScorer(saved(folder, model)), *both_windows(card, new))


def test_the_graph_works_out_the_features_of_live_audio(toy: Toy):
    # The toy begins with a mean over the frames of each input.
    made = [node.input[0] for node in toy.model.graph.node if node.op_type == "ReduceMean"]
    open_inside = onnx.ModelProto()
    open_inside.CopyFrom(toy.model)
    open_inside.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in made)
    session = onnxruntime.InferenceSession(open_inside.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(made, dict(zip(["features"], toy.heard, strict=True)))
    for spec, one, expected in zip(toy.old.card.inputs, found, toy.seen, strict=True):
        np.testing.assert_allclose(one, expected, rtol=0, atol=TOLERANCE.get(getattr(spec, "unit", spec.kind), 1e-3))


@given(count=st.integers(1, 12))
def test_any_batch_has_the_old_probabilities(toy: Toy, count: int):
    found = toy.new.score(tuple(each[:count] for each in toy.heard))["pitch"]
    expected = toy.old.score(tuple(each[:count] for each in toy.seen))["pitch"]
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.fixture(scope="module", params=["genrescope-base", "benito-both"])
def network(request, tmp_path_factory) -> Path:
    """A model file with a real network: with its weights, and with random ones, of two inputs."""
    if request.param == "genrescope-base":
        return DEFAULT_MODEL
    return export_random(tmp_path_factory.mktemp("network") / "random.onnx", request.param)


def test_real_networks_answer_as_before(tmp_path, network):
    old = OnnxScorer(network)
    model, card = from_samples(network.read_bytes(), old.card)
    new = OnnxScorer(saved(tmp_path, model))
    assert new.card == card
    seen, heard = both_windows(old.card, card)
    expected, found = old.score(seen), new.score(heard)
    for head in card.heads:
        np.testing.assert_allclose(found[head.name], expected[head.name], atol=1e-3)


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.INT8])
def test_the_front_end_stays_in_single_precision(tmp_path, network, precision):
    _, card = open_model(network)
    model, new = from_samples(network.read_bytes(), card)
    seen, heard = both_windows(card, new)
    typed = in_precision(model.SerializeToString(), new, precision, windows=heard)
    onnx.checker.check_model(typed, full_check=True)
    found = census(typed)
    assert {kind for op, kind in found if op in HEAVY} == {precision}
    assert {kind for op, kind in found if op.removeprefix(FRONT_END) in HEAVY and op not in HEAVY} == {"fp32"}
    # The same from a network that was in that precision before.
    before = in_precision(network.read_bytes(), card, precision, windows=seen).SerializeToString()
    joined, _ = from_samples(before, card)
    answers = [OnnxScorer(saved(tmp_path, each)).score(heard) for each in (typed, joined)]
    (tmp_path / "before.onnx").write_bytes(before)
    plain = OnnxScorer(tmp_path / "before.onnx").score(seen)
    for head in card.heads:
        for each in answers:
            # Where features round to another eight-bit number, as much differs as that number does.
            np.testing.assert_allclose(
                each[head.name], plain[head.name], atol={Precision.FP16: 1e-3, Precision.INT8: 0.05}[precision]
            )


def test_the_file_is_a_model_like_any_other(tmp_path):
    old = OnnxScorer(DEFAULT_MODEL).card
    before = onnx.load(DEFAULT_MODEL)
    model, card = from_samples(DEFAULT_MODEL.read_bytes(), old)
    onnx.checker.check_model(model, full_check=True)
    assert open_model(saved(tmp_path, model))[1] == card
    # The seal was of the other file.
    assert [entry.key for entry in model.metadata_props] == [CARD_KEY]
    assert model.opset_import == before.opset_import
    assert model.graph.output == before.graph.output
    weights = [tensor for tensor in model.graph.initializer if not tensor.name.startswith(FRONT_END)]
    assert weights == list(before.graph.initializer)
    assert card.inputs == (Raw(sample_rate_hz=16_000, n_fft=320, hop_samples=320),)
    assert 0 <= card.window_samples - old.window_samples < 320
    changed = {"description", "architecture", "inputs", "normalisation", "window"}
    assert card.model_dump(exclude=changed) == old.model_dump(exclude=changed)
    assert card.window.hop_frames == old.window.hop_frames
    assert old.hears in card.description
    assert old.normalisation in card.normalisation


def test_torch_says_that_it_knows_no_such_network(tmp_path, network):
    model, _ = from_samples(network.read_bytes(), open_model(network)[1])
    with pytest.raises(ModelFileError, match="from-samples"):
        load_scorer(saved(tmp_path, model), ScorerKind.TORCH)


def wav(path: Path, samples: np.ndarray, rate_hz: int = RATE_HZ) -> Path:
    scipy.io.wavfile.write(path, rate_hz, samples)
    return path


def test_a_file_is_what_it_was(tmp_path):
    old = OnnxScorer(DEFAULT_MODEL)
    new = OnnxScorer(saved(tmp_path, from_samples(DEFAULT_MODEL.read_bytes(), old.card)[0]))
    # Long enough for as many windows of either.
    samples = new.card.window_samples + 5 * new.card.window.hop_frames * 320
    file = wav(tmp_path / "music.wav", sounds(samples, 16_000)["music"], 16_000)
    expected, found = (classify(file, scorer) for scorer in (old, new))
    assert found.label == expected.label
    assert [head.label for head in found.heads] == [head.label for head in expected.heads]
    assert [(one.label, one.state) for one in found.segments] == [(one.label, one.state) for one in expected.segments]
    for one, other in zip(found.heads, expected.heads, strict=True):
        assert (one.probabilities is None) == (other.probabilities is None)
        if one.probabilities is not None:
            np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-3)


CENTRED = SPEC.model_copy(update={"centred": True})


@pytest.mark.parametrize("spec", [SPEC, CENTRED], ids=["side by side", "centred"])
def test_sound_shorter_than_the_window_is_repeated_where_frames_were(tmp_path, spec: FeatureSpec):
    card = toy_card(spec, frames=100, short="tile")
    old = OnnxScorer(save_toy(tmp_path / "toy.onnx", card))
    new = OnnxScorer(saved(tmp_path, from_samples(toy_graph(card).SerializeToString(), card)[0]))
    file = wav(tmp_path / "short.wav", np.concatenate([tone("low", 0.4), tone("high", 0.7)]))
    expected, found = (classify(file, scorer) for scorer in (old, new))
    assert found.label == expected.label == "high"
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=0.05)


def test_sound_shorter_than_the_window_is_refused_where_it_was(tmp_path):
    card = toy_card()
    new = OnnxScorer(saved(tmp_path, from_samples(toy_graph(card).SerializeToString(), card)[0]))
    with pytest.raises(AudioError, match="at least the model's window"):
        classify(wav(tmp_path / "short.wav", tone("low", 1)), new)


def test_there_must_be_features_to_work_out(tmp_path):
    card = toy_card(RAW, frames=9)
    with pytest.raises(ModelFileError, match=r"it takes 256 samples x 9 frames .*: use it as it is"):
        from_samples(toy_graph(card).SerializeToString(), card)
    model, new = from_samples(toy_graph(CARDS["two"]).SerializeToString(), CARDS["two"])
    with pytest.raises(ModelFileError, match="use it as it is"):
        from_samples(model.SerializeToString(), new)


def test_the_card_must_be_the_models(tmp_path):
    with pytest.raises(ModelFileError, match=r"inputs \['features_0', 'features_1'\], its graph has \['features'\]"):
        from_samples(toy_graph(CARDS["stft"]).SerializeToString(), CARDS["two"])
