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
from models.normalise import Normaliser
from models.spec import LogMel, ModelCard
from train.recipe import Recipe
from train.segments import Batch, ConsecutiveSegments, Gain, LabelledFrames, RandomSegments

_MOMENTUM = 0.9
"""The default of TFLearn, whose momentum optimiser a recipe means."""
_VALIDATION_NUMBERS = 4_000_000
"""Numbers in a batch of validation windows at most: 16 MB, and what the layers make of them."""


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
        recipe: Recipe,
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
        if isinstance(normaliser := getattr(self.network, "normalise", None), Normaliser):
            normaliser.fit(training.frames_of(0))
        self.training_tally, self.validation_tally = Tally(), Tally()
        self._file_sums = torch.zeros(0)

    def _epoch_seed(self) -> int:
        return self.seed * 1_000_003 + self.current_epoch

    def train_dataloader(self) -> Iterable[Batch]:
        """The next epoch's batches; asked for again before every epoch."""
        recipe, seed = self.recipe, self._epoch_seed()
        common: dict[str, Any] = {"data": self.training_frames, "frames": self.card.window.frames, "seed": seed}
        common |= {"batch_size": recipe.batch_size, "rank": self.global_rank, "world": self._world_size()}
        if recipe.segments == "random":
            return RandomSegments(**common, per_file=recipe.segments_per_file, slices=recipe.slices, gain=self._gain())
        per_file = 1 if recipe.segments == "first" else recipe.segments_per_file
        return ConsecutiveSegments(**common, step=self._step(recipe.overlap), per_file=per_file)

    def _step(self, overlap: float) -> int:
        return max(1, round(self.card.window.frames * (1.0 - overlap)))

    def _gain(self) -> Gain | None:
        (*_, spec) = self.card.inputs
        if not self.recipe.random_gain_db or not isinstance(spec, LogMel):
            return None
        return Gain(self.recipe.random_gain_db * spec.per_decibel, math.log10(spec.floor) * 10 * spec.per_decibel)

    def _world_size(self) -> int:
        return self.trainer.world_size if self._trainer is not None else 1

    def val_dataloader(self) -> Iterable[Batch]:
        """The windows that training would take, or windows side by side over every validation file; nothing if there
        is none."""
        if self.validation_frames is None:
            return []
        numbers = sum(bands * frames for bands, frames in self.card.input_shapes)
        return ConsecutiveSegments(
            self.validation_frames,
            self.card.window.frames,
            min(256, max(1, _VALIDATION_NUMBERS // numbers)),
            seed=None,
            step=self._step(0.0),
            per_file=1 if self.recipe.segments == "first" else 0,
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The recipe's optimiser."""
        rate = self.recipe.learning_rate
        if self.recipe.optimiser == "adam":
            return torch.optim.Adam(self.parameters(), lr=rate)
        momentum = _MOMENTUM if self.recipe.optimiser == "momentum" else 0.0
        return torch.optim.SGD(self.parameters(), lr=rate, momentum=momentum)

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
        logits: Tensor = self.network(*batch.windows)[self.card.head.name].float()
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
