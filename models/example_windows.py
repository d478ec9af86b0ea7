"""Windows to compare runtimes on where there is no music at hand."""

from __future__ import annotations

import numpy as np

from models.frontend import features
from models.scorer import WindowBatch, windows_at_once
from models.spec import ModelCard

_NOISES = 32


def noise_windows(card: ModelCard) -> WindowBatch:
    """Some windows of noise, from soft to loud, through the card's front end: for where there is no music at hand."""
    random = np.random.default_rng(0)
    count = min(_NOISES, windows_at_once(card))
    noises = [level * random.standard_normal(card.window_samples) for level in np.geomspace(0.3, 1e-4, count)]
    return tuple(
        np.stack([features(noise, spec)[: card.window.frames].T for noise in noises]).astype(np.float32)
        for spec in card.inputs
    )
