"""Several networks that were trained apart as one checkpoint, which answers as ``models.joined`` says."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import torch
from torch import Tensor

from models.atomic_write import replacing
from models.joined import MEMBERS
from models.model_file import CARD_KEY
from models.spec import ModelCard
from train.checkpoints import CHECKPOINT_NAME
from train.export import NETWORK_PREFIX
from train.loop import Fitted
from train.record import read_curves
from train.run_folder import CURVES_NAME

PUPIL_PREFIX: Final = "pupil."
"""Of the weights in a checkpoint that say what the teacher would."""


def join(members: Sequence[Fitted], folder: Path, card: ModelCard) -> Fitted:
    """Write ``folder/checkpoint.ckpt`` of these networks, which are those of ``card`` in order, and their curves: the
    time of all together, else the mean of those that still ran."""
    states = [torch.load(each.checkpoint, map_location="cpu", weights_only=True)["state_dict"] for each in members]
    weights: dict[str, Tensor] = {
        f"{NETWORK_PREFIX}{MEMBERS}.{number}.{name.removeprefix(NETWORK_PREFIX)}": values
        for number, state in enumerate(states)
        for name, values in state.items()
        if name.startswith(NETWORK_PREFIX)
    }
    if all(f"{PUPIL_PREFIX}weight" in state for state in states):
        # Of all embeddings in a row, the mean of what each network makes of its own.
        weights[f"{PUPIL_PREFIX}weight"] = torch.cat([state[f"{PUPIL_PREFIX}weight"] for state in states], 1) / len(
            states
        )
        weights[f"{PUPIL_PREFIX}bias"] = torch.stack([state[f"{PUPIL_PREFIX}bias"] for state in states]).mean(0)
    fitted = Fitted(
        checkpoint=folder / CHECKPOINT_NAME,
        learning_rate=fmean(each.learning_rate for each in members),
        epochs=max(each.epochs for each in members),
        best_epoch=None if members[0].best_epoch is None else round(fmean(each.best_epoch or 0 for each in members)),
        minutes=round(sum(each.minutes for each in members), 2),
        stopped=members[-1].stopped,
    )
    provenance = card.provenance.model_copy(update={"epochs": fitted.epochs})
    content = {CARD_KEY: card.model_copy(update={"provenance": provenance}).to_json(), "state_dict": weights}
    with replacing(fitted.checkpoint) as temporary:
        torch.save(content, temporary)
    _write_curves(folder / CURVES_NAME, [read_curves(each.checkpoint.parent / CURVES_NAME) for each in members])
    fitted.write(folder)
    return fitted


def _write_curves(path: Path, members: Sequence[dict[str, tuple[float | None, ...]]]) -> None:
    columns: dict[str, list[Any]] = {}
    for name in members[0]:
        epochs = [
            [value for value in row if value is not None] for row in zip_longest(*(each[name] for each in members))
        ]
        columns[name] = [sum(row) if name == "seconds" else fmean(row) if row else "" for row in epochs]
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
