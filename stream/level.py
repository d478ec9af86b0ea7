"""Is anything playing, and is it usable? Loudness by frame, the silence gate, and the signs of a useless signal."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

OPEN_DBFS = -54.0
CLOSE_DBFS = -60.0
"""The gate opens above the one and closes below the other, so that noise near either does not flicker."""
HOLD_S = 0.5
"""It closes so long after the last loud hop: between the beats of a dry drum there is nothing, and no silence."""

_CLIPPED_AT = 0.999
_CLIPPED_SHARE = 0.01
_MEMORY_S = 3.0


class LevelMeter:
    """Loudness of hops of ``hop_samples`` samples, whatever the size of the pieces fed.

    Hop ``i`` since the last ``reset`` covers samples ``[i * hop, (i + 1) * hop)``.
    """

    def __init__(self, hop_samples: int, seconds_per_hop: float) -> None:
        self._hop = hop_samples
        self._pending: FloatArray = np.empty(0, dtype=np.float32)
        self._hold = round(HOLD_S / seconds_per_hop)
        self._quiet = self._hold + 1  # hops since the last loud one; the gate is open while they are no more than held
        memory = max(1, round(_MEMORY_S / seconds_per_hop))
        self._powers: deque[float] = deque(maxlen=memory)
        self._flat: deque[bool] = deque(maxlen=memory)
        self._clipped: deque[float] = deque(maxlen=memory)

    def reset(self) -> None:
        """What comes next does not follow on."""
        self._pending = self._pending[:0]

    def feed(self, samples: FloatArray) -> BoolArray:
        """Take mono samples (n,); return, for each hop they complete, whether the gate is open: shape (hops,)."""
        pending = np.concatenate([self._pending, samples]) if len(self._pending) else samples
        count = len(pending) // self._hop
        self._pending = pending[count * self._hop :].copy()
        if not count:
            return np.empty(0, dtype=np.bool_)
        hops = pending[: count * self._hop].reshape(count, self._hop)
        powers = np.square(hops, dtype=np.float64).mean(axis=1)
        self._powers.extend(powers.tolist())
        self._flat.extend((hops.max(axis=1) == hops.min(axis=1)).tolist())
        self._clipped.extend((np.abs(hops) >= _CLIPPED_AT).mean(axis=1).tolist())
        active = np.empty(count, dtype=np.bool_)
        for index, level in enumerate(to_dbfs(powers)):
            loud = level > (CLOSE_DBFS if self._quiet <= self._hold else OPEN_DBFS)
            self._quiet = 0 if loud else self._quiet + 1
            active[index] = self._quiet <= self._hold
        return active

    @property
    def level_dbfs(self) -> float | None:
        """RMS of the last seconds in dB below full scale; None before any audio."""
        return float(to_dbfs(np.asarray(np.mean(self._powers)))) if self._powers else None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the signal of the last seconds useless, in plain words."""
        if len(self._powers) < (self._powers.maxlen or 1):
            return ()
        found = []
        if all(self._flat):
            found.append("flat: every sample is the same, the input is muted or not plugged in")
        elif np.mean(self._clipped) > _CLIPPED_SHARE:
            found.append("clipped: the input is too loud, turn its gain down")
        return tuple(found)


def to_dbfs(power: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean square to dB relative to a full-scale square wave."""
    return np.asarray(10 * np.log10(np.maximum(power, 1e-20)))
