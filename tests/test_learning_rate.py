"""The learning-rate range test."""

import json

import numpy as np
import pytest
import torch
from tiny_training import tiny

from models.errors import ConfigError, TrainingError
from train.checkpoints import CHECKPOINT_NAME
from train.learning_rate import CURVE_NAME, PICTURE_NAME, RateCurve, _losses, find_learning_rate
from train.loop import Execution, fit
from train.module import TrainingModule

CPU = Execution(accelerator="cpu")

pytestmark = pytest.mark.usefixtures("one_thread")


def falling_at(rate):
    """Losses that fall around ``rate`` over a tenfold rise, and explode ten times further on."""
    rates = np.geomspace(1e-6, 10, 140)
    chance = np.random.default_rng(0).normal(0, 0.03, 140)
    losses = 2.0 - 1.5 / (1 + np.exp(-6 * np.log10(rates / rate))) + chance
    losses[rates > 20 * rate] = 9.0
    return losses.tolist()


@pytest.mark.parametrize("rate", [1e-4, 2e-3, 0.05])
def test_the_steepest_fall_is_chosen(rate):
    assert RateCurve.of(falling_at(rate)).rate == pytest.approx(rate, rel=0.5)


def test_what_comes_after_infinity_does_not_count():
    losses = falling_at(2e-3)
    losses[90:] = [float("inf")] + [0.0] * 49
    assert RateCurve.of(losses).rate == pytest.approx(2e-3, rel=0.5)


@pytest.mark.parametrize(
    "losses", [[], [2.0], [2.0] * 140, np.linspace(2, 9, 140).tolist(), [float("nan")] * 140, [0.0] * 140]
)
def test_where_nothing_falls_a_rate_must_be_given(losses):
    with pytest.raises(TrainingError, match="give a learning rate"):
        RateCurve.of(losses)


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_a_rate_is_found_kept_and_taken_again(tmp_path, optimiser):
    module = tiny(optimiser=optimiser)
    before = {name: values.clone() for name, values in module.state_dict().items()}
    rate = find_learning_rate(module, folder=tmp_path, resume=False, execution=CPU)
    assert 1e-6 < rate < 1
    assert all(torch.equal(before[name], values) for name, values in module.state_dict().items())
    assert module.learning_rate == module.recipe.learning_rate
    curve = json.loads((tmp_path / CURVE_NAME).read_text())
    assert curve["rate"] == rate
    assert len(curve["rates"]) == len(curve["losses"]) > 40
    assert (tmp_path / PICTURE_NAME).read_bytes().startswith(b"\x89PNG")
    assert find_learning_rate(tiny(optimiser=optimiser), folder=tmp_path, resume=False, execution=CPU) == rate  # seeded
    (tmp_path / CURVE_NAME).write_text(json.dumps({**curve, "rate": 0.123}))
    assert find_learning_rate(module, folder=tmp_path, resume=True, execution=CPU) == 0.123


def test_every_pass_draws_other_segments_and_dropout_as_training_does(monkeypatch):
    drawn = []
    step, epoch = TrainingModule.training_step, TrainingModule.on_train_epoch_start

    def start(self):
        epoch(self)
        drawn.append([self.current_epoch, torch.get_rng_state(), 0.0])

    def training_step(self, batch, index):
        drawn[-1][2] += batch.windows[0].double().sum().item()
        return step(self, batch, index)

    monkeypatch.setattr(TrainingModule, "on_train_epoch_start", start)
    monkeypatch.setattr(TrainingModule, "training_step", training_step)
    _losses(tiny(), "cpu")
    epochs, dropout, sums = zip(*drawn[:8], strict=True)
    assert epochs == tuple(range(8))
    assert len({bytes(state) for state in dropout}) == 8
    assert len(set(sums)) == 8


def test_a_found_rate_is_trained_at_and_belongs_to_the_run(tmp_path):
    module = tiny(epochs=1)
    module.learning_rate = 0.0123
    fit(module, folder=tmp_path, resume=False, execution=CPU)
    (group,) = torch.load(tmp_path / CHECKPOINT_NAME, weights_only=True)["optimizer_states"][0]["param_groups"]
    assert group["lr"] == 0.0123
    with pytest.raises(ConfigError, match=r"learning_rate 0\.0123 -> 0\.02"):
        fit(tiny(epochs=2), folder=tmp_path, resume=True, execution=CPU)
    with pytest.raises(ConfigError, match="give --resume"):
        find_learning_rate(tiny(), folder=tmp_path, resume=False, execution=CPU)


def test_a_damaged_curve_is_named(tmp_path):
    (tmp_path / CURVE_NAME).write_text("{}")
    with pytest.raises(ConfigError, match=r"learning_rate\.json is damaged"):
        find_learning_rate(tiny(), folder=tmp_path, resume=True, execution=CPU)
