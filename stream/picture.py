"""The frames that people see: log-mel in log10, whatever the network listens to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.frontend import FrontEnd
from models.spec import LogMel, ModelCard
from stream.level import FloatArray

_BANDS = 40
_SHORTEST_FFT = 1024
"""A shorter one leaves the lowest bands without a single bin."""


class Picture:
    """A moving spectrogram of one channel: the network's own log-mel frames where it has them, else its own."""

    def __init__(self, card: ModelCard) -> None:
        self.spec = picture_spec(card)
        self._shared = next((at for at, spec in enumerate(card.inputs) if isinstance(spec, LogMel)), None)
        self._scale = np.float32(0.1 if self._shared is not None and card.inputs[self._shared] != self.spec else 1.0)
        self._front_end = FrontEnd(self.spec) if self._shared is None else None

    def reset(self) -> None:
        """What comes next does not follow on."""
        if self._front_end is not None:
            self._front_end.reset()

    def feed(self, samples: FloatArray, frames: Sequence[FloatArray]) -> FloatArray:
        """Take mono samples (n,) and the frames of each of the network's inputs that they complete; return those to
        show, (frames, bands) in log10 of power."""
        if self._front_end is not None:
            return self._front_end.feed(samples)
        assert self._shared is not None
        shown = frames[self._shared]
        return shown if self._scale == 1.0 else shown * self._scale


def picture_spec(card: ModelCard) -> LogMel:
    """What the frames shown are: those of the network's log-mel input in log10, or 40 bands in step with its frames."""
    for spec in card.inputs:
        if isinstance(spec, LogMel):
            return spec.model_copy(update={"unit": "log10"})
    clock = card.clock
    return LogMel(
        sample_rate_hz=clock.sample_rate_hz,
        n_fft=max(2 * clock.hop_samples, _SHORTEST_FFT),
        hop_samples=clock.hop_samples,
        n_mels=_BANDS,
        fmax_hz=clock.sample_rate_hz / 2,
    )
