"""A table of an epoch's figures, one row each, and a line for the person who watches."""

from __future__ import annotations

import csv
import math
import time
from pathlib import Path
from typing import Any, Final

import lightning
from lightning.pytorch.callbacks import Callback

from models.atomic_write import replacing
from models.errors import TrainingError
from train.module import TrainingModule
from train.progress import say

_HOPELESS: Final = 100.0
"""Training ends after an epoch whose mean loss is so many times that of giving every class the same chance, unless it
is less than in the epoch before and others follow: features that are not normalised may begin with thousands of times
that."""


class Curves(Callback):
    """Writes the table after each epoch, in the first of several processes only."""

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
        even = math.log(len(pl_module.card.head.labels))
        loss = figures["train_loss"]
        before = float(self._rows[-1]["train_loss"]) if self._rows else math.inf
        absurd = loss > _HOPELESS * even and (loss >= before or epoch == self.epochs)
        if absurd or not all(math.isfinite(value) for value in figures.values()):
            raise TrainingError(
                f"training diverged in epoch {epoch}: expected a loss that comes down to {even:.1f} (as by chance) or "
                f"less, got {f'{loss:.3g}' if math.isfinite(loss) else 'none that is a number'}; lower learning_rate "
                "(--lr)"
            )
        row = {"epoch": epoch, **{name: f"{value:.5f}" for name, value in figures.items()}, "seconds": f"{seconds:.1f}"}
        self._rows.append(row)
        if not trainer.is_global_zero:
            return
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
