"""A logistic regression over whole tracks: of what a teacher says of them, or of what our network makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression


def fit_regression(
    features: npt.NDArray[np.floating], targets: npt.NDArray[np.integer], *, inverse_penalty: float, balance: float
) -> LogisticRegression:
    """Fit ``targets`` (tracks,) to ``features`` (tracks, numbers), of deviation 1 each.

    Args:
        inverse_penalty: scikit-learn's C: the smaller, the smaller are the weights.
        balance: how far rare classes count for more: 0 not at all, 1 as much as frequent ones altogether.
    """
    # Their mean is 1, so that the penalty means the same.
    weights = (1.0 * np.bincount(targets)[targets]) ** -balance
    return _fit(features, targets, weights / weights.mean(), inverse_penalty)


def fit_shares(
    features: npt.NDArray[np.floating], shares: npt.NDArray[np.floating], *, inverse_penalty: float
) -> LogisticRegression:
    """Fit ``shares`` (tracks, classes), each row of sum 1, to ``features``, see ``fit_regression``."""
    tracks, classes = shares.shape
    # scikit-learn knows labels alone: each track stands there once for every class, and counts by its share.
    every = np.tile(np.arange(classes), tracks)
    return _fit(np.repeat(features, classes, axis=0), every, shares.ravel(), inverse_penalty)


def _fit(
    features: npt.NDArray[np.floating],
    targets: npt.NDArray[np.integer],
    weights: npt.NDArray[np.floating],
    inverse_penalty: float,
) -> LogisticRegression:
    from sklearn.linear_model import LogisticRegression

    regression = LogisticRegression(C=inverse_penalty, max_iter=300)
    return regression.fit(features, targets, sample_weight=weights)
