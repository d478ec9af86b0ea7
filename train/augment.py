"""What is done to training windows so that a network learns the music and not the recording: level, room, equaliser,
bandwidth, a small speaker, something else or noise that sounds along, missing stretches, and two windows as one.

All of it works on mel bands of power, a whole batch at a time, and is drawn anew for each window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.frontend import band_centres_hz
from models.spec import LogMel

_EQUALISER_POINTS = 5
"""Bands between these get what lies between their gains."""
_ROOM_DECAY_S = (0.1, 0.8)
"""Time in which the sound of a room falls by 60 dB."""
_ROOM_SHARE_DB = (-18.0, -3.0)
"""Energy of a room's answer to a frame, all of it together, beside the frame's own."""
_BEHIND_DB = (-25.0, -5.0)
"""How much softer than a window what sounds along with it is."""
_NOISE_DB = (-30.0, -8.0)
"""How much softer than a window steady noise is."""
_NOISE_DB_PER_OCTAVE = (-6.0, 3.0)
"""From a rumble to a hiss."""
_NOISE_FLUCTUATES = 0.3
"""Deviation of its power from frame to frame, as a share: as in the highest bands, in the lowest it is 0.7."""
_CUT_DB = (20.0, 60.0)
"""What is taken from the bands above a narrower bandwidth."""
_LEAST_BANDS_LEFT = 0.6
_SPEAKER_HZ = (100.0, 800.0)
"""Below a frequency between these a small speaker plays less and less."""
_SPEAKER_DB_PER_OCTAVE = (9.0, 24.0)
_MASK_SHARE = 0.12
"""Width of a mask at most, as a share of the bands or frames (Park et al., "SpecAugment", 2019)."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How much of each; all 0 leaves every window as it is.

    Args:
        spec: the features of the windows.
        gain_db: level, up to so much either way.
        equaliser_db: standard deviation of a smooth curve over the bands.
        room: share of the windows that are heard in a room.
        behind: share of the windows along with which another of the batch sounds, softer; labels stay.
        noise: share of the windows along with which steady noise sounds, softer.
        bandwidth: share of the windows that lose their highest bands.
        small_speaker: share of the windows that lose their lowest bands.
        masks: stretches of bands, and as many of frames, replaced by the window's mean (SpecAugment).
        mixup: windows are mixed with others, labels in proportion, by shares from Beta(mixup, mixup) (Zhang et al.,
            "mixup", 2018).
    """

    spec: LogMel
    gain_db: float = 0.0
    equaliser_db: float = 0.0
    room: float = 0.0
    behind: float = 0.0
    noise: float = 0.0
    bandwidth: float = 0.0
    small_speaker: float = 0.0
    masks: int = 0
    mixup: float = 0.0

    def apply(
        self, windows: Tensor, answers: Sequence[Tensor], draw: torch.Generator
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """``windows`` (n, bands, frames) and the ``answers`` to them, row by row, changed as drawn; shapes stay. A row
        of an answer that is all 0, or not a number, is not known and stays so."""
        windows = self._recorded(windows, draw)
        answers = tuple(answers)
        if self.mixup:
            windows, answers = self._mixed(windows, answers, draw)
        return self._masked(windows, draw), answers

    def _recorded(self, windows: Tensor, draw: torch.Generator) -> Tensor:
        """As another microphone, room or transmission would have it."""
        n, bands, _ = windows.shape
        scale = 10 * self.spec.per_decibel
        if self.small_speaker:  # it plays; the room and the noise are around it
            windows = windows - self._missing_bass(n, draw) * self.spec.per_decibel
        level = torch.zeros(n, 1, 1)
        if self.gain_db:
            level = level + self._between(n, (-self.gain_db, self.gain_db), draw)
        if self.equaliser_db:
            points = torch.randn(n, 1, _EQUALISER_POINTS, generator=draw) * self.equaliser_db
            level = level + functional.interpolate(points, bands, mode="linear", align_corners=True).transpose(1, 2)
        if self.room or self.behind or self.noise:
            power = torch.pow(10.0, windows / scale)
            if self.behind:
                softer = _power(self._between(n, _BEHIND_DB, draw)) * self._some(n, self.behind, draw)
                other = power[torch.randperm(n, generator=draw)]
                loudness = power.mean((1, 2), keepdim=True) / other.mean((1, 2), keepdim=True).clamp_min(
                    self.spec.floor
                )
                power = power + other * loudness * softer
            if self.noise:
                power = power + self._hiss(power, draw) * self._some(n, self.noise, draw)
            if self.room:
                power = power + self._echo(power, draw) * self._some(n, self.room, draw)
            # What a speaker took comes back with the gain, from the floor, as an amplifier's own noise does.
            windows = torch.log10(power.clamp_min(self.spec.floor)) * scale
        if self.bandwidth:
            left = self._between(n, (_LEAST_BANDS_LEFT, 1.0), draw) * bands
            above = torch.arange(bands)[None, :, None] >= left
            cut = self._between(n, _CUT_DB, draw) * self._some(n, self.bandwidth, draw)
            level = level - above * cut
        lowest = torch.log10(torch.tensor(self.spec.floor)) * scale
        return torch.maximum(windows + level * self.spec.per_decibel, lowest)

    def _hiss(self, power: Tensor, draw: torch.Generator) -> Tensor:
        """Steady noise for each window (n, bands, frames) of its own colour."""
        n = len(power)
        octaves = _octaves(self.spec)
        colour = _power(self._between(n, _NOISE_DB_PER_OCTAVE, draw) * (octaves - octaves.mean()))
        steady = colour * (1 + _NOISE_FLUCTUATES * torch.randn(power.shape, generator=draw)).clamp_min(0.05)
        loudness = power.mean((1, 2), keepdim=True) / steady.mean((1, 2), keepdim=True)
        return steady * loudness * _power(self._between(n, _NOISE_DB, draw))

    def _missing_bass(self, n: int, draw: torch.Generator) -> Tensor:
        """What a small speaker takes from each band, in decibels (n, bands, 1)."""
        low, high = np.log2(_SPEAKER_HZ)
        octaves = self._between(n, (low, high), draw) - _octaves(self.spec)
        slope = self._between(n, _SPEAKER_DB_PER_OCTAVE, draw) * self._some(n, self.small_speaker, draw)
        return octaves.clamp_min(0.0) * slope

    def _echo(self, power: Tensor, draw: torch.Generator) -> Tensor:
        """What a room answers: of each frame a tail that fades, behind it."""
        n, bands, frames = power.shape
        reach = min(frames - 1, round(_ROOM_DECAY_S[1] / self.spec.seconds_per_frame))
        decay = self._between(n, _ROOM_DECAY_S, draw) / self.spec.seconds_per_frame
        tail = torch.pow(10.0, -6.0 * torch.arange(1, reach + 1) / decay[:, :, 0])
        tail = tail / tail.sum(1, keepdim=True) * _power(self._between(n, _ROOM_SHARE_DB, draw))[:, :, 0]
        # A convolution of each row with its own tail: the filter is turned round, and reaches only what came before.
        padded = functional.pad(power, (reach, 0)).transpose(0, 1)[:, :, :-1]
        return functional.conv1d(padded, tail.flip(1)[:, None], groups=n).transpose(0, 1).reshape(n, bands, frames)

    def _mixed(
        self, windows: Tensor, answers: tuple[Tensor, ...], draw: torch.Generator
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        n = len(windows)
        partner = torch.randperm(n, generator=draw)
        # torch draws from this distribution by its own generator only, which is not ours to move.
        seed = int(torch.randint(2**62, (), generator=draw))
        share = torch.from_numpy(np.random.default_rng(seed).beta(self.mixup, self.mixup, n)).float()
        # The window itself is the greater part, so that what is known about it says what is known about the mixture.
        share = torch.maximum(share, 1 - share)

        def mix(each: Tensor) -> Tensor:
            own = share.reshape(n, *[1] * (each.ndim - 1))
            return own * each + (1 - own) * each[partner]

        # What is not a number is not greater than nothing either.
        return mix(windows), tuple(
            torch.where(each.abs().sum(1, keepdim=True) > 0, mix(each), each) for each in answers
        )

    def _masked(self, windows: Tensor, draw: torch.Generator) -> Tensor:
        if not self.masks:
            return windows
        n, bands, frames = windows.shape
        hidden = torch.zeros(n, bands, frames, dtype=torch.bool)
        for length, shape in ((bands, (n, bands, 1)), (frames, (n, 1, frames))):
            for _ in range(self.masks):
                width = self._between(n, (0.0, _MASK_SHARE * length), draw)
                start = self._between(n, (0.0, 1.0), draw) * (length - width)
                at = torch.arange(length)[None, :, None]
                hidden |= ((at >= start) & (at < start + width)).reshape(shape)
        return torch.where(hidden, windows.mean((1, 2), keepdim=True), windows)

    @staticmethod
    def _between(n: int, bounds: tuple[float, float], draw: torch.Generator) -> Tensor:
        low, high = bounds
        return torch.rand(n, 1, 1, generator=draw) * (high - low) + low

    @staticmethod
    def _some(n: int, share: float, draw: torch.Generator) -> Tensor:
        return (torch.rand(n, 1, 1, generator=draw) < share).float()


@cache
def _octaves(spec: LogMel) -> Tensor:
    """Where the bands are, (1, bands, 1): their centres in octaves above 1 Hz. Of the same spec for every batch."""
    return torch.tensor(band_centres_hz(spec)).log2()[None, :, None]


def _power(decibels: Tensor) -> Tensor:
    return torch.pow(10.0, decibels / 10)
