"""One network in training, as Lightning wants it: its batches, its step, its optimiser.

Everything random in an epoch follows from the seed and the epoch's number, so that a run that was killed and resumed
ends with the same weights as one that was not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.nn import functional

from models.architectures import build
from models.model_file import CARD_KEY
from models.spec import ModelCard
from train.recipes import LidyRecipe
from train.segments import Batch, ConsecutiveSegments, LabelledFrames, RandomSegments

_VALIDATION_BATCH = 256


class Tally:
    """Sums over the windows of an epoch, from which come their mean loss and their accuracy."""

    def __init__(self) -> None:
        self.windows = 0
        self._loss = torch.tensor(0.0)
        self._hits = torch.tensor(0)

    def add(self, logits: Tensor, targets: Tensor, loss: Tensor) -> None:
        """One batch: ``logits`` (batch, classes), ``targets`` (batch,), their mean ``loss``."""
        # Kept as tensors: reading a number back would make a GPU wait at every step.
        self._loss = self._loss.to(loss.device) + loss.detach() * len(targets)
        self._hits = self._hits.to(loss.device) + (logits.detach().argmax(1) == targets).sum()
        self.windows += len(targets)

    @property
    def loss(self) -> float:
        """Mean cross-entropy."""
        return self._loss.item() / self.windows

    @property
    def accuracy(self) -> float:
        """Share of the windows whose most likely label is theirs."""
        return self._hits.item() / self.windows


class TrainingModule(lightning.LightningModule):
    """A card's network with the recipe's optimiser and batches; its checkpoints carry the card."""

    def __init__(
        self,
        card: ModelCard,
        recipe: LidyRecipe,
        *,
        training: LabelledFrames,
        validation: LabelledFrames | None,
        seed: int,
    ) -> None:
        super().__init__()
        self.card, self.recipe, self.seed = card, recipe, seed
        self.training_frames, self.validation_frames = training, validation
        torch.manual_seed(seed)
        # Channels last: the same numbers, and the convolutions of one channel take half the time on a processor.
        self.network: Any = build(card).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network.standardise.fit(training.frames)
        self.training_tally, self.validation_tally = Tally(), Tally()
        self._file_sums = torch.zeros(0)

    def _epoch_seed(self) -> int:
        return self.seed * 1_000_003 + self.current_epoch

    def train_dataloader(self) -> Iterable[Batch]:
        """The next epoch's batches; asked for again before every epoch."""
        recipe, frames = self.recipe, self.card.window.frames
        per_file, batch_size = recipe.segments_per_file, recipe.batch_size
        if recipe.segments == "consecutive":
            return ConsecutiveSegments(self.training_frames, frames, per_file, batch_size, seed=self._epoch_seed())
        return RandomSegments(
            self.training_frames,
            frames,
            per_file,
            batch_size,
            seed=self._epoch_seed(),
            gain_db=recipe.random_gain_db,
            floor=math.log10(self.card.features.floor),
        )

    def val_dataloader(self) -> Iterable[Batch]:
        """Windows side by side over every validation file; nothing if there is none."""
        if self.validation_frames is None:
            return []
        return ConsecutiveSegments(self.validation_frames, self.card.window.frames, None, _VALIDATION_BATCH, seed=None)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain SGD at a constant rate."""
        return torch.optim.SGD(self.parameters(), lr=self.recipe.learning_rate)

    def on_train_epoch_start(self) -> None:
        """Let the epoch's dropout follow from its number."""
        torch.manual_seed(self._epoch_seed())
        self.training_tally = Tally()

    def training_step(self, batch: Batch, _index: int) -> Tensor:
        """Cross-entropy of one batch."""
        return self._loss(batch, self.training_tally)[1]

    def on_validation_epoch_start(self) -> None:
        """Start counting anew."""
        files = 0 if self.validation_frames is None else len(self.validation_frames.targets)
        self.validation_tally = Tally()
        self._file_sums = torch.zeros(files, len(self.card.head.labels), device=self.device)

    def validation_step(self, batch: Batch, _index: int) -> None:
        """Count one batch, and add its probabilities to those of their files."""
        logits, _ = self._loss(batch, self.validation_tally)
        self._file_sums.index_add_(0, batch.tracks, logits.softmax(1))

    def _loss(self, batch: Batch, tally: Tally) -> tuple[Tensor, Tensor]:
        logits: Tensor = self.network(batch.windows)[self.card.head.name].float()
        loss = functional.cross_entropy(logits, batch.targets)
        tally.add(logits, batch.targets, loss)
        return logits, loss

    def figures(self) -> dict[str, float]:
        """Of the epoch just done: loss and accuracy of the training windows and, if there are validation files, of
        their windows, and the accuracy of the files by the mean of their windows' probabilities."""
        figures = {"train_loss": self.training_tally.loss, "train_accuracy": self.training_tally.accuracy}
        if self.validation_frames is not None:
            hits = self._file_sums.argmax(1).cpu() == self.validation_frames.targets
            figures |= {
                "validation_loss": self.validation_tally.loss,
                "validation_accuracy": self.validation_tally.accuracy,
                "validation_file_accuracy": hits.float().mean().item(),
            }
        return figures

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the card in, with the epochs done so far, so that a checkpoint can be exported by itself."""
        provenance = self.card.provenance.model_copy(update={"epochs": self.current_epoch + 1})
        checkpoint[CARD_KEY] = self.card.model_copy(update={"provenance": provenance}).to_json()
