"""Several networks that were trained apart as one checkpoint, which answers as ``models.joined`` says."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from models.atomic_write import replacing
from models.errors import ConfigError
from models.joined import MEMBERS
from models.model_file import CARD_KEY
from models.spec import ModelCard
from train.checkpoints import CHECKPOINT_NAME, remove_unfinished, write_checkpoint
from train.export import NETWORK_PREFIX, PUPIL_PREFIX, read_checkpoint
from train.loop import FITTED_NAME, Fitted, Stopped
from train.record import read_curves
from train.run_folder import CURVES_NAME
from train.wording import counted


def require_joined(folder: Path, card: ModelCard) -> None:
    """Refuse to write over what is not of several networks: a run of before there were two by default.

    Raises:
        ConfigError: the checkpoint in ``folder`` is of another number of networks than the card's.
        ModelFileError: it cannot be read.
    """
    if (path := folder / CHECKPOINT_NAME).exists():
        wanted, found = card.architecture.networks, read_checkpoint(path)[0].architecture.networks
        if wanted != found:
            raise ConfigError(
                f"{path}: expected {counted(wanted, 'network')} together, it is of {found}: give another --output"
            )


def join(members: Sequence[Fitted], folder: Path, card: ModelCard) -> Fitted:
    """Write ``folder/checkpoint.ckpt`` of these networks, which are those of ``card`` in order, and their curves: the
    seconds of all together, else the mean of those that still ran.

    Raises:
        ModelFileError: a checkpoint of theirs cannot be read.
        TrainingError: theirs cannot be written.
    """
    remove_unfinished(folder, (CHECKPOINT_NAME, CURVES_NAME, FITTED_NAME))
    weights = _weights([read_checkpoint(each.checkpoint)[1] for each in members])
    best = [each.best_epoch for each in members if each.best_epoch is not None]
    reasons: tuple[Stopped, ...] = ("time", "early", "all epochs")
    fitted = Fitted(
        checkpoint=folder / CHECKPOINT_NAME,
        learning_rate=members[0].learning_rate,
        epochs=max(each.epochs for each in members),
        best_epoch=round(fmean(best)) if best else None,
        minutes=round(sum(each.minutes for each in members), 2),
        stopped=next(reason for reason in reasons if reason in {each.stopped for each in members}),
    )
    provenance = card.provenance.model_copy(update={"epochs": fitted.best_epoch or fitted.epochs})
    card = card.model_copy(update={"provenance": provenance})
    write_checkpoint({CARD_KEY: card.to_json(), "state_dict": weights}, fitted.checkpoint)
    _write_curves(folder / CURVES_NAME, [read_curves(each.checkpoint.parent / CURVES_NAME) for each in members])
    fitted.write(folder)
    return fitted


def _weights(networks: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    weights = {
        f"{NETWORK_PREFIX}{MEMBERS}.{number}.{name.removeprefix(NETWORK_PREFIX)}": values
        for number, network in enumerate(networks)
        for name, values in network.items()
        if name.startswith(NETWORK_PREFIX)
    }
    weight, bias = f"{PUPIL_PREFIX}weight", f"{PUPIL_PREFIX}bias"
    if all(weight in network for network in networks):
        # Of all embeddings in a row, the mean of what each network makes of its own.
        weights[weight] = torch.cat([network[weight] for network in networks], dim=1) / len(networks)
        weights[bias] = torch.stack([network[bias] for network in networks]).mean(0)
    return weights


def _write_curves(path: Path, members: Sequence[Mapping[str, Sequence[float | None]]]) -> None:
    names = [name for name in members[0] if name != "epoch" and all(name in each for each in members)]
    if not names:
        return
    columns = {
        name: [_together(row, seconds=name == "seconds") for row in zip_longest(*(each[name] for each in members))]
        for name in names
    }
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", *columns])
        writer.writerows([epoch, *values] for epoch, values in enumerate(zip(*columns.values(), strict=True), start=1))


def _together(values: Sequence[float | None], *, seconds: bool) -> str:
    known = [value for value in values if value is not None]
    if seconds:
        return f"{sum(known):.1f}"
    return f"{fmean(known):.5f}" if known else ""
