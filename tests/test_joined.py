"""Several networks that are trained apart and answer together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from labelled_audio import write_table
from networks import random_card, random_windows
from tiny_training import same, tiny, weights
from torch import nn

import genrescope
from models.architectures import build, count_parameters
from models.errors import ConfigError, ModelFileError
from models.joined import Joined, one_of
from models.model_file import CARD_KEY, open_model
from models.scorer import load_scorer
from models.scorer_kind import ScorerKind
from models.spec import Head, ModelCard
from train.checkpoints import BEST_NAME, write_checkpoint
from train.export import export, load_checkpoint, read_checkpoint, without_heads
from train.join import join
from train.loop import Fitted, fit
from train.module import TrainingModule
from train.record import read_curves, read_record
from train.run_folder import CURVES_NAME, FINAL, HELD_OUT, network_name
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


def test_embeddings_stand_in_a_row(joined: Joined, windows: torch.Tensor) -> None:
    with torch.no_grad():
        embedded = joined.embed(windows)
        last = joined.members[2].embed(windows)
    assert embedded.shape == (2, joined.embedding_length)
    torch.testing.assert_close(embedded[:, -last.shape[1] :], last)
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
    assert [(card.architecture.networks, card.provenance.seed) for _, card in networks] == [(1, 6), (1, 7)]
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
    def stop_before_the_second(module: TrainingModule, *, folder: Path, **how: Any) -> Fitted:
        if folder.name == network_name(1):
            raise KeyboardInterrupt
        return fit(module, folder=folder, **how)

    with monkeypatch.context() as patched:
        patched.setattr("train.pipeline.fit", stop_before_the_second)
        train(run.with_name("tracks.csv"), tmp_path / "run")
    assert not (tmp_path / "run" / HELD_OUT / "checkpoint.ckpt").exists()
    capsys.readouterr()
    train(run.with_name("tracks.csv"), tmp_path / "run", "--resume")
    said = capsys.readouterr().err
    assert "held-out/network-0: done, 2 epochs" in said
    assert "held-out/network-1: training on 9 tracks" in said
    assert same(weights(tmp_path / "run" / FINAL), weights(run / FINAL))


def test_the_run_of_one_network_is_not_written_over(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    # As a version wrote it that knew of one network only.
    shutil.copy(run / HELD_OUT / network_name(0) / "checkpoint.ckpt", tmp_path / "run" / HELD_OUT / "checkpoint.ckpt")
    with pytest.raises(ConfigError, match="expected 2 networks together, it is of 1: give another --output"):
        train(run.with_name("tracks.csv"), tmp_path / "run", "--resume", "--name", "run")


def test_each_network_begins_with_its_own_like(run: Path, tmp_path: Path) -> None:
    train(run.with_name("tracks.csv"), tmp_path / "run", "--start-from", run / "model.onnx", "--lr", "1e-6")
    stems = [
        weights(folder / FINAL)[f"network.members.{n}.stem.weight"]
        for folder in (run, tmp_path / "run")
        for n in (0, 1)
    ]
    torch.testing.assert_close(stems[:2], stems[2:], atol=1e-3, rtol=0)
    assert (stems[0] - stems[1]).abs().max() > 0.01


def fitted(folder: Path, *, epochs: int, best: int, seconds: float, module: TrainingModule) -> Fitted:
    """As ``fit`` leaves one behind that stopped early."""
    folder.mkdir()
    card = module.card.to_json()
    write_checkpoint({CARD_KEY: card, "state_dict": module.state_dict()}, folder / BEST_NAME)
    rows = [f"{epoch},{epoch / 10},{seconds}" for epoch in range(1, epochs + 1)]
    (folder / CURVES_NAME).write_text("\n".join(["epoch,train_loss,seconds", *rows]) + "\n")
    return Fitted(folder / BEST_NAME, 0.01, epochs, best, seconds * epochs / 60, "early")


def taught(seed: int) -> TrainingModule:
    module = tiny("base", seed=seed)
    module.pupil = nn.Linear(module.network.embedding_length, 5)
    return module.eval()


@pytest.fixture
def pair(tmp_path: Path) -> tuple[list[TrainingModule], list[Fitted], ModelCard]:
    modules = [taught(0), taught(1)]
    networks = [
        fitted(tmp_path / "0", epochs=4, best=2, seconds=1.0, module=modules[0]),
        fitted(tmp_path / "1", epochs=7, best=5, seconds=2.0, module=modules[1]),
    ]
    return modules, networks, random_card("base", networks=2)


def test_what_stopped_early_is_told_of_both(
    pair: tuple[list[TrainingModule], list[Fitted], ModelCard], tmp_path: Path
) -> None:
    modules, networks, card = pair
    together = join(networks, tmp_path, card)
    assert (together.epochs, together.best_epoch, together.stopped) == (7, 4, "early")
    assert together.minutes == pytest.approx((4 * 1 + 7 * 2) / 60, abs=0.01)
    network, kept = load_checkpoint(together.checkpoint)
    assert kept.provenance.epochs == 4
    # What a teacher would say: the mean of what each of them thinks it would.
    windows = torch.from_numpy(random_windows(card, 2)[0])
    _, all_weights = read_checkpoint(together.checkpoint)
    with torch.no_grad():
        heard = network.embed(windows) @ all_weights["pupil.weight"].T + all_weights["pupil.bias"]
        each = torch.stack([module.pupil(module.network.embed(windows)) for module in modules])
    torch.testing.assert_close(heard, each.mean(0))


def test_curves_go_on_with_those_that_still_ran(
    pair: tuple[list[TrainingModule], list[Fitted], ModelCard], tmp_path: Path
) -> None:
    _, networks, card = pair
    join(networks, tmp_path, card)
    curves = read_curves(tmp_path / CURVES_NAME)
    assert curves["epoch"] == (1, 2, 3, 4, 5, 6, 7)
    assert curves["seconds"] == (3, 3, 3, 3, 2, 2, 2)
    assert curves["train_loss"] == pytest.approx([epoch / 10 for epoch in range(1, 8)])
    # A table that was lost is no reason to lose the networks.
    (tmp_path / "1" / CURVES_NAME).unlink()
    (tmp_path / CURVES_NAME).unlink()
    assert join(networks, tmp_path, card).checkpoint.exists()
    assert not (tmp_path / CURVES_NAME).exists()


def test_a_damaged_network_is_named(pair: tuple[list[TrainingModule], list[Fitted], ModelCard], tmp_path: Path) -> None:
    _, networks, card = pair
    networks[1].checkpoint.write_bytes(networks[1].checkpoint.read_bytes()[:1000])
    with pytest.raises(ModelFileError, match=r"1/best\.ckpt: expected one written by `genrescope train`"):
        join(networks, tmp_path, card)
    networks[1].checkpoint.unlink()
    with pytest.raises(ModelFileError, match=r"1/best\.ckpt: cannot be read"):
        join(networks, tmp_path, card)


def test_a_card_of_before_is_of_one_network() -> None:
    fields = json.loads(one_of(CARD).to_json()) | {"format_version": 4}
    del fields["architecture"]["networks"]
    assert ModelCard.from_json(json.dumps(fields)).architecture.networks == 1
