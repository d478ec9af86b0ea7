"""What a network sees of audio that is shorter than its window: the same for training and for live audio."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


def tile(frames: FloatArray, size: int) -> FloatArray:
    """``frames`` (n, bands), n at least 1, over and over until there are ``size`` of them, (size, bands)."""
    return frames[np.arange(size) % len(frames)]
