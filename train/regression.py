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
    from sklearn.linear_model import LogisticRegression

    # Their mean is 1, so that the penalty means the same.
    weights = (1.0 * np.bincount(targets)[targets]) ** -balance
    regression = LogisticRegression(C=inverse_penalty, max_iter=300)
    regression.fit(features, targets, sample_weight=weights / weights.mean())
    return regression
