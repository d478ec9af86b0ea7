"""What a network sees of audio that is shorter than its window: the same for training and for live audio."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from models.spec import ModelCard

FloatArray = npt.NDArray[np.float32]


def filled(features: Sequence[FloatArray], card: ModelCard) -> tuple[FloatArray, ...]:
    """Features (frames, bands) of each input with equally many frames, tiled to one window where the card says so."""
    frames = min(len(each) for each in features)
    if 0 < frames < card.window.frames and card.window.short == "tile":
        return tuple(tile(each[:frames], card.window.frames) for each in features)
    return tuple(each[:frames] for each in features)


def tile(frames: FloatArray, size: int) -> FloatArray:
    """``frames`` (n, bands), n at least 1, over and over until there are ``size`` of them, (size, bands)."""
    return frames[np.arange(size) % len(frames)]
