"""Training that begins with a model: everything of it but the answers that are not asked for again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from labelled_audio import write_table
from network_checks import on_meta
from tiny_training import tiny

import genrescope
from models.architectures import ARCHITECTURES, build
from models.errors import ConfigError, ModelFileError
from models.example_windows import noise_windows
from models.scorer import load_scorer
from models.scorer_kind import ScorerKind
from models.spec import Head, ModelCard, Provenance
from train.export import export, put_card
from train.module import TrainingModule
from train.recipes import make_recipe
from train.start import describe, start_from

GENRE, MOOD = Head(name="genre", labels=("a", "b", "c")), Head(name="mood", labels=("calm", "tense"))


def card(*heads: Head, name: str = "base", **settings: object) -> ModelCard:
    recipe = make_recipe(name, settings)
    provenance = Provenance(data="", protocol="", epochs=0, seed=0, commit="", licence="")
    return recipe.card(name="test", heads=heads, provenance=provenance)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("model") / "model.onnx"
    torch.manual_seed(1)
    ours = card(GENRE, MOOD)
    network = build(ours)
    network.normalise.mean.fill_(-2.0)
    export(network, ours, path, windows=noise_windows(ours))
    return path


def test_the_trunk_and_the_heads_of_the_same_labels_are_taken_over(model: Path) -> None:
    torch.manual_seed(2)
    before = load_scorer(model, ScorerKind.ONNX)
    others = card(Head(name="genre", labels=("x", "y")), MOOD)
    network = build(others).eval()
    fresh = {name: values.clone() for name, values in network.state_dict().items()}
    start_from(network, others, model)
    assert (network.normalise.mean == -2.0).all()
    torch.testing.assert_close(network.heads[0].weight, fresh["heads.0.weight"])
    windows = noise_windows(others)
    with torch.no_grad():
        mood = network(torch.from_numpy(windows[0]))["mood"].softmax(1)
    torch.testing.assert_close(mood.numpy(), before.score(windows)["mood"], atol=1e-4, rtol=0)


def test_heads_are_known_by_their_names_not_their_places(model: Path) -> None:
    only = card(MOOD)
    network = build(only).eval()
    start_from(network, only, model)
    windows = noise_windows(only)
    with torch.no_grad():
        mood = network(torch.from_numpy(windows[0]))["mood"].softmax(1)
    expected = load_scorer(model, ScorerKind.ONNX).score(windows)["mood"]
    torch.testing.assert_close(mood.numpy(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_network_keeps_its_answers_under_the_name_of_heads(name: str) -> None:
    recipe = make_recipe(name)
    network = on_meta(name, *((spec.bands, recipe.window_spec.frames) for spec in recipe.inputs))
    assert sorted(key for key in network.state_dict() if key.startswith("heads.")) == ["heads.0.bias", "heads.0.weight"]


@pytest.mark.parametrize(
    ("ours", "says"),
    [
        (card(GENRE, name="lidy-timbral"), "same network.*lidy-timbral.*base"),
        (card(GENRE, width=24), "same network.*24.*16"),
        (card(GENRE, n_mels=64), "same features"),
    ],
)
def test_another_network_or_other_features_are_refused(model: Path, ours: ModelCard, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        start_from(build(ours), ours, model)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    with pytest.raises(ModelFileError):
        start_from(build(card(GENRE)), card(GENRE), tmp_path / "model.onnx")


def test_a_checkpoint_of_another_start_is_another_training(model: Path) -> None:
    fresh = tiny("base")
    started = TrainingModule(
        fresh.card, fresh.recipe, training=fresh.training_frames, validation=None, seed=0, start=model
    )
    assert fresh.identity()["start"] == "fresh weights"
    assert started.identity()["start"].startswith("model.onnx (digest: ")


def test_figures_that_are_put_into_a_model_later_leave_it_the_same_start(tmp_path: Path, model: Path) -> None:
    for name in ("calibrated", "other"):
        (tmp_path / name).mkdir()
        shutil.copy(model, tmp_path / name / "model.onnx")
    calibrated, other = (tmp_path / name / "model.onnx" for name in ("calibrated", "other"))
    put_card(calibrated, card(GENRE, MOOD).model_copy(update={"metrics": {"file_accuracy": 0.5}}))
    assert describe(calibrated) == describe(model)
    torch.manual_seed(3)
    export(build(card(GENRE, MOOD)), card(GENRE, MOOD), other, windows=noise_windows(card(GENRE, MOOD)))
    assert describe(other) != describe(model)


def test_train_starts_from_a_model_of_other_labels(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_table(tmp_path / "music")
    arguments = ["train", "--table", table, "--recipe", "base", "--epochs", 1, "--output", tmp_path / "out"]
    arguments += ["--cache", tmp_path / "cache", "--workers", 0, "--set", "segments_per_file=2", "--start-from", model]
    missing = [str(argument) for argument in arguments]
    missing[missing.index(str(model))] = str(tmp_path / "missing.onnx")
    with pytest.raises(ModelFileError):
        genrescope.app(missing, standalone_mode=False)
    assert not (tmp_path / "out").exists()  # so that the same --output can be given again
    genrescope.app([str(argument) for argument in [*arguments, "--lr", "1e-6"]], standalone_mode=False)
    assert "heads: genre begun anew" in capsys.readouterr().err
    ours, theirs = (load_scorer(path, ScorerKind.TORCH) for path in (tmp_path / "out" / "model.onnx", model))
    assert "; begun with the weights of model.onnx (digest: " in ours.card.provenance.protocol
    for name in ("stem.weight", "normalise.mean"):
        torch.testing.assert_close(
            ours._network.state_dict()[name], theirs._network.state_dict()[name], atol=1e-3, rtol=0
        )
