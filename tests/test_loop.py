"""The training loop: what ends it, what it leaves behind, and that nothing that happens to it changes the result."""

import csv
import json
import multiprocessing
import random
import signal
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import same, tiny, train_until_killed, train_without_room, weights, without_dropout

from models.errors import ConfigError, TrainingError
from train.checkpoints import BEST_NAME, CHECKPOINT_NAME
from train.curves import Curves
from train.export import load_checkpoint
from train.loop import FITTED_NAME, Execution
from train.loop import fit as fit_anywhere
from train.run_folder import CURVES_NAME

CPU = Execution(accelerator="cpu")
SCHEDULES = ("constant", "exponential", "cyclical", "one-cycle")

pytestmark = pytest.mark.usefixtures("one_thread")


def fit(module, folder, *, resume=False, max_minutes=None, execution=CPU):
    return fit_anywhere(module, folder=folder, resume=resume, max_minutes=max_minutes, execution=execution)


def curves(folder):
    with (folder / CURVES_NAME).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def stop_in(monkeypatch):
    """Makes training stop with its second item at the beginning of the epoch of the first, until told None."""

    class Stopped(Exception):
        pass

    whole, at = Curves.on_train_epoch_start, [None, Stopped]

    def start(self, trainer, module):
        if trainer.current_epoch + 1 == at[0]:
            raise at[1]
        whole(self, trainer, module)

    monkeypatch.setattr(Curves, "on_train_epoch_start", start)
    return at


def rates_of(module, monkeypatch):
    """Where the rates of all batches of a training of this module go."""
    rates, step = [], type(module).training_step

    def training_step(self, batch, index):
        rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        return step(self, batch, index)

    monkeypatch.setattr(type(module), "training_step", training_step)
    return rates


def test_the_rates_of_each_schedule(tmp_path, monkeypatch):
    seen = {}
    for schedule in SCHEDULES:
        module = tiny(schedule=schedule, decay=0.5, epochs=5, learning_rate=0.1, validation=0)
        with monkeypatch.context() as patch:
            seen[schedule] = rates_of(module, patch)
            fit(module, tmp_path / schedule)
    batches = 3  # 9 tracks, 2 windows of each, 6 in a batch
    assert seen["constant"] == [0.1] * 5 * batches
    assert seen["exponential"] == pytest.approx([0.1 * 0.5**epoch for epoch in range(5) for _ in range(batches)])
    up = np.linspace(0.01, 0.1, 2 * batches + 1)
    assert seen["cyclical"] == pytest.approx([*up[:-1], *up[:0:-1], *up[:batches]])
    assert max(seen["one-cycle"]) == pytest.approx(0.1, rel=0.1)
    assert seen["one-cycle"][0] == pytest.approx(0.1 / 25)
    assert seen["one-cycle"][-1] < 1e-5


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_stopped_run_resumes_to_the_same_weights(tmp_path, stop_in, schedule, optimiser):
    def make():
        return tiny(schedule=schedule, optimiser=optimiser, learning_rate=0.003, decay=0.5)

    whole = fit(make(), tmp_path / "whole")
    stop_in[0] = 3
    with pytest.raises(stop_in[1]):
        fit(make(), tmp_path / "parts")
    assert not (tmp_path / "parts" / FITTED_NAME).exists()
    stop_in[0] = None
    parts = fit(make(), tmp_path / "parts", resume=True)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    figures = [[{**row, "seconds": ""} for row in curves(tmp_path / name)] for name in ("whole", "parts")]
    assert figures[0] == figures[1]
    assert (parts.epochs, parts.stopped) == (whole.epochs, whole.stopped) == (3, "all epochs")


def test_the_average_of_the_weights_is_what_is_kept_and_a_stopped_run_resumes_to_the_same(tmp_path, stop_in):
    settings = {"average": 0.9, "learning_rate": 0.003}
    fit(tiny("base", **settings), tmp_path / "whole")
    stop_in[0] = 3
    with pytest.raises(stop_in[1]):
        fit(tiny("base", **settings), tmp_path / "resumed")
    stop_in[0] = None
    fit(tiny("base", **settings), tmp_path / "resumed", resume=True)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "resumed"))
    checkpoint = torch.load(tmp_path / "whole" / CHECKPOINT_NAME, weights_only=True)
    assert not same(checkpoint["state_dict"], checkpoint["current_model_state"])
    fit(tiny("base", **settings, epochs=1, patience=9), tmp_path / "patient")
    last, best = (weights(tmp_path / "patient", name) for name in (CHECKPOINT_NAME, BEST_NAME))
    assert same(last, best)  # the average too, of the same epoch
    network, _ = load_checkpoint(tmp_path / "whole" / CHECKPOINT_NAME)
    torch.testing.assert_close(network.stem.weight, checkpoint["state_dict"]["network.stem.weight"])


