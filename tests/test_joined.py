"""Several networks that are trained apart and answer together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from labelled_audio import write_table
from networks import random_card, random_windows
from tiny_training import same, weights
from torch import nn

import genrescope
from models.architectures import build, count_parameters
from models.joined import Joined, one_of
from models.model_file import open_model
from models.scorer import load_scorer
from models.scorer_kind import ScorerKind
from models.spec import Head, ModelCard
from train.export import export, load_checkpoint, without_heads
from train.record import read_curves, read_record
from train.run_folder import CURVES_NAME, FINAL, network_name
from train.start import start_from

CARD = random_card("base", networks=3)


@pytest.fixture(scope="module")
def joined() -> Joined:
    torch.manual_seed(0)
    network = build(CARD)
    assert isinstance(network, Joined)
    return network.eval()


@pytest.fixture(scope="module")
def windows() -> torch.Tensor:
    return torch.from_numpy(random_windows(CARD, 2)[0])


def test_the_answer_is_the_mean_of_the_logits(joined: Joined, windows: torch.Tensor) -> None:
    with torch.no_grad():
        each = torch.stack([member(windows)["genre"] for member in joined.members])
        answer = joined(windows)["genre"]
    assert each.std(0).max() > 0.01
    torch.testing.assert_close(answer, each.mean(0))
    assert one_of(CARD).architecture.networks == 1
    assert count_parameters(CARD) == 3 * count_parameters(one_of(CARD))


def test_what_is_embedded_is_answered_likewise(joined: Joined, windows: torch.Tensor) -> None:
    with torch.no_grad():
        embedded = joined.embed(windows)
        torch.testing.assert_close(joined.answer(embedded)["genre"], joined(windows)["genre"])
    assert embedded.shape == (2, joined.embedding_length)
    assert Joined([nn.Linear(2, 2)]).embedding_length is None


def test_heads_of_training_only_are_left_out_of_each(tmp_path: Path) -> None:
    mood = Head(name="mood", labels=("calm", "wild"))
    card = CARD.model_copy(update={"heads": (*CARD.heads, mood)})
    network, left = without_heads(build(card), card, ["genre"])
    export(network, left, tmp_path / "model.onnx", windows=random_windows(left, 2))
    scorers = [load_scorer(tmp_path / "model.onnx", kind) for kind in (ScorerKind.ONNX, ScorerKind.TORCH)]
    assert [set(scorer.score(random_windows(left, 2))) for scorer in scorers] == [{"mood"}, {"mood"}]


def test_a_model_of_several_is_gone_on_with_one_by_one(joined: Joined, tmp_path: Path) -> None:
    export(joined, CARD, tmp_path / "model.onnx", windows=random_windows(CARD, 2))
    for number, member in enumerate(joined.members):
        network = build(one_of(CARD))
        start_from(network, CARD, tmp_path / "model.onnx", number=number)
        assert same(_numbers(network), _numbers(member))


def _numbers(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: values for name, values in network.state_dict().items() if values.is_floating_point()}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("joined")
    train(write_table(folder), folder / "run")
    return folder / "run"


def train(table: Path, output: Path, *more: object) -> None:
    arguments = ["train", "--table", table, "--recipe", "base", "--set", "networks=2", "--set", "width=4"]
    arguments += ["--set", "embedding=16", "--seed", 3, "--epochs", 2, "--calibration-fold", 3]
    arguments += ["--output", output, "--cache", output.parent / "cache", "--workers", 0, *more]
    genrescope.app([str(argument) for argument in arguments], standalone_mode=False)


def test_networks_are_trained_apart_and_shipped_as_one(run: Path) -> None:
    folders = [run / FINAL / network_name(number) for number in range(2)]
    networks = [load_checkpoint(folder / "checkpoint.ckpt") for folder in folders]
    seeds = [
        torch.load(folder / "checkpoint.ckpt", weights_only=True)["genrescope-training"]["seed"] for folder in folders
    ]
    # No network of another seed's run has learned by the same chance.
    assert seeds == [6, 7]
    assert [card.architecture.networks for _, card in networks] == [1, 1]
    together, card = load_checkpoint(run / FINAL / "checkpoint.ckpt")
    windows = torch.from_numpy(random_windows(card, 3)[0])
    with torch.no_grad():
        each = torch.stack([network(windows)["genre"] for network, _ in networks])
        torch.testing.assert_close(together(windows)["genre"], each.mean(0))
    assert (each[0] - each[1]).abs().max() > 1e-3
    _, shipped = open_model(run / "model.onnx")
    assert (shipped.architecture.networks, shipped.provenance.epochs, shipped.provenance.seed) == (2, 2, 3)


def test_the_curves_are_of_all_networks(run: Path) -> None:
    together = read_curves(run / FINAL / CURVES_NAME)
    each = [read_curves(run / FINAL / network_name(number) / CURVES_NAME) for number in range(2)]
    for epoch in range(2):
        assert together["seconds"][epoch] == pytest.approx(sum(curves["seconds"][epoch] for curves in each))
        assert together["train_loss"][epoch] == pytest.approx(sum(curves["train_loss"][epoch] for curves in each) / 2)
    (path,) = (run / "records").glob("*.json")
    record = read_record(path)
    assert record.training.minutes is not None
    assert record.parameters == count_parameters(record.card)


def test_a_run_that_stopped_between_two_networks_goes_on(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = run.with_name("tracks.csv")

    def stop(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("train.pipeline.join", stop)
        train(table, tmp_path / "run")
    assert not (tmp_path / "run" / FINAL).exists()
    capsys.readouterr()
    train(table, tmp_path / "run", "--resume")
    said = capsys.readouterr().err
    assert "held-out/network-1: done, 2 epochs" in said
    assert "final/network-1: training on the same, 2 epochs" in said
    assert same(weights(tmp_path / "run" / FINAL), weights(run / FINAL))


def test_a_card_of_before_is_of_one_network() -> None:
    text = one_of(CARD).to_json().replace('"networks":1', '"networks": 1')
    older = (
        text.replace(', "networks": 1', "")
        .replace(',"networks": 1', "")
        .replace('"format_version":5', '"format_version":4')
    )
    assert "networks" not in older
    assert ModelCard.from_json(older).architecture.networks == 1
