"""Checkpoints that a kill, a full disk or another recipe cannot spoil: of the last epoch, and of the best."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping, Timer, WeightAveraging
from lightning.pytorch.plugins.io import TorchCheckpointIO

from models.atomic_write import WriteError, replacing
from models.errors import ConfigError, TrainingError
from train.module import IDENTITY_KEY, VALIDATION_LOSS, TrainingModule

CHECKPOINT_NAME = "checkpoint.ckpt"
BEST_NAME = "best.ckpt"


@dataclass(frozen=True, slots=True)
class Progress:
    """What a run has behind it: ``epochs``, and the ``seconds`` that they took, over all its resumes; the epoch of the
    least loss of the validation files and whether it was so long ago that training ended early (None and False without
    early stopping)."""

    epochs: int = 0
    seconds: float = 0.0
    best_epoch: int | None = None
    early: bool = False


class EpochCheckpoints(Checkpoint):
    """Writes ``folder/checkpoint.ckpt`` after each epoch and, before it, ``folder/best.ckpt`` after the best so far.

    In this order a kill between the two costs nothing: the epoch is done again, to the same weights.
    """

    def __init__(self, folder: Path, *, timer: Timer, early: EarlyStopping | None) -> None:
        self._folder = folder
        self._timer = timer
        self._early = early
        self._best_epoch: int | None = None

    def on_train_epoch_end(self, trainer: lightning.Trainer, _module: lightning.LightningModule) -> None:
        """Write; early stopping has looked at the epoch before (Lightning calls checkpoints last)."""
        if self._early is not None and self._early.wait_count == 0:
            self._best_epoch = trainer.current_epoch + 1
            # Without the rest, Lightning would not put the average of the weights in their place.
            averaged = any(isinstance(each, WeightAveraging) for each in trainer.callbacks)  # type: ignore[attr-defined]
            trainer.save_checkpoint(self._folder / BEST_NAME, weights_only=not averaged)
        trainer.save_checkpoint(self._folder / CHECKPOINT_NAME)

    def state_dict(self) -> dict[str, Any]:
        """For ``read_progress``."""
        early = self._early is not None and self._early.wait_count >= self._early.patience
        return {"seconds": self._timer.time_elapsed(), "best_epoch": self._best_epoch, "early": early}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint; the others restore the rest."""
        self._best_epoch = state_dict["best_epoch"]


class CheckpointFiles(TorchCheckpointIO):
    """Writes beside the old file and then replaces it, so that a checkpoint is there whole at any moment.

    Lightning's own writer holds the whole file in memory first, and moves it over from the temporary folder, which may
    be another disk: a kill in the middle of that leaves half of it.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:  # noqa: ARG002
        """Replace ``path``.

        Raises:
            TrainingError: it cannot be written (the disk is full); the old file is untouched.
        """
        try:
            with replacing(Path(path)) as temporary, temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
        except (WriteError, RuntimeError) as error:
            # Where a write fails or is interrupted, torch raises an error of its own on top.
            reason = error.__cause__ if isinstance(error, WriteError) else error.__context__
            if isinstance(reason, KeyboardInterrupt):
                raise reason from None
            if not isinstance(reason, OSError):
                raise
            raise TrainingError(
                f"cannot write {path} ({reason.strerror}): what was there is kept; make room, then give --resume"
            ) from error


def early_stopping(patience: int) -> EarlyStopping | None:
    """Lightning's, after so many epochs in which the loss of the validation files has not become less; None for 0."""
    return EarlyStopping(VALIDATION_LOSS, patience=patience, check_on_train_epoch_end=True) if patience else None


def remove_unfinished(folder: Path, names: Iterable[str]) -> None:
    """Remove what a kill in the middle of writing files of these names left behind."""
    for name in map(Path, names):
        for path in folder.glob(f".{name.stem}.*{name.suffix}"):
            path.unlink()


def read_progress(folder: Path, module: TrainingModule) -> Progress:
    """How far the run in ``folder`` has come; nothing done if there is no checkpoint.

    Raises:
        ConfigError: the checkpoint is damaged, or is not one of this training.
    """
    path = folder / CHECKPOINT_NAME
    if not path.exists():
        return Progress()
    try:
        # Mapped: weights that nobody looks at are not read.
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        epochs, identity = int(checkpoint["epoch"]) + 1, checkpoint[IDENTITY_KEY]  # Lightning counts from 0
        state = checkpoint["callbacks"][EpochCheckpoints.__name__]
    except Exception as error:  # a damaged file fails anywhere inside the unpickler
        # Not in torch's words, which are about its own formats.
        raise ConfigError(f"{path} is damaged or foreign: remove its folder to start again") from error
    ours = module.identity()
    changed = [
        f"{name} {identity.get(name)!r} -> {ours.get(name)!r}"
        for name in {**identity, **ours}
        if identity.get(name) != ours.get(name)
    ]
    if changed:
        raise ConfigError(f"{path} is of another training ({'; '.join(changed)}): give another --output")
    return Progress(epochs, state["seconds"], state["best_epoch"], state["early"])