def test_two_runs_of_one_seed_agree_and_another_seed_does_not(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        fit(tiny(seed=seed), tmp_path / name)
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


def test_more_epochs_train_a_finished_run_further(tmp_path):
    first = fit(tiny(epochs=1), tmp_path / "run")
    fit(tiny(epochs=3), tmp_path / "run", resume=True)
    fit(tiny(epochs=3), tmp_path / "whole")
    assert same(weights(tmp_path / "run"), weights(tmp_path / "whole"))
    with pytest.raises(ConfigError, match="has 3 epochs, not 2"):
        fit(tiny(epochs=2), tmp_path / "run", resume=True)
    assert first.epochs == 1


def test_a_one_cycle_schedule_is_not_made_longer(tmp_path):
    fit(tiny(epochs=1, schedule="one-cycle"), tmp_path)
    with pytest.raises(ConfigError, match="epochs 1 -> 3"):
        fit(tiny(epochs=3, schedule="one-cycle"), tmp_path, resume=True)


def test_early_stopping_gives_the_best_epoch(tmp_path, stop_in):
    def make():
        # At this rate the loss of the validation files soon grows.
        return tiny(epochs=30, patience=2, optimiser="adam", learning_rate=0.01)

    fitted = fit(make(), tmp_path / "whole")
    losses = [float(row["validation_loss"]) for row in curves(tmp_path / "whole")]
    assert fitted.stopped == "early"
    assert fitted.checkpoint.name == BEST_NAME
    assert fitted.epochs == len(losses) == fitted.best_epoch + 2 < 30
    assert fitted.best_epoch == int(np.argmin(losses)) + 1
    _, card = load_checkpoint(fitted.checkpoint)
    assert card.provenance.epochs == fitted.best_epoch
    kept = json.loads((tmp_path / "whole" / FITTED_NAME).read_text())
    assert kept == {**asdict(fitted), "checkpoint": BEST_NAME}
    # Over is over: nothing is trained, and the same is said.
    before = (tmp_path / "whole" / CHECKPOINT_NAME).stat().st_mtime_ns
    assert fit(make(), tmp_path / "whole", resume=True) == fitted
    assert (tmp_path / "whole" / CHECKPOINT_NAME).stat().st_mtime_ns == before

    stop_in[0] = fitted.best_epoch + 2  # one epoch of patience is used up
    with pytest.raises(stop_in[1]):
        fit(make(), tmp_path / "parts")
    stop_in[0] = None
    parts = fit(make(), tmp_path / "parts", resume=True)
    assert (parts.epochs, parts.best_epoch, parts.stopped) == (fitted.epochs, fitted.best_epoch, "early")
    assert same(weights(tmp_path / "whole", BEST_NAME), weights(tmp_path / "parts", BEST_NAME))


def test_patience_needs_something_to_look_at(tmp_path):
    with pytest.raises(ConfigError, match="calibration fold"):
        fit(tiny(patience=2, validation=0), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_time_ends_training_after_an_epoch_and_more_time_goes_on(tmp_path):
    short = fit(tiny(), tmp_path, max_minutes=1e-6)
    assert (short.epochs, short.stopped) == (1, "time")
    assert fit(tiny(), tmp_path, resume=True, max_minutes=1e-6).epochs == 1
    seconds = json.loads((tmp_path / FITTED_NAME).read_text())["minutes"]
    whole = fit(tiny(), tmp_path, resume=True)
    assert (whole.epochs, whole.stopped) == (3, "all epochs")
    assert whole.minutes >= seconds
    with pytest.raises(ConfigError, match="more than 0 minutes"):
        fit(tiny(), tmp_path, resume=True, max_minutes=0)


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("lidy-parallel", {}, "architecture 'lidy-timbral' -> 'lidy-parallel'"),
        ("lidy-timbral", {"batch_size": 9}, "batch_size 6 -> 9"),
        ("lidy-timbral", {"schedule": "cyclical"}, "schedule 'constant' -> 'cyclical'"),
        ("lidy-timbral", {"seed": 3}, "seed 0 -> 3"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path, name, settings, says):
    fit(tiny(epochs=1), tmp_path)
    with pytest.raises(ConfigError, match=says):
        fit(tiny(name, **settings), tmp_path, resume=True)


def test_a_checkpoint_of_other_labels_is_refused(tmp_path):
    fit(tiny(epochs=1), tmp_path)
    other = tiny()
    (head,) = other.card.heads
    other.card = other.card.model_copy(update={"heads": (head.model_copy(update={"labels": ("a", "b", "d")}),)})
    with pytest.raises(ConfigError, match=r"labels of genre \['a', 'b', 'c'\] -> \['a', 'b', 'd'\]"):
        fit(other, tmp_path, resume=True)


@pytest.mark.parametrize("change", ["names", "order", "labels", "lengths", "validation"])
def test_a_checkpoint_of_other_tracks_is_refused(tmp_path, change):
    fit(tiny(epochs=1), tmp_path)
    other = tiny()
    data, backwards = other.training_frames, torch.arange(9).flip(0)
    if change == "validation":
        data = other.validation_frames
        other.validation_frames = replace(data, targets=(data.targets[0].flip(0),))
    else:
        other.training_frames = {
            "names": replace(data, paths=(Path("test.wav"), *data.paths[1:])),
            "order": replace(data, paths=data.paths[::-1], targets=(data.targets[0][backwards],)),
            "labels": replace(data, targets=(data.targets[0][backwards],)),
            "lengths": replace(data, lengths=data.lengths + 1),
        }[change]
    side, tracks = ("validation", 6) if change == "validation" else ("training", 9)
    with pytest.raises(
        ConfigError, match=rf"another training \({side} tracks '{tracks} \(digest of names.* -> '{tracks}"
    ):
        fit(other, tmp_path, resume=True)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_damaged_or_foreign_checkpoint_is_refused(tmp_path, content):
    if content is None:
        torch.save({"epoch": 3, "state_dict": {}}, tmp_path / CHECKPOINT_NAME)
    else:
        (tmp_path / CHECKPOINT_NAME).write_bytes(content)
    with pytest.raises(ConfigError, match=r"checkpoint\.ckpt is damaged or foreign"):
        fit(tiny(), tmp_path, resume=True)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_loss_that_is_no_number_ends_training(tmp_path, schedule):
    module = tiny(schedule=schedule)
    with torch.no_grad():
        module.network.hidden.bias[0] = torch.nan
    with pytest.raises(TrainingError, match=r"diverged in epoch 1: .* lower learning_rate"):
        fit(module, tmp_path)
    assert not (tmp_path / CHECKPOINT_NAME).exists()


def biased(**settings):
    """Begins with a loss of some 600, and can learn nothing but to be less biased."""
    module = tiny(**settings)
    module.network.requires_grad_(False)
    (head,) = module.network.heads
    head.bias.requires_grad_(True)
    with torch.no_grad():
        head.bias[0] = 1000.0
    return module


def test_an_absurd_loss_that_becomes_less_may_go_on(tmp_path):
    """As of features that are not normalised."""
    fit(biased(learning_rate=100.0, epochs=6), tmp_path)
    losses = [float(row["train_loss"]) for row in curves(tmp_path)]
    assert losses[0] > 200
    assert losses[1] < losses[0]
    assert losses[-1] < 100


@pytest.mark.parametrize("epochs", [1, 3])
def test_one_that_is_absurd_at_the_end_ends_training(tmp_path, epochs):
    says = rf"diverged in epoch {epochs}: expected a loss that comes down to 1\.1 .*, got \d+; lower learning_rate"
    with pytest.raises(TrainingError, match=says):
        fit(biased(learning_rate=1.0, epochs=epochs), tmp_path)
    assert len(curves(tmp_path)) == epochs - 1 if epochs > 1 else not (tmp_path / CHECKPOINT_NAME).exists()


def test_one_that_becomes_more_ends_training_at_once(tmp_path):
    with pytest.raises(TrainingError, match=r"diverged in epoch 2: "):
        fit(tiny(learning_rate=1e9), tmp_path)


@pytest.fixture
def kept_signals():
    """Lightning has Ctrl-C ignored once it has seen one."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("kept_signals")
def test_ctrl_c_says_how_far_it_came(tmp_path, stop_in):
    stop_in[:] = [3, KeyboardInterrupt]
    with pytest.raises(KeyboardInterrupt, match=r"^stopped after 2 epochs$"):
        fit(tiny(), tmp_path)


@pytest.mark.usefixtures("kept_signals")
def test_ctrl_c_in_the_middle_of_a_checkpoint_is_ctrl_c(tmp_path, monkeypatch):
    class Pressed:
        def __init__(self, file):
            self._file = file

        def write(self, _data):
            raise KeyboardInterrupt

        def flush(self):
            self._file.flush()

    fit(tiny(epochs=1), tmp_path)
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda values, file: save(values, Pressed(file)))
    with pytest.raises(KeyboardInterrupt, match=r"^stopped after 1 epoch$"):
        fit(tiny(), tmp_path, resume=True)
    assert {path.name for path in tmp_path.iterdir()} == {CHECKPOINT_NAME, CURVES_NAME}


def in_a_process(target, *arguments, **options):
    """Run in a process of its own, forked from one that has torch already; returns its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["train.loop", "train.export", "train.recipes"])
    process = context.Process(target=target, args=arguments, kwargs=options)
    process.start()
    process.join(120)
    assert not process.is_alive()
    return process.exitcode


def test_a_kill_at_any_moment_changes_nothing(tmp_path):
    fit(tiny(patience=2), tmp_path / "whole")
    draw = random.Random(0)
    # In the middle of an epoch, of the first checkpoint, of a later one; then at chance moments.
    kills = [(2, 0), (0, 3), (0, 70), *((draw.randrange(1, 12), draw.randrange(1, 120)) for _ in range(4))]
    ends = [in_a_process(train_until_killed, tmp_path / "run", batches=b, writes=w) for b, w in kills]
    assert ends[:3] == [-signal.SIGKILL] * 3
    assert in_a_process(train_until_killed, tmp_path / "run", batches=0, writes=0) == 0
    for name in (CHECKPOINT_NAME, BEST_NAME):
        assert same(weights(tmp_path / "whole", name), weights(tmp_path / "run", name))
    assert [row["epoch"] for row in curves(tmp_path / "run")] == ["1", "2", "3"]
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {CHECKPOINT_NAME, BEST_NAME, CURVES_NAME, FITTED_NAME}


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path):
    folder, said = tmp_path / "run", tmp_path / "said"
    fit(tiny(epochs=1), folder)
    before = (folder / CHECKPOINT_NAME).read_bytes()
    assert len(before) > 1_000_000
    assert in_a_process(train_without_room, folder, said) == 0
    assert said.read_text().startswith(f"cannot write {folder / CHECKPOINT_NAME} (File too large): what was there is")
    assert (folder / CHECKPOINT_NAME).read_bytes() == before
    assert {path.name for path in folder.iterdir()} == {CHECKPOINT_NAME, CURVES_NAME}
    fit(tiny(), folder, resume=True)


