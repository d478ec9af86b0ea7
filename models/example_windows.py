"""Windows to compare runtimes on where there is no music at hand."""

from __future__ import annotations

import numpy as np

from models.frontend import features
from models.scorer import WindowBatch, windows_at_once
from models.spec import ModelCard

NOISES = 32


def noise_windows(card: ModelCard, *, count: int = NOISES) -> WindowBatch:
    """Some windows of noise, from loud to soft, through the card's front end: for where there is no music at hand.

    They are ``count`` or, of long windows, as many as are scored at once.
    """
    random = np.random.default_rng(0)
    count = min(count, windows_at_once(card))
    noises = [level * random.standard_normal(card.window_samples) for level in np.geomspace(0.3, 1e-4, count)]
    return tuple(
        np.stack([features(noise, spec)[: card.window.frames].T for noise in noises]).astype(np.float32)
        for spec in card.inputs
    )
