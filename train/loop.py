"""The training loop: Lightning's Trainer with checkpoints, a table of curves and a few reasons to stop."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal

import lightning
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, RichProgressBar, Timer
from torch.multiprocessing.spawn import ProcessRaisedException

from models.atomic_write import replacing
from models.errors import ConfigError, TrainingError
from train.checkpoints import (
    BEST_NAME,
    CHECKPOINT_NAME,
    CheckpointFiles,
    EpochCheckpoints,
    Progress,
    early_stopping,
    read_progress,
    remove_unfinished,
)
from train.curves import Curves
from train.module import TrainingModule
from train.progress import on_terminal
from train.run_folder import CURVES_NAME
from train.segments import Segments
from train.wording import counted

FITTED_NAME: Final = "fitted.json"

ACCELERATORS: Final = ("auto", "cpu", "gpu")

Stopped = Literal["all epochs", "early", "time"]


@dataclass(frozen=True, slots=True)
class Execution:
    """What a network is trained on; changes its speed and the last digits of its weights, never what it learns from.

    Args:
        accelerator: ``cpu``, ``gpu``, or ``auto``: a GPU where there is one.
        devices: how many of them. Each takes its share of every batch.
        compiled: run the network through ``torch.compile``.

    Raises:
        ConfigError: another accelerator, or more than this machine has.
    """

    accelerator: str = "auto"
    devices: int = 1
    compiled: bool = False

    def __post_init__(self) -> None:
        if self.devices < 1:
            raise ConfigError(f"expected one device or more, got {self.devices}")
        if self.accelerator not in ACCELERATORS:
            raise ConfigError(f"expected an accelerator among {', '.join(ACCELERATORS)}, got {self.accelerator!r}")
        gpus = _count_gpus()
        wanted = self.devices if self.accelerator == "gpu" or (self.accelerator == "auto" and gpus) else 0
        if wanted > gpus:
            found = counted(gpus, "GPU") if gpus else "no GPU"
            raise ConfigError(
                f"expected {counted(wanted, 'GPU')}, torch finds {found} on this machine: "
                + (f"give --devices {gpus}" if gpus else "give --accelerator cpu, or auto")
            )

    @property
    def lightning_strategy(self) -> str:
        """What Lightning is asked for."""
        # Those of its strategies that start the command anew in each process would prepare the data, and write the
        # model, once for each of them.
        return "ddp_spawn" if self.devices > 1 else "auto"


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained network: its ``checkpoint``, that of the ``best_epoch`` if there was early stopping; the ``epochs`` run
    and the ``minutes`` they took, over all resumes; why it ended. Kept as ``fitted.json`` beside the checkpoint."""

    checkpoint: Path
    learning_rate: float
    epochs: int
    best_epoch: int | None
    minutes: float
    stopped: Stopped

    def write(self, folder: Path) -> None:
        """Keep it, for people and programs: the checkpoint by its name."""
        with replacing(folder / FITTED_NAME) as temporary:
            values = {**asdict(self), "checkpoint": self.checkpoint.name}
            temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def fit(
    module: TrainingModule,
    *,
    folder: Path,
    resume: bool,
    max_minutes: float | None = None,
    execution: Execution | None = None,
) -> Fitted:
    """Train for the recipe's epochs; after each of them the checkpoint ``folder/checkpoint.ckpt`` is written, and a row
    of ``folder/curves.csv``.

    With the recipe's ``patience`` training ends early, and ``folder/best.ckpt`` is of the epoch whose loss on the
    validation files was the least. With ``max_minutes`` it ends after the epoch that passes them, all resumes counted.
    With ``resume`` it goes on after the last epoch in the checkpoint, if there is one.

    Raises:
        ConfigError: the folder holds a checkpoint and ``resume`` is not given, or one of another training or of more
            epochs; the recipe's patience without validation files; more devices than windows in a batch.
        TrainingError: the loss is absurd or not a number any more, or a checkpoint cannot be written.
        KeyboardInterrupt: after how many epochs, in words.
    """
    execution, epochs = execution or Execution(), module.recipe.epochs
    require_new(folder, resume=resume)
    _check(module, max_minutes, execution)
    before = read_progress(folder, module)
    if before.epochs > epochs:
        raise ConfigError(
            f"{folder} has {counted(before.epochs, 'epoch')}, not {epochs}: ask for more, or give another --output"
        )
    folder.mkdir(parents=True, exist_ok=True)
    remove_unfinished(folder, (CHECKPOINT_NAME, BEST_NAME, CURVES_NAME, FITTED_NAME))
    limit_s = _seconds(max_minutes)
    if not _is_over(before, epochs, limit_s):
        (folder / FITTED_NAME).unlink(missing_ok=True)
        _train(module, folder, limit_s=limit_s, resumed=before.epochs > 0, execution=execution)
    fitted = _fitted(folder, read_progress(folder, module), module)
    fitted.write(folder)
    return fitted


