import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from toy import SPEC, toy_card

from models.errors import ModelFileError
from models.spec import FORMAT_VERSION, FeatureSpec, Head, ModelCard


def test_card_survives_json():
    card = toy_card()
    assert ModelCard.from_json(card.to_json()) == card


@given(st.integers(1, 500))
def test_samples_and_frames_are_inverse(frames: int):
    samples = SPEC.samples_for(frames)
    assert SPEC.frames_in(samples) == frames
    assert SPEC.frames_in(samples - 1) == frames - 1


def test_the_papers_window_is_2_82_seconds():
    at_44k = FeatureSpec(sample_rate_hz=44_100, n_fft=3072, hop_samples=1536, n_mels=40, fmax_hz=22_050)
    assert at_44k.samples_for(80) == 124_416
    assert at_44k.samples_for(80) / 44_100 == pytest.approx(2.82, abs=0.005)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda card: card.pop("heads"), "heads"),
        (lambda card: card.update(windoww=1), "windoww"),
        (lambda card: card["inputs"][0].update(kind="wavelet"), "kind"),
        (lambda card: card["inputs"][0].update(fmax_hz=9e9), "fmax_hz"),
        (lambda card: card["heads"][0].update(labels=["a", "a"]), "distinct"),
        (lambda card: card.update(format_version=FORMAT_VERSION + 1), "upgrade genrescope"),
        (lambda card: card.pop("format_version"), "format_version"),
    ],
)
def test_a_card_that_is_wrong_is_refused_by_name(change, says):
    fields = json.loads(toy_card().to_json())
    change(fields)
    with pytest.raises(ModelFileError, match=says):
        ModelCard.from_json(json.dumps(fields))


def test_text_that_is_no_card_is_refused():
    for text in ("", "{", "[]", "3"):
        with pytest.raises(ModelFileError):
            ModelCard.from_json(text)


def test_leave_above_enter_is_refused():
    with pytest.raises(ValidationError, match="leave"):
        Head(name="genre", labels=("a", "b"), enter=0.3, leave=0.4)
