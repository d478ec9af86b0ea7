"""One network in training, as Lightning wants it: its batches, its step, its optimiser.

Everything random in an epoch follows from the seed and the epoch's number, so that a run that was killed and resumed
ends with the same weights as one that was not.
"""

from __future__ import annotations

import math
from typing import Any

import lightning
import torch
from lightning.pytorch.strategies import Strategy
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional

from models.architectures import build
from models.model_file import CARD_KEY
from models.normalise import Normaliser
from models.spec import LogMel, ModelCard
from train.recipe import Recipe
from train.schedule import schedule
from train.segments import Batch, ConsecutiveSegments, Gain, LabelledFrames, RandomSegments, Segments

_MOMENTUM = 0.9
"""The default of TFLearn, whose momentum optimiser a recipe means."""
_SEEDS_APART = 1_000_000_007
VALIDATION_LOSS = "validation_loss"
IDENTITY_KEY = "genrescope-training"
"""Where a checkpoint holds ``TrainingModule.identity``."""
_VALIDATION_NUMBERS = 4_000_000
"""Numbers in a batch of validation windows at most: 16 MB, and what the layers make of them."""


class Tally:
    """Sums over the windows of an epoch, from which come their mean loss and their accuracy."""

    def __init__(self, device: torch.device) -> None:
        self._sums = torch.zeros(4, device=device)

    def add(self, logits: Tensor, targets: Tensor, loss: Tensor) -> None:
        """One batch: ``logits`` and ``targets`` (batch, classes) of the first question, the sum of their ``loss``."""
        # Kept as a tensor: reading a number back would make a GPU wait at every step.
        known = targets.sum(1) > 0
        hits = ((logits.detach().argmax(1) == targets.argmax(1)) & known).sum()
        self._sums += torch.stack([loss.detach(), hits, known.sum(), hits.new_tensor(len(targets))])

    def figures(self, stage: str, strategy: Strategy) -> dict[str, float]:
        """Mean loss, and the share of the windows that answer the first question whose most likely label is theirs,
        over all processes."""
        loss, hits, known, windows = _sum(self._sums, strategy).tolist()
        return {f"{stage}_loss": loss / windows, f"{stage}_accuracy": hits / max(1, known)}


def _sum(values: Tensor, strategy: Strategy) -> Tensor:
    """Over all processes."""
    # A copy: the strategy of several processes writes into what it is given.
    total: Tensor = strategy.reduce(values.clone(), reduce_op="sum")
    return total


