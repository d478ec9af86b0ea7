import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper
from toy import save_toy, toy_card

from models.errors import ModelFileError
from models.model_file import CARD_KEY, open_model
from models.onnx_scorer import OnnxScorer
from models.scorer import DEFAULT_MODEL
from models.seal import SEAL_KEY, require_unbroken, sealed
from train.export import put_card


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_toy(tmp_path_factory.mktemp("toy") / "toy.onnx").read_bytes()


def test_a_sealed_file_is_an_onnx_model_like_any_other(tmp_path, model):
    path = tmp_path / "toy.onnx"
    path.write_bytes(sealed(model))
    read = onnx.load(path)
    onnx.checker.check_model(read)
    assert [entry.key for entry in read.metadata_props] == [CARD_KEY, SEAL_KEY]
    _, card = open_model(path)
    assert card == toy_card()


def test_a_file_that_never_had_a_seal_opens(tmp_path, model):
    path = tmp_path / "toy.onnx"
    path.write_bytes(model)
    _, card = open_model(path)
    assert card == toy_card()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bytes_anywhere_are_seen(model, data):
    whole = sealed(model)
    at = data.draw(st.integers(0, len(whole) - 1) | st.integers(len(whole) - 100, len(whole) - 1))
    length = data.draw(st.integers(1, 8))
    flips = data.draw(st.integers(1, 255))
    damaged = whole[:at] + bytes(byte ^ flips for byte in whole[at : at + length]) + whole[at + length :]
    require_unbroken(whole)
    with pytest.raises(ModelFileError, match="not those that were written"):
        require_unbroken(damaged)


def test_weights_that_are_damaged_but_run_are_refused(tmp_path):
    # The toy's weights as they stand in the file: other finite numbers there load and score as if nothing were.
    path = save_toy(tmp_path / "toy.onnx")
    weights = max(onnx.load(path).graph.initializer, key=lambda tensor: len(tensor.raw_data)).raw_data
    plain = path.read_bytes()
    at = plain.index(weights)
    damaged = plain[:at] + np.roll(np.frombuffer(weights, np.float32), 5).tobytes() + plain[at + len(weights) :]
    path.write_bytes(damaged)
    OnnxScorer(path)  # without a seal nobody can tell
    path.write_bytes(damaged + sealed(plain)[len(plain) :])
    with pytest.raises(ModelFileError, match=r"toy\.onnx: its bytes are not those that were written"):
        OnnxScorer(path)


def test_another_card_seals_anew_but_never_what_is_damaged(tmp_path, model):
    path = tmp_path / "toy.onnx"
    path.write_bytes(sealed(model))
    measured = toy_card().model_copy(update={"metrics": {"file_accuracy": 0.5}})
    for _ in range(2):
        put_card(path, measured)
        _, card = open_model(path)
        assert card == measured
    assert [entry.key for entry in onnx.load(path).metadata_props] == [CARD_KEY, SEAL_KEY]
    whole = path.read_bytes()
    path.write_bytes(whole[:50] + bytes([whole[50] ^ 1]) + whole[51:])
    with pytest.raises(ModelFileError, match="not those that were written"):
        put_card(path, toy_card())


def test_a_model_that_another_program_has_changed_is_refused(tmp_path, model):
    path = tmp_path / "toy.onnx"
    path.write_bytes(sealed(model))
    changed = onnx.load(path)
    changed.graph.node.append(helper.make_node("Identity", [changed.graph.output[0].name], ["more"]))
    onnx.save(changed, path)
    with pytest.raises(ModelFileError, match="changed by another program"):
        open_model(path)


def test_the_shipped_model_is_sealed():
    assert SEAL_KEY.encode() in DEFAULT_MODEL.read_bytes()[-100:]
    open_model(DEFAULT_MODEL)
