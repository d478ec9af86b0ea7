import numpy as np
import onnx
import pytest
import torch
from networks import export_random, random_card, random_network, random_windows

from models.errors import ModelFileError
from models.example_windows import noise_windows
from models.frontend import features
from models.model_file import CARD_KEY, input_names, open_model
from models.scorer import DEFAULT_MODEL, load_scorer, windows_at_once
from train.export import OPSET, export, load_checkpoint, put_card


@pytest.mark.parametrize("name", ["lidy-timbral", "lidy-parallel", "lidy-parallel-frequency"])
def test_a_network_becomes_one_checked_file(tmp_path, name):
    network, card = random_network(name)
    path = tmp_path / "model.onnx"
    assert export(network, card, path, windows=random_windows(card, 8)) <= 1e-4
    assert list(tmp_path.iterdir()) == [path]  # no external data, nothing temporary
    _, read = open_model(path)
    assert read == card
    model = onnx.load(path)
    assert [(o.domain, o.version) for o in model.opset_import if o.domain == ""] == [("", OPSET)]
    assert [node.name for node in model.graph.input] == input_names(card)
    assert [node.name for node in model.graph.output] == ["genre"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param  # any batch
    assert {tensor.name for tensor in model.graph.initializer} >= set(network.state_dict())


def test_the_file_gives_the_networks_own_logits(tmp_path):
    network, card = random_network()
    session, _ = open_model(export_random(tmp_path / "model.onnx"))
    windows = random_windows(card, 5)
    with torch.inference_mode():
        expected = network.eval()(*map(torch.from_numpy, windows))["genre"].numpy()
    np.testing.assert_allclose(
        session.run(["genre"], dict(zip(input_names(card), windows, strict=True)))[0], expected, atol=1e-4
    )


def test_a_network_that_runs_differently_elsewhere_is_not_written(tmp_path, monkeypatch):
    network, card = random_network()
    monkeypatch.setattr("train.export.PARITY", -1.0)
    path = tmp_path / "model.onnx"
    path.write_bytes(b"the one before")
    with pytest.raises(ModelFileError, match="differ by"):
        export(network, card, path, windows=random_windows(card, 2))
    assert path.read_bytes() == b"the one before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["lidy-timbral", "veselinov-simple", "benito-both"])
def test_without_music_the_runtimes_are_compared_on_the_features_of_noise(name):
    card = random_card(name)
    windows = noise_windows(card)
    assert [each.shape[1:] for each in windows] == list(card.input_shapes)
    assert len({len(each) for each in windows}) == 1
    assert 1 < len(windows[0]) <= windows_at_once(card)
    assert all(each.dtype == np.float32 and np.isfinite(each).all() for each in windows)
    if name == "benito-both":
        magnitude, raw = windows
        # In step: both are of the same noise, the loudest first, and the samples are those of the frames before them.
        assert magnitude.mean(axis=(1, 2)).argmax() == raw.std(axis=(1, 2)).argmax() == 0
        wave = raw[0].T.ravel()
        np.testing.assert_allclose(features(wave, card.inputs[0])[2:100], magnitude[0].T[2:100], atol=1e-3)


def checkpoint(**changes):
    network, card = random_network()
    weights = {f"network.{name}": values for name, values in network.state_dict().items()}
    return {CARD_KEY: card.to_json(), "state_dict": weights, **changes}


def test_a_checkpoint_gives_back_network_and_card(tmp_path):
    torch.save(checkpoint(), tmp_path / "a.ckpt")
    network, card = load_checkpoint(tmp_path / "a.ckpt")
    expected, expected_card = random_network()
    assert card == expected_card
    assert not network.training
    windows = tuple(map(torch.from_numpy, random_windows(card, 2)))
    assert torch.equal(network(*windows)["genre"], expected.eval()(*windows)["genre"])


class Evil:
    def __reduce__(self):
        return (print, ("code from a file ran",))


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": {}},
        {CARD_KEY: "{}", "state_dict": {}},
        checkpoint(state_dict={"network.hidden.weight": torch.zeros(3)}),
        checkpoint(evil=Evil()),
    ],
    ids=["no card", "no valid card", "other weights", "code"],
)
def test_a_foreign_checkpoint_is_refused_and_never_run(tmp_path, capsys, content):
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(ModelFileError):
        load_checkpoint(tmp_path / "a.ckpt")
    assert "code from a file ran" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_a_damaged_checkpoint_is_named(tmp_path, content):
    (tmp_path / "a.ckpt").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"a\.ckpt: expected one written by `genrescope train`"):
        load_checkpoint(tmp_path / "a.ckpt")


def test_a_checkpoint_of_damaged_bytes_is_refused_in_one_sentence(tmp_path):
    path = tmp_path / "a.ckpt"
    torch.save(checkpoint(), path)
    whole = bytearray(path.read_bytes())
    pickled = whole.index(b"data.pkl") + 100
    whole[pickled : pickled + 60] = bytes(byte ^ 0x5A for byte in whole[pickled : pickled + 60])
    path.write_bytes(whole)
    with pytest.raises(ModelFileError) as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(ModelFileError, match=r"none\.ckpt: cannot be read"):
        load_checkpoint(tmp_path / "none.ckpt")


def test_a_model_does_not_tell_where_it_was_made(tmp_path):
    made = export_random(tmp_path / "model.onnx").read_bytes()
    for model in (made, DEFAULT_MODEL.read_bytes()):
        assert b"stack_trace" not in model
        assert b"lidy.py" not in model


def test_another_card_leaves_the_network_as_it_is(tmp_path):
    path = export_random(tmp_path / "model.onnx")
    scorer = load_scorer(path)
    windows = random_windows(scorer.card, 3)
    measured = scorer.card.model_copy(update={"metrics": {"file_accuracy": 0.5}})
    put_card(path, measured)
    again = load_scorer(path)
    assert again.card == measured
    np.testing.assert_array_equal(again.score(windows)["genre"], scorer.score(windows)["genre"])
    assert list(tmp_path.iterdir()) == [path]
