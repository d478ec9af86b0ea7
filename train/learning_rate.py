"""The learning-rate range test (Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, section 3.3).

Lightning's own finder was tried: it suggests the steepest fall of the loss over the rate itself, so that chance among
the smallest rates decides (1e-7 for both networks tried), of losses smoothed over fifty batches from half their value.
This one looks at the fall over the logarithm of the rate, as the test's picture is drawn.
"""

from __future__ import annotations

import copy
import json
import math
import tempfile
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import Final, Self

import lightning
import numpy as np
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim.lr_scheduler import ExponentialLR

from models.atomic_write import replacing
from models.errors import ConfigError, TrainingError
from train.loop import Execution, interruptible, quieten_lightning, require_new
from train.module import TrainingModule
from train.progress import say
from train.segments import Batch, Segments

CURVE_NAME: Final = "learning_rate.json"
PICTURE_NAME: Final = "learning_rate.png"

_LEAST_RATE, _GREATEST_RATE = 1e-6, 10.0
_STEPS = 140
"""Twenty to a tenfold rise."""
_SMOOTHING_STEPS = 5.0
"""Deviation of the bell curve that the losses are averaged by: a quarter of a tenfold rise."""
_HOPELESS = 4.0
"""The test ends when a loss is so many times the first."""
_LEAST_FALL = 0.1
"""The share by which the loss must have fallen somewhere, for its fall to mean anything."""


@dataclass(frozen=True, slots=True)
class RateCurve:
    """A range test: the loss of one batch at each rate, and the ``rate`` that follows from them."""

    rate: float
    rates: tuple[float, ...]
    losses: tuple[float, ...]

    @classmethod
    def of(cls, losses: list[float]) -> Self:
        """Of the losses at growing rates: choose the rate at which the smoothed loss falls most steeply over the
        logarithm of the rate, before its least value.

        Raises:
            TrainingError: the loss falls nowhere.
        """
        losses = list(takewhile(math.isfinite, losses))
        rates = np.geomspace(_LEAST_RATE, _GREATEST_RATE, _STEPS)[: len(losses)].tolist()
        smooth = smoothed(losses)
        lowest = int(smooth.argmin()) if len(smooth) else 0
        if lowest < 2 or smooth[lowest] > (1.0 - _LEAST_FALL) * smooth[0]:
            raise TrainingError(
                f"expected a loss that falls at some learning rate between {_LEAST_RATE:g} and {_GREATEST_RATE:g}, "
                f"found none in {len(losses)} batches: give a learning rate"
            )
        steepest = int(np.gradient(smooth)[: lowest + 1].argmin())
        # Two digits: more would pretend to know more.
        return cls(float(f"{rates[steepest]:.1e}"), tuple(rates), tuple(losses))

    @classmethod
    def read(cls, path: Path) -> Self:
        """From JSON.

        Raises:
            ConfigError: not such a file.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls(float(values["rate"]), tuple(values["rates"]), tuple(values["losses"]))
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"{path} is damaged ({error!r}): remove its folder to start again") from error

    def write(self, folder: Path) -> None:
        """As JSON, and as a picture."""
        with replacing(folder / CURVE_NAME) as temporary:
            temporary.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")
        with replacing(folder / PICTURE_NAME) as temporary:
            self._draw(temporary)

    def _draw(self, path: Path) -> None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        axes.semilogx(self.rates, self.losses, ".", color="0.7", label="each batch")
        axes.semilogx(self.rates, smoothed(list(self.losses)), label="smoothed")
        axes.axvline(self.rate, color="C3", linestyle="--", label=f"chosen: {self.rate:g}")
        axes.set(xlabel="learning rate", ylabel="loss", title="Learning-rate range test")
        # The rise at the end would hide everything else.
        axes.set_ylim(0.0, 2.0 * self.losses[0])
        axes.legend()
        figure.savefig(path)


def smoothed(losses: list[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Each loss averaged with those around it, without delay to either side."""
    at = np.arange(len(losses))
    weights = np.exp(-0.5 * ((at[:, None] - at) / _SMOOTHING_STEPS) ** 2)
    return np.asarray(weights @ np.asarray(losses, dtype=np.float64) / weights.sum(1))


def find_learning_rate(
    module: TrainingModule, *, folder: Path, resume: bool, execution: Execution | None = None
) -> float:
    """Train a copy of the network, on one device, at rates that grow with every batch, and choose one; ``module`` stays
    as it is. The choice and its curve are kept in ``folder`` (``learning_rate.json``, ``learning_rate.png``); with
    ``resume`` the rate found there is taken.

    Raises:
        ConfigError: the folder holds a checkpoint and ``resume`` is not given.
        TrainingError: the loss falls at no rate.
    """
    require_new(folder, resume=resume)
    if resume and (folder / CURVE_NAME).exists():
        return RateCurve.read(folder / CURVE_NAME).rate
    folder.mkdir(parents=True, exist_ok=True)
    say("looking for a learning rate")
    curve = RateCurve.of(_losses(module, (execution or Execution()).accelerator))
    curve.write(folder)
    return curve.rate


class _Probe(lightning.LightningModule):
    """A copy of a training module whose rate grows with every batch, and which remembers the losses."""

    def __init__(self, module: TrainingModule) -> None:
        super().__init__()
        # The features are shared, not copied into memory.
        shared = (module.training_frames, module.validation_frames)
        self.inner = copy.deepcopy(module, {id(each): each for each in shared})
        self.inner.learning_rate = _LEAST_RATE
        self.losses: list[float] = []

    def train_dataloader(self) -> Segments:
        """As training."""
        return self.inner.train_dataloader()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The recipe's optimiser, its rate growing evenly on a logarithmic scale."""
        optimiser = self.inner.optimiser()
        growth = ExponentialLR(optimiser, (_GREATEST_RATE / _LEAST_RATE) ** (1 / (_STEPS - 1)))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": growth, "interval": "step"}}

    def on_train_epoch_start(self) -> None:
        """As training."""
        self.inner.on_train_epoch_start()

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """As training; remembers the loss, and ends when it is hopeless."""
        loss = self.inner.training_step(batch, index)
        self.losses.append(loss.item())
        if not self.losses[-1] < _HOPELESS * self.losses[0]:
            self.trainer.should_stop = True
        return loss


def _losses(module: TrainingModule, accelerator: str) -> list[float]:
    quieten_lightning()
    probe = _Probe(module)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = lightning.Trainer(
            accelerator=accelerator,
            devices=1,
            precision=module.recipe.precision,
            max_epochs=-1,
            max_steps=_STEPS,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            reload_dataloaders_every_n_epochs=1,
            default_root_dir=scratch,
        )
        with interruptible():
            trainer.fit(probe)
    return probe.losses