class TrainingModule(lightning.LightningModule):
    """A card's network with the recipe's optimiser and batches; its checkpoints carry the card and what else decides
    how training goes on.

    ``learning_rate`` is the recipe's and may be set before training. With ``compiled`` the network runs through
    ``torch.compile``, in every process of its own; names in checkpoints stay the same.
    """

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
        self.learning_rate = recipe.learning_rate
        self.compiled = False
        self._training_tally, self._validation_tally = Tally(self.device), Tally(self.device)
        self._validation_figures: dict[str, float] = {}
        self._file_sums = torch.zeros(0)

    def setup(self, stage: str) -> None:  # noqa: ARG002  # Lightning's name
        """Compile, where asked to."""
        if self.compiled:
            self.network.compile()

    def _epoch_seed(self) -> int:
        return self.seed * 1_000_003 + self.current_epoch

    def train_dataloader(self) -> Segments:
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

    def val_dataloader(self) -> Segments | list[Batch]:
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
            rank=self.global_rank,
            world=self._world_size(),
            step=self._step(0.0),
            per_file=1 if self.recipe.segments == "first" else 0,
        )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The recipe's optimiser and schedule."""
        optimiser = self.optimiser()
        scheduler = schedule(
            optimiser, self.recipe, learning_rate=self.learning_rate, batches=len(self.train_dataloader())
        )
        if scheduler is None:
            return optimiser
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def optimiser(self) -> torch.optim.Optimizer:
        """The recipe's, at the learning rate."""
        rate = self.learning_rate
        if self.recipe.optimiser == "adam":
            return torch.optim.Adam(self.parameters(), lr=rate)
        momentum = _MOMENTUM if self.recipe.optimiser == "momentum" else 0.0
        return torch.optim.SGD(self.parameters(), lr=rate, momentum=momentum)

    def on_train_epoch_start(self) -> None:
        """Let the epoch's dropout follow from its number and, so that no two processes drop the same, the process."""
        torch.manual_seed(self._epoch_seed() + _SEEDS_APART * self.global_rank)
        self._training_tally = Tally(self.device)

    def training_step(self, batch: Batch, _index: int) -> Tensor:
        """Mean cross-entropy of one batch: with several processes, their mean is that of the whole batch."""
        loss = self._loss(batch, self._training_tally)[1]
        return loss * self._world_size() / batch.size

    def on_validation_epoch_start(self) -> None:
        """Start counting anew."""
        files = 0 if self.validation_frames is None else len(self.validation_frames.paths)
        self._validation_tally = Tally(self.device)
        self._file_sums = torch.zeros(files, len(self.card.head.labels), device=self.device)

    def validation_step(self, batch: Batch, _index: int) -> None:
        """Count one batch, and add its probabilities to those of their files."""
        logits, _ = self._loss(batch, self._validation_tally)
        self._file_sums.index_add_(0, batch.tracks, logits.softmax(1))

    def on_validation_epoch_end(self) -> None:
        """Sum up, over all processes."""
        assert self.validation_frames is not None
        strategy = self.trainer.strategy
        targets = self.validation_frames.targets[0]
        known = targets.sum(1) > 0
        hits = (_sum(self._file_sums, strategy).argmax(1).cpu() == targets.argmax(1))[known]
        self._validation_figures = self._validation_tally.figures("validation", strategy)
        # What early stopping looks at.
        self.log(VALIDATION_LOSS, self._validation_figures[VALIDATION_LOSS])
        self._validation_figures["validation_file_accuracy"] = hits.float().mean().item()

    def _loss(self, batch: Batch, tally: Tally) -> tuple[Tensor, Tensor]:
        """Logits (batch, classes) of the first question, and the sum over all of the windows' cross-entropies."""
        answers = self.network(*batch.windows)
        logits = [answers[head.name].float() for head in self.card.heads]
        # Where a target is all zeros there is no answer, and nothing is lost.
        losses = [functional.cross_entropy(*each, reduction="sum") for each in zip(logits, batch.targets, strict=True)]
        loss = losses[0] + self.recipe.other_heads * sum(losses[1:], torch.zeros((), device=self.device))
        tally.add(logits[0], batch.targets[0], loss)
        return logits[0], loss

    def figures(self) -> dict[str, float]:
        """Of the epoch just done: loss and accuracy of the training windows and, if there are validation files, of
        their windows, and the accuracy of the files by the mean of their windows' probabilities. With several processes
        all must ask."""
        return {**self._training_tally.figures("train", self.trainer.strategy), **self._validation_figures}

    def identity(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to be one of this training; plain values by name."""
        recipe = self.recipe.model_dump(mode="json", exclude={"epochs", "learning_rate"})
        if self.recipe.schedule == "one-cycle":
            recipe["epochs"] = self.recipe.epochs
        return {
            **recipe,
            "learning_rate": self.learning_rate,
            "seed": self.seed,
            **{f"labels of {head.name}": list(head.labels) for head in self.card.heads},
            "inputs": [spec.model_dump(mode="json") for spec in self.card.inputs],
            "training tracks": self.training_frames.describe(),
            "validation tracks": "none" if self.validation_frames is None else self.validation_frames.describe(),
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the card in, with the epochs done so far, so that a checkpoint can be exported by itself."""
        provenance = self.card.provenance.model_copy(update={"epochs": self.current_epoch + 1})
        checkpoint[CARD_KEY] = self.card.model_copy(update={"provenance": provenance}).to_json()
        checkpoint[IDENTITY_KEY] = self.identity()
