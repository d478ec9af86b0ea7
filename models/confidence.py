"""How sure an answer is: from a network's logits, and from the mean of a file's windows, to probabilities that are as
often right as they say."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from models.spec import Head

FloatArray = npt.NDArray[np.float32]

_TINY: Final = 1e-30
_MANY: Final = 4.0
"""Windows that err in different directions; two neighbours err much alike."""


def calibrated(logits: FloatArray, head: Head) -> FloatArray:
    """Softmax of ``logits / temperature``: (n, classes) -> (n, classes)."""
    scaled = logits.astype(np.float64) / head.temperature
    scaled -= scaled.max(axis=1, keepdims=True, initial=-np.inf)
    powers = np.exp(scaled)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


def temper(probabilities: npt.NDArray[np.floating], temperature: float) -> npt.NDArray[np.float64]:
    """What ``calibrated`` would have made of the logits at so many times the temperature, of its probabilities
    (..., classes)."""
    powers = np.power(np.maximum(probabilities, _TINY, dtype=np.float64), 1.0 / temperature)
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def side_by_side(windows: int, hop_s: float, window_s: float) -> float:
    """How many windows of ``window_s`` seconds, side by side, are as long as so many that are ``hop_s`` apart."""
    return 1.0 + (windows - 1) * hop_s / window_s


def of_whole_file(mean: npt.NDArray[np.floating], file_temperature: float, *, windows: float) -> FloatArray:
    """The probabilities (classes,) of a file, from the mean (classes,) of those of its windows.

    ``windows`` is how many of them, side by side, its sound is. One is as sure as it says, nothing has been averaged
    away; from ``_MANY`` on the head's temperature for files counts in full.
    """
    share = min(1.0, (windows - 1.0) / (_MANY - 1.0))
    return temper(mean, file_temperature**share).astype(np.float32)