def test_two_devices_learn_what_one_does(tmp_path):
    for devices in (1, 2):
        # 7 files and 6 windows a batch: shares that are not even.
        module = without_dropout(tiny(validation=7, batch_size=5))
        fit(module, tmp_path / str(devices), execution=Execution(accelerator="cpu", devices=devices))
    one, two = (
        [{name: float(value) for name, value in row.items() if name != "seconds"} for row in curves(tmp_path / folder)]
        for folder in ("1", "2")
    )
    assert len(one) == 3
    for ours, theirs in zip(one, two, strict=True):
        assert ours == pytest.approx(theirs, abs=2e-4)
    with pytest.raises(ConfigError, match="each of 7 devices, got 6"):
        fit(tiny(), tmp_path / "7", execution=Execution(accelerator="cpu", devices=7))
    with pytest.raises(ConfigError, match="each of 2 devices, got 1"):
        fit(tiny(validation=1), tmp_path / "few", execution=Execution(accelerator="cpu", devices=2))
    with pytest.raises(ConfigError, match="one device or more, got 0"):
        Execution(devices=0)


def test_a_gpu_that_is_not_there_is_refused_at_once(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match=r"expected 1 GPU, torch finds no GPU .* give --accelerator cpu, or auto"):
        Execution(accelerator="gpu")
    Execution(devices=2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match=r"expected 2 GPUs, torch finds 1 GPU .* give --devices 1"):
        Execution(devices=2)
    with pytest.raises(ConfigError, match="among auto, cpu, gpu, got 'tpu'"):
        Execution(accelerator="tpu")


def test_what_goes_wrong_on_one_of_two_devices_is_one_sentence(tmp_path):
    module = tiny()
    with torch.no_grad():
        module.network.hidden.bias[0] = torch.nan
    with pytest.raises(TrainingError, match=r"^training on 2 devices: training diverged in epoch 1: .*$"):
        fit(module, tmp_path, execution=Execution(accelerator="cpu", devices=2))


@pytest.fixture
def pretended_compiler(monkeypatch):
    """torch.compile itself takes minutes; this one runs the graph that it captured as it is."""
    compile_ = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compile_(self, backend="eager"))
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("pretended_compiler")
def test_a_compiled_network_has_the_same_checkpoints(tmp_path):
    compiled = Execution(accelerator="cpu", compiled=True)
    fit(tiny(), tmp_path / "plain")
    fit(tiny(epochs=1), tmp_path / "compiled", execution=compiled)
    fit(tiny(), tmp_path / "compiled", execution=compiled, resume=True)
    ours, theirs = weights(tmp_path / "plain"), weights(tmp_path / "compiled")
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-5)
    load_checkpoint(tmp_path / "compiled" / CHECKPOINT_NAME)
