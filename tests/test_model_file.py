import json

import numpy as np
import onnx
import pytest
from onnx import helper
from toy import save_toy, toy_card, toy_graph

from models.errors import ModelFileError
from models.model_file import CARD_KEY, open_model
from models.onnx_scorer import OnnxScorer
from models.scorer import FeatureShapeError, load_scorer
from models.spec import FORMAT_VERSION


def test_a_model_brings_its_card(tmp_path):
    _, card = open_model(save_toy(tmp_path / "toy.onnx"))
    assert card == toy_card()


def test_temperature_of_the_card_is_applied(tmp_path):
    card = toy_card()
    hot = card.model_copy(update={"heads": (card.head.model_copy(update={"temperature": 10.0}),)})
    windows = tuple(np.random.default_rng(0).standard_normal((3, *s)).astype(np.float32) for s in card.input_shapes)
    sharp = OnnxScorer(save_toy(tmp_path / "a.onnx", card)).score(windows)["pitch"]
    soft = OnnxScorer(save_toy(tmp_path / "b.onnx", hot)).score(windows)["pitch"]
    expected = sharp**0.1 / (sharp**0.1).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(soft, expected, atol=1e-5)


def newer_card() -> str:
    return json.dumps(json.loads(toy_card().to_json()) | {"format_version": FORMAT_VERSION + 1})


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.unlink(), "cannot be read"),
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:-200]), "not a complete ONNX model"),
        (lambda path: path.write_text("hello"), "not a complete ONNX model"),
        (lambda path: save_toy(path, card_text=""), "without a genrescope card"),
        (lambda path: save_toy(path, card_text=newer_card()), "upgrade genrescope"),
        (lambda path: save_toy(path, card_text="[" * 200_000), "not JSON"),
        (
            lambda path: path.write_bytes(path.read_bytes().replace(b"loudest third", b"loudest\xff third")),
            "metadata|ONNX",
        ),
        (lambda path: save_toy(path, card_text=toy_card(frames=41).to_json()), "shape"),
        (lambda path: save_toy(path, card_text=toy_card().to_json().replace("pitch", "genre")), "outputs"),
        (lambda path: save_toy(path, card_text=toy_card().to_json().replace('"high"', '"high","top"')), "classes"),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_one_sentence(tmp_path, damage, says):
    path = save_toy(tmp_path / "toy.onnx")
    damage(path)
    with pytest.raises(ModelFileError, match=says) as caught:
        load_scorer(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_is_refused_and_the_model_in_it_named(tmp_path):
    with pytest.raises(ModelFileError, match=r"cannot be read, it is a folder; .*there is none"):
        load_scorer(tmp_path)
    path = save_toy(tmp_path / "model.onnx")
    with pytest.raises(ModelFileError) as caught:
        load_scorer(tmp_path)
    assert str(caught.value).endswith(f"; give {path}")


def test_external_data_is_not_followed(tmp_path):
    # A downloaded model must not be able to read files beside it.
    model = toy_graph(toy_card())
    helper.set_model_props(model, {CARD_KEY: toy_card().to_json()})
    path = tmp_path / "toy.onnx"
    onnx.save_model(model, path, save_as_external_data=True, size_threshold=0, location="weights.bin")
    with pytest.raises(ModelFileError, match="not a complete ONNX model"):
        load_scorer(path)


def test_windows_of_another_shape_are_refused(tmp_path):
    scorer = OnnxScorer(save_toy(tmp_path / "toy.onnx"))
    with pytest.raises(FeatureShapeError, match=r"\('n', 12, 40\)\], got \[\(1, 40, 12\)\]"):
        scorer.score((np.zeros((1, 40, 12), np.float32),))
