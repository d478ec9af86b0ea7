"""The first head, fitted again to whole tracks when the network is done.

A network learns from windows, with a last layer that makes the best of single ones while all below it still moves; what
people ask about are tracks. So what the network hears stays as it is, and a logistic regression of its embedding's mean
over each track takes the first head's place: a classifier trained again, evened out, on a representation that was
learned otherwise (Kang et al., "Decoupling representation and classifier for long-tailed recognition", 2020, section
4.1). It stays one linear layer, for windows as for tracks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from torch import nn

from models.atomic_write import replacing
from models.heads import Heads
from models.model_file import CARD_KEY
from models.spec import ModelCard
from train.evaluate import Sounds, windows_of
from train.export import NETWORK_PREFIX, load_checkpoint
from train.progress import track_progress
from train.regression import fit_regression
from train.track import Track

REFITTED_NAME: Final = "refitted.ckpt"
_WINDOWS_A_TRACK: Final = 32
_LEAST_DEVIATION: Final = 1e-6


def refit(
    checkpoint: Path, tracks: Sequence[Track], features: Sounds, *, inverse_penalty: float, balance: float
) -> Path:
    """Write beside a checkpoint one whose first head is fitted to whole tracks; return where.

    Args:
        checkpoint: of a network that has an embedding.
        tracks: those that it has learned from, and their ``features``.
        inverse_penalty, balance: as ``fit_regression``'s.
    """
    network, card = load_checkpoint(checkpoint)
    targets = np.array([card.head.labels.index(track.label) for track in tracks])
    title = f"Fitting {card.head.name} to whole tracks"
    means = np.stack(
        [
            _mean_embedding(network, card, features[track.path])
            for track in track_progress(tracks, total=len(tracks), title=title)
        ]
    )
    centre, deviation = means.mean(0), np.maximum(means.std(0), _LEAST_DEVIATION)
    regression = fit_regression((means - centre) / deviation, targets, inverse_penalty=inverse_penalty, balance=balance)
    weight, bias = regression.coef_ / deviation, regression.intercept_
    if len(card.head.labels) == 2:
        # Of two classes scikit-learn keeps one row, for the second against the first.
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    head = cast(nn.Linear, cast(Heads, network.heads)[0])
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weight))
        head.bias.copy_(torch.from_numpy(bias - weight @ centre))
    weights: Mapping[str, Any] = {NETWORK_PREFIX + name: values for name, values in network.state_dict().items()}
    with replacing(checkpoint.with_name(REFITTED_NAME)) as temporary:
        torch.save({CARD_KEY: card.to_json(), "state_dict": weights}, temporary)
    return checkpoint.with_name(REFITTED_NAME)


def _mean_embedding(network: nn.Module, card: ModelCard, sound: Sequence[np.ndarray]) -> np.ndarray:
    """(embedding,), over windows from all over the track."""
    windows = windows_of(sound, card)
    some = np.unique(np.linspace(0, len(windows[0]) - 1, _WINDOWS_A_TRACK).round().astype(int))
    with torch.inference_mode():
        embedded = cast(Any, network).embed(*(torch.from_numpy(np.ascontiguousarray(each[some])) for each in windows))
    return np.asarray(embedded.numpy().mean(0), dtype=np.float64)
