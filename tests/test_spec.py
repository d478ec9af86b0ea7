import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from toy import SPEC, toy_card

from models.errors import ModelFileError
from models.frontend import features
from models.spec import FORMAT_VERSION, FileDecision, Given, Head, LogMel, Magnitude, Mfcc, ModelCard, Raw


def test_card_survives_json():
    card = toy_card()
    assert ModelCard.from_json(card.to_json()) == card


@given(st.integers(1, 500))
def test_samples_and_frames_are_inverse(frames: int):
    samples = SPEC.samples_for(frames)
    assert SPEC.frames_in(samples) == frames
    assert SPEC.frames_in(samples - 1) == frames - 1


def test_the_papers_window_is_2_82_seconds():
    at_44k = LogMel(sample_rate_hz=44_100, n_fft=3072, hop_samples=1536, n_mels=40, fmax_hz=22_050)
    assert at_44k.samples_for(80) == 124_416
    assert at_44k.samples_for(80) / 44_100 == pytest.approx(2.82, abs=0.005)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda card: card.pop("heads"), "heads"),
        (lambda card: card.update(windoww=1), "windoww"),
        (lambda card: card["inputs"][0].update(kind="wavelet"), "inputs"),
        (lambda card: card["inputs"][0].update(n_mfcc=5), "n_mfcc"),
        (lambda card: card["inputs"].append(card["inputs"][0] | {"hop_samples": 128}), "keep step"),
        (lambda card: card.update(format_version=0), "reads 1 to"),
        (lambda card: card["inputs"][0].update(fmax_hz=9e9), "fmax_hz"),
        (lambda card: card["heads"][0].update(labels=["a", "a"]), "distinct"),
        (lambda card: card.update(format_version=FORMAT_VERSION + 1), "upgrade genrescope"),
        (lambda card: card.pop("format_version"), "format_version"),
        (lambda card: card["heads"][0].update(given={"head": "kind", "label": "music"}), "kind=music"),
        (lambda card: card["heads"][0].update(given={"head": "pitch", "label": "low"}), "pitch=low"),
        (lambda card: card["heads"][0].update(given={"head": "hush", "label": "lowest"}), "hush=lowest"),
        (lambda card: card.update(novelty={"heads": ["mood"], "weights": [[1.0]], "bias": 0.0}), "got mood"),
        (lambda card: card.update(novelty={"heads": ["hush"], "weights": [[1.0]], "bias": 0.0}), "3 x 3 weights"),
        (lambda card: card.update(novelty={"heads": ["hush"], "weights": [[1.0]] * 3, "bias": 0.0}), r"got \(3, 1\)"),
        (lambda card: card["heads"][0].update(spread=1.0), "spread"),
    ],
)
def test_a_card_that_is_wrong_is_refused_by_name(change, says):
    fields = json.loads(toy_card(others=("hush",)).to_json())
    change(fields)
    with pytest.raises(ModelFileError, match=says):
        ModelCard.from_json(json.dumps(fields))


def test_text_that_is_no_card_is_refused():
    for text in ("", "{", "[]", "3"):
        with pytest.raises(ModelFileError):
            ModelCard.from_json(text)


def test_what_may_be_heard_instead_is_what_the_first_head_is_not_for():
    assert toy_card().instead == ()
    kind = Head(name="kind", labels=("silence", "music", "speech"))
    genre = Head(name="genre", labels=("a", "b"), given=Given(head="kind", label="music"))
    assert toy_card().model_copy(update={"heads": (genre, kind)}).instead == ("silence", "speech")


def test_leave_above_enter_is_refused():
    with pytest.raises(ValidationError, match="leave"):
        Head(name="genre", labels=("a", "b"), enter=0.3, leave=0.4)


