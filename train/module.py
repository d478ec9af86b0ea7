"""One network in training, as Lightning wants it: its batches, its step, its optimiser.

Everything random in an epoch follows from the seed and the epoch's number, so that a run that was killed and resumed
ends with the same weights as one that was not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.strategies import Strategy
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional

from models.architectures import build
from models.errors import ConfigError
from models.model_file import CARD_KEY
from models.normalise import Normaliser
from models.spec import ModelCard
from train.recipe import Recipe
from train.schedule import schedule
from train.segments import Batch, ConsecutiveSegments, LabelledFrames, RandomSegments, Segments
from train.start import describe, start_from

_MOMENTUM = 0.9
"""The default of TFLearn, whose momentum optimiser a recipe means."""
_SEEDS_APART = 1_000_000_007
VALIDATION_LOSS = "validation_loss"
_LEAST_COUNT = 1e-3
"""A label that nobody gave cannot count for infinitely much."""
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

    With ``start`` it begins with the weights of that model. ``learning_rate`` is the recipe's and may be set before
    training. With ``compiled`` the network runs through ``torch.compile``, in every process of its own; names in
    checkpoints stay the same.
    """

    def __init__(
        self,
        card: ModelCard,
        recipe: Recipe,
        *,
        training: LabelledFrames,
        validation: LabelledFrames | None,
        seed: int,
        start: Path | None = None,
    ) -> None:
        super().__init__()
        self.card, self.recipe, self.seed = card, recipe, seed
        self.training_frames, self.validation_frames = training, validation
        torch.manual_seed(seed)
        # Channels last: the same numbers, and the convolutions of one channel take half the time on a processor.
        self.network: Any = build(card).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if isinstance(normaliser := getattr(self.network, "normalise", None), Normaliser):
            normaliser.fit(training.frames_of(0))
        self._start = "fresh weights"
        if start is not None:
            start_from(self.network, card, start)
            self._start = describe(start)
        self.pupil: nn.Linear | None = None
        if training.teacher is not None:
            self.pupil = nn.Linear(embedding_length(card), training.teacher.outputs)
        for at, (targets, of_shares) in enumerate(zip(training.targets, training.of_shares, strict=True)):
            # Evened out, other shares would be learned than the raters' own.
            balance = 0.0 if of_shares else recipe.balance
            self.register_buffer(f"_weights_{at}", _balancing(targets, balance), persistent=False)
        self.learning_rate = recipe.learning_rate
        self.compiled = False
        self._training_tally, self._validation_tally = Tally(self.device), Tally(self.device)
        self._validation_figures: dict[str, float] = {}
        self._file_sums = torch.zeros(0)

    def setup(self, stage: str) -> None:  # noqa: ARG002  # Lightning's name
        """Compile, where asked to."""
        if self.compiled:
            self.network.compile()
            if self.pupil is not None:
                self.network.embed = torch.compile(self.network.embed)

    def _epoch_seed(self) -> int:
        return self.seed * 1_000_003 + self.current_epoch

    def train_dataloader(self) -> Segments:
        """The next epoch's batches; asked for again before every epoch."""
        recipe, seed = self.recipe, self._epoch_seed()
        common: dict[str, Any] = {"data": self.training_frames, "frames": self.card.window.frames, "seed": seed}
        common |= {"batch_size": recipe.batch_size, "rank": self.global_rank, "world": self._world_size()}
        if recipe.segments == "random":
            return RandomSegments(
                **common,
                per_file=recipe.segments_per_file,
                slices=recipe.slices,
                recoded_share=recipe.codecs,
                augmentation=recipe.augmentation,
            )
        per_file = 1 if recipe.segments == "first" else recipe.segments_per_file
        return ConsecutiveSegments(**common, step=self._step(recipe.overlap), per_file=per_file)

    def _step(self, overlap: float) -> int:
        return max(1, round(self.card.window.frames * (1.0 - overlap)))

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
        if self.recipe.optimiser == "adamw":
            return torch.optim.AdamW(self.parameters(), lr=rate, weight_decay=self.recipe.weight_decay)
        momentum = _MOMENTUM if self.recipe.optimiser == "momentum" else 0.0
        return torch.optim.SGD(self.parameters(), lr=rate, momentum=momentum)

    def on_train_epoch_start(self) -> None:
        """Let the epoch's dropout follow from its number and, so that no two processes drop the same, the process."""
        torch.manual_seed(self._epoch_seed() + _SEEDS_APART * self.global_rank)
        self._training_tally = Tally(self.device)

    def training_step(self, batch: Batch, _index: int) -> Tensor:
        """Mean loss of one batch: with several processes, their mean is that of the whole batch."""
        logits, heard = self._answers(batch)
        loss = self._loss(logits, batch.targets)
        # The curves of training and validation are of one loss: labels alone, each counting the same.
        self._training_tally.add(logits[0], batch.targets[0], loss)
        if self.recipe.balance or batch.soft_targets:
            weights = (getattr(self, f"_weights_{at}") for at in range(len(batch.targets)))
            targets = tuple(map(torch.mul, batch.targets, weights))
            if batch.soft_targets:
                share = self.recipe.soft_targets
                targets = tuple(_softened(*each, share) for each in zip(targets, batch.soft_targets, strict=True))
            loss = self._loss(logits, targets)
        if self.pupil is not None:
            # Not a number times nothing would not be nothing.
            known = ~batch.lessons.isnan().any(1)
            missed = (self.pupil(heard).float() - batch.lessons.nan_to_num()).square().mean(1)
            loss = loss + self.recipe.teacher * (missed * known).sum()
        return loss * self._world_size() / batch.size

    def on_validation_epoch_start(self) -> None:
        """Start counting anew."""
        files = 0 if self.validation_frames is None else len(self.validation_frames.paths)
        self._validation_tally = Tally(self.device)
        self._file_sums = torch.zeros(files, len(self.card.head.labels), device=self.device)

    def validation_step(self, batch: Batch, _index: int) -> None:
        """Count one batch, and add its probabilities to those of their files."""
        logits, _ = self._answers(batch)
        self._validation_tally.add(logits[0], batch.targets[0], self._loss(logits, batch.targets))
        self._file_sums.index_add_(0, batch.tracks, logits[0].softmax(1))

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

    def _answers(self, batch: Batch) -> tuple[list[Tensor], Tensor]:
        """Logits (batch, classes) of each question and, where there is a teacher, what the network made of the windows
        before it answered, (batch, embedding)."""
        if self.pupil is None:
            answers, heard = self.network(*batch.windows), torch.empty(0)
        else:
            heard = self.network.embed(*batch.windows)
            answers = self.network.answer(heard)
        return [answers[head.name].float() for head in self.card.heads], heard

    def _loss(self, logits: list[Tensor], targets: tuple[Tensor, ...]) -> Tensor:
        """The sum over all questions and windows of the cross-entropies."""
        # Where a target is all zeros there is no answer, and nothing is lost.
        losses = [functional.cross_entropy(*each, reduction="sum") for each in zip(logits, targets, strict=True)]
        return losses[0] + self.recipe.other_heads * sum(losses[1:], torch.zeros((), device=self.device))

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
            "start": self._start,
            "teacher": self._taught_by(),
            "validation tracks": "none" if self.validation_frames is None else self.validation_frames.describe(),
        }

    def _taught_by(self) -> str:
        teacher, soft = self.training_frames.teacher, self.training_frames.soft_targets
        words = "none" if teacher is None else teacher.describe()
        return words if soft is None else f"{words}, soft targets {soft.origin}"

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the card in, with the epochs done so far, so that a checkpoint can be exported by itself."""
        provenance = self.card.provenance.model_copy(update={"epochs": self.current_epoch + 1})
        checkpoint[CARD_KEY] = self.card.model_copy(update={"provenance": provenance}).to_json()
        checkpoint[IDENTITY_KEY] = self.identity()


def embedding_length(card: ModelCard) -> int:
    """Numbers in the embedding of the card's network.

    Raises:
        ConfigError: it has none.
    """
    with torch.device("meta"):
        length = getattr(build(card), "embedding_length", None)
    if not isinstance(length, int):
        raise ConfigError(
            f"expected a network with an embedding that a teacher can be heard in, {card.architecture.name} has none: "
            "leave --teacher out, or take recipe base"
        )
    return length


def _softened(targets: Tensor, soft: Tensor, share: float) -> Tensor:
    """``targets`` (n, classes), but by ``share`` the ``soft`` ones where there are any."""
    known = soft.sum(1, keepdim=True) > 0
    return torch.where(known, (1 - share) * targets + share * soft, targets)


def _balancing(targets: Tensor, balance: float) -> Tensor:
    """What each label (classes,) counts for, from the targets of training tracks (tracks, classes): on the mean over
    the tracks 1; with ``balance`` 0 the same each, with 1 each label as much as every other, altogether."""
    counts = targets.sum(0)
    weights = counts.clamp_min(_LEAST_COUNT).pow(-balance)
    return weights * counts.sum() / (weights * counts).sum().clamp_min(1e-9)
