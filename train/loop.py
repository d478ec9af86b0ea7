"""The training loop: Lightning's Trainer with one checkpoint, kept up to date, and a table of curves."""

from __future__ import annotations

import csv
import logging
import math
import time
import warnings
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, RichProgressBar

from models.errors import ConfigError, GenrescopeError
from train.atomic_write import replacing
from train.module import TrainingModule
from train.progress import on_terminal, say

CHECKPOINT_NAME = "checkpoint.ckpt"
CURVES_NAME = "curves.csv"


class TrainingError(GenrescopeError):
    """Training cannot go on: it diverged, or there is nothing to resume."""


def fit(module: TrainingModule, *, folder: Path, epochs: int, resume: bool) -> Path:
    """Train up to ``epochs`` epochs; return the checkpoint, ``folder/checkpoint.ckpt``, written after each of them.

    ``folder/curves.csv`` gets a row an epoch. With ``resume`` training goes on after the last epoch in the checkpoint,
    if there is one.

    Raises:
        ConfigError: the folder holds a checkpoint and ``resume`` is not given, or one of more epochs than asked.
        TrainingError: the loss is not a number any more.
    """
    checkpoint = folder / CHECKPOINT_NAME
    if checkpoint.exists() and not resume:
        raise ConfigError(f"{folder} holds a training run already: give --resume to go on with it, or another --output")
    folder.mkdir(parents=True, exist_ok=True)
    done = _epochs_in(checkpoint) if checkpoint.exists() else 0
    if done > epochs:
        raise ConfigError(f"{checkpoint} has {done} epochs, {epochs} were asked for: give more, or another --output")
    if done == epochs:
        return checkpoint
    _quieten_lightning()
    trainer = lightning.Trainer(
        max_epochs=epochs,
        precision=module.recipe.precision,
        callbacks=[
            Curves(folder / CURVES_NAME, epochs=epochs),
            ModelCheckpoint(
                folder, filename=checkpoint.stem, save_on_train_epoch_end=True, enable_version_counter=False
            ),
            *([RichProgressBar(leave=False)] if on_terminal() else []),
        ],
        logger=False,
        enable_progress_bar=on_terminal(),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        # New random segments, by the epoch's own seed.
        reload_dataloaders_every_n_epochs=1,
        default_root_dir=folder,
    )
    trainer.fit(module, ckpt_path=checkpoint if done else None, weights_only=True)
    return checkpoint


class Curves(Callback):
    """A row of figures for each epoch in a CSV file, and a line for the person."""

    def __init__(self, path: Path, *, epochs: int) -> None:
        self.path = path
        self.epochs = epochs
        self._rows: list[dict[str, Any]] = []
        self._started = time.perf_counter()

    def on_train_start(self, trainer: lightning.Trainer, _module: lightning.LightningModule) -> None:
        """Keep the rows of the epochs that the checkpoint knows, and no later ones."""
        if trainer.current_epoch and self.path.exists():
            with self.path.open(newline="", encoding="utf-8") as file:
                self._rows = list(csv.DictReader(file))[: trainer.current_epoch]

    def on_train_epoch_start(self, *_: object) -> None:
        """Start the epoch's clock."""
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write the epoch's row."""
        assert isinstance(pl_module, TrainingModule)
        epoch, figures = trainer.current_epoch + 1, pl_module.figures()
        seconds = time.perf_counter() - self._started
        if not math.isfinite(figures["train_loss"]):
            raise TrainingError(f"training diverged in epoch {epoch}: the loss is not a number; lower learning_rate")
        row = {"epoch": epoch, **{name: f"{value:.5f}" for name, value in figures.items()}, "seconds": f"{seconds:.1f}"}
        self._rows.append(row)
        with replacing(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(row))
            writer.writeheader()
            writer.writerows(self._rows)
        words = " ".join(f"{name} {value:.4f}" for name, value in figures.items())
        line = f"epoch {epoch}/{self.epochs}: {words} ({seconds:.1f} s)"
        if trainer.progress_bar_callback is None:
            say(line)
        else:
            trainer.progress_bar_callback.print(line)  # above the bar, not through it

    def on_exception(
        self, trainer: lightning.Trainer, _module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Say how a run that a person stopped goes on; Lightning ends the process then."""
        if isinstance(exception, KeyboardInterrupt):
            say(f"stopped after {trainer.current_epoch} epochs; the same command with --resume goes on")


def _epochs_in(checkpoint: Path) -> int:
    try:
        # Counted from 0 by Lightning.
        return int(torch.load(checkpoint, map_location="cpu", weights_only=True)["epoch"]) + 1
    except Exception as error:  # a damaged file fails anywhere inside the unpickler
        raise ConfigError(f"{checkpoint} is damaged ({error}): remove its folder to start again") from error


def _quieten_lightning() -> None:
    # Its advice on worker counts does not apply: batches are cut from memory.
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