def test_labels_are_shown_by_their_titles_or_without_underscores():
    genre = Head(name="genre", labels=("pop_rock", "rnb", "hip_hop"), titles={"rnb": "R&B"})
    mood = Head(name="mood", labels=("Q1", "Q2"), titles={"Q1": "happy"})
    card = toy_card().model_copy(update={"heads": (genre, mood)})
    assert [genre.shown(label) for label in genre.labels] == ["pop rock", "R&B", "hip hop"]
    assert [card.shown(label) for label in ("rnb", "Q1", "Q2")] == ["R&B", "happy", "Q2"]
    assert card.titles == {"rnb": "R&B", "Q1": "happy"}
    assert ModelCard.from_json(card.to_json()).titles == card.titles


@pytest.mark.parametrize(
    ("titles", "says"),
    [
        ({"funk": "Funk"}, "got one of funk"),
        ({"a_b": "c"}, "different words"),
        ({"c": "a b"}, "different words"),
        ({"c": ""}, "at least 1 character"),
    ],
)
def test_titles_that_mislead_are_refused(titles, says):
    with pytest.raises(ValidationError, match=says):
        Head(name="genre", labels=("a_b", "c"), titles=titles)


def test_labels_that_look_alike_are_read_where_nobody_gave_them_titles():
    assert Head(name="genre", labels=("a_b", "a b")).shown("a_b") == "a b"


def test_two_heads_show_a_label_alike():
    fields = toy_card(others=("hush",)).model_dump()
    label = fields["heads"][0]["labels"][0]
    fields["heads"][0]["titles"] = {label: "something else"}
    with pytest.raises(ValidationError, match="shown alike by all heads"):
        ModelCard.model_validate(fields)
    fields["heads"][1]["titles"] = {label: "something else"}
    assert ModelCard.model_validate(fields).shown(label) == "something else"


def test_a_card_of_the_first_format_is_read():
    fields = json.loads(toy_card().to_json()) | {"format_version": 1}
    for new in ("decision",):
        del fields[new]
    for new in ("centred", "unit"):
        del fields["inputs"][0][new]
    del fields["window"]["short"], fields["heads"][0]["given"], fields["heads"][0]["titles"]
    assert ModelCard.from_json(json.dumps(fields)) == toy_card()


def test_a_card_of_the_fifth_format_is_read_without_what_is_told_otherwise_now():
    fields = json.loads(toy_card().to_json())
    fields["format_version"] = 5
    del fields["novelty"]
    fields["heads"][0]["spread"] = 1.25
    assert ModelCard.from_json(json.dumps(fields)) == toy_card()
    for broken in (None, 3, [None], [[]]):
        with pytest.raises(ModelFileError, match="heads"):
            ModelCard.from_json(json.dumps(fields | {"heads": broken}))


def test_the_papers_centred_frames():
    magnitude = Magnitude(sample_rate_hz=44_100, n_fft=2048, hop_samples=1024, centred=True)
    assert magnitude.bands == 1025
    assert features(np.zeros(10**6, np.float32), magnitude).shape == (977, 1025)
    assert features(np.zeros(131_072, np.float32), magnitude).shape == (129, 1025)
    raw = Raw(sample_rate_hz=44_100, n_fft=1024, hop_samples=1024)
    assert [spec.samples_for(129) for spec in (magnitude, raw)] == [129 * 1024] * 2


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Raw(sample_rate_hz=8_000, n_fft=512, hop_samples=256), "side by side"),
        (lambda: Magnitude(sample_rate_hz=8_000, n_fft=512, hop_samples=300, centred=True), "centred"),
        (lambda: Magnitude(sample_rate_hz=8_000, n_fft=512, hop_samples=600), "hop_samples <= n_fft"),
        (lambda: Mfcc(sample_rate_hz=8_000, n_fft=512, hop_samples=256, n_mels=12, fmax_hz=4_000, n_mfcc=13), "n_mfcc"),
        (lambda: FileDecision(windows="random"), "count"),
        (lambda: FileDecision(windows="first", overlap=0.5), "overlap"),
        (lambda: FileDecision(windows="first", slices=2), "slices"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(make, says):
    with pytest.raises(ValidationError, match=says):
        make()