def is_over(module: TrainingModule, folder: Path, *, max_minutes: float | None = None) -> bool:
    """True if ``fit`` would find nothing left to train in ``folder``.

    Raises:
        ConfigError: the folder holds a checkpoint of another training.
    """
    return _is_over(read_progress(folder, module), module.recipe.epochs, _seconds(max_minutes))


def require_new(folder: Path, *, resume: bool) -> None:
    """Refuse to write over a run.

    Raises:
        ConfigError: the folder holds a checkpoint and ``resume`` is not given.
    """
    if (folder / CHECKPOINT_NAME).exists() and not resume:
        raise ConfigError(f"{folder} holds a training run already: give --resume to go on with it, or another --output")


def quieten_lightning() -> None:
    """Leave out its advice on worker counts, which does not apply: batches are cut from memory."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")


@contextmanager
def interruptible() -> Iterator[None]:
    """Lightning ends the process itself where a person presses Ctrl-C: that is for the command to do."""
    try:
        yield
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):
            raise end.__context__ from None
        raise


def _count_gpus() -> int:
    return torch.cuda.device_count() or int(torch.backends.mps.is_available())


def _check(module: TrainingModule, max_minutes: float | None, execution: Execution) -> None:
    if max_minutes is not None and not max_minutes > 0:
        raise ConfigError(f"expected more than 0 minutes, got {max_minutes:g}")
    if module.recipe.patience and module.validation_frames is None:
        raise ConfigError("early stopping (patience) looks at validation files: give a calibration fold, or patience=0")
    loaders = (module.train_dataloader(), module.val_dataloader())
    least = min(each.least_batch for each in loaders if isinstance(each, Segments))
    if least < execution.devices:
        raise ConfigError(f"expected a window of every batch for each of {execution.devices} devices, got {least}")


def _seconds(minutes: float | None) -> float | None:
    return None if minutes is None else minutes * 60


def _is_over(progress: Progress, epochs: int, limit_s: float | None) -> bool:
    return progress.early or progress.epochs == epochs or (limit_s is not None and progress.seconds >= limit_s)


def _fitted(folder: Path, progress: Progress, module: TrainingModule) -> Fitted:
    all_epochs = progress.epochs == module.recipe.epochs
    stopped: Stopped = "early" if progress.early else "all epochs" if all_epochs else "time"
    return Fitted(
        checkpoint=folder / (CHECKPOINT_NAME if progress.best_epoch is None else BEST_NAME),
        learning_rate=module.learning_rate,
        epochs=progress.epochs,
        best_epoch=progress.best_epoch,
        minutes=round(progress.seconds / 60, 2),
        stopped=stopped,
    )


def _train(module: TrainingModule, folder: Path, *, limit_s: float | None, resumed: bool, execution: Execution) -> None:
    quieten_lightning()
    module.compiled = execution.compiled
    epochs = module.recipe.epochs
    timer = Timer(None if limit_s is None else timedelta(seconds=limit_s), interval="epoch", verbose=False)
    early = early_stopping(module.recipe.patience)
    trainer = lightning.Trainer(
        accelerator=execution.accelerator,
        devices=execution.devices,
        strategy=execution.lightning_strategy,
        max_epochs=epochs,
        precision=module.recipe.precision,
        callbacks=[
            Curves(folder / CURVES_NAME, epochs=epochs),
            timer,
            *([early] if early else []),
            *([EMAWeightAveraging(decay=module.recipe.average)] if module.recipe.average else []),
            EpochCheckpoints(folder, timer=timer, early=early),
            *([RichProgressBar(leave=False)] if on_terminal() else []),
        ],
        plugins=[CheckpointFiles()],
        logger=False,
        enable_progress_bar=on_terminal(),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        # A GPU's fastest kernels add in any order; a processor's do not, and need not be watched.
        deterministic="warn" if torch.cuda.is_available() else None,
        # New random segments, by the epoch's own seed.
        reload_dataloaders_every_n_epochs=1,
        default_root_dir=folder,
    )
    try:
        with interruptible():
            trainer.fit(module, ckpt_path=folder / CHECKPOINT_NAME if resumed else None, weights_only=True)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"stopped after {counted(trainer.current_epoch, 'epoch')}") from stop
    except ProcessRaisedException as error:
        # All that comes back from another process is the text of its error.
        *_, sentence = str(error).strip().splitlines()
        raise TrainingError(f"training on {execution.devices} devices: {sentence.partition(': ')[2]}") from error
