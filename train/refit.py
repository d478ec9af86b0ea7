"""Heads fitted again to whole tracks when the network is done.

A network learns from windows, with a last layer that makes the best of single ones while all below it still moves; what
people ask about are tracks. So what the network hears stays as it is, and a logistic regression of its embedding's mean
over each track takes the first head's place: a classifier trained again, evened out, on a representation that was
learned otherwise (Kang et al., "Decoupling representation and classifier for long-tailed recognition", 2020, section
4.1). Heads of shares of raters are fitted again too, not evened out, for that distorts shares. Each stays one linear
layer, for windows as for tracks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from models.atomic_write import replacing
from models.heads import Heads
from models.model_file import CARD_KEY
from models.spec import ModelCard
from train.evaluate import Sounds, windows_of
from train.export import NETWORK_PREFIX, load_checkpoint
from train.progress import track_progress
from train.question import Question, all_tracks
from train.regression import fit_regression, fit_shares

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

FloatArray = npt.NDArray[np.float64]

REFITTED_NAME: Final = "refitted.ckpt"
_WINDOWS_A_TRACK: Final = 32
_LEAST_DEVIATION: Final = 1e-6


def refit(
    checkpoint: Path, questions: Sequence[Question], features: Sounds, *, inverse_penalty: float, balance: float
) -> Path:
    """Write beside a checkpoint one whose first head, and those of shares, are fitted to whole tracks; return where.

    Args:
        checkpoint: of a network that has an embedding.
        questions: the tracks that it has learned from, by head, the first head's first; and their ``features``.
        inverse_penalty, balance: as ``fit_regression``'s.
    """
    network, card = load_checkpoint(checkpoint)
    heads = dict(zip((head.name for head in card.heads), cast(Heads, network.heads), strict=True))
    chosen = [each for at, each in enumerate(questions) if at == 0 or all(track.shares for track in each.tracks)]
    tracks = all_tracks(chosen)
    means = {
        track.path: _mean_embedding(network, card, features[track.path])
        for track in track_progress(tracks, total=len(tracks), title="Fitting heads to whole tracks")
    }
    for question in chosen:
        embeddings = np.stack([means[track.path] for track in question.tracks])
        centre, deviation = embeddings.mean(0), np.maximum(embeddings.std(0), _LEAST_DEVIATION)
        standardised = (embeddings - centre) / deviation
        if all(track.shares for track in question.tracks):
            shares = np.array([track.shares for track in question.tracks])
            regression = fit_shares(standardised, shares, inverse_penalty=inverse_penalty)
        else:
            targets = np.array([question.labels.index(track.label) for track in question.tracks])
            regression = fit_regression(standardised, targets, inverse_penalty=inverse_penalty, balance=balance)
        _put(cast(nn.Linear, heads[question.name]), regression, centre, deviation)
    weights: Mapping[str, Any] = {NETWORK_PREFIX + name: values for name, values in network.state_dict().items()}
    with replacing(checkpoint.with_name(REFITTED_NAME)) as temporary:
        torch.save({CARD_KEY: card.to_json(), "state_dict": weights}, temporary)
    return checkpoint.with_name(REFITTED_NAME)


def _put(head: nn.Linear, regression: LogisticRegression, centre: FloatArray, deviation: FloatArray) -> None:
    """Give a head the regression's weights, of embeddings as they are."""
    weight, bias = regression.coef_ / deviation, regression.intercept_
    if len(regression.classes_) == 2:
        # Of two classes scikit-learn keeps one row, for the second against the first.
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weight))
        head.bias.copy_(torch.from_numpy(bias - weight @ centre))


def _mean_embedding(network: nn.Module, card: ModelCard, sound: Sequence[npt.NDArray[np.float32]]) -> FloatArray:
    """(embedding,), over windows from all over the track."""
    windows = windows_of(sound, card)
    some = np.unique(np.linspace(0, len(windows[0]) - 1, _WINDOWS_A_TRACK).round().astype(int))
    with torch.inference_mode():
        embedded = cast(Any, network).embed(*(torch.from_numpy(np.ascontiguousarray(each[some])) for each in windows))
    return np.asarray(embedded.numpy().mean(0), dtype=np.float64)
