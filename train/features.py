"""The features of every track, for each input of a network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.spec import FeatureSpec, WindowSpec
from train.features_cache import FeatureCache
from train.progress import say
from train.track import Track

FloatArray = npt.NDArray[np.float32]


class InputFeatures(Mapping[Path, tuple[FloatArray, ...]]):
    """By file: the features of each input, all of as many frames, (frames, bands). Looked up in each input's own
    features at every call: those are mapped files, and travel to other processes as places on the disk."""

    def __init__(self, inputs: Sequence[Mapping[Path, FloatArray]], paths: Iterable[Path]) -> None:
        self._inputs = tuple(inputs)
        self._paths = dict.fromkeys(paths)

    def __getitem__(self, path: Path) -> tuple[FloatArray, ...]:
        if path not in self._paths:
            raise KeyError(path)
        arrays = [each[path] for each in self._inputs]
        frames = min(len(values) for values in arrays)
        return tuple(values[:frames] for values in arrays)

    def __contains__(self, path: object) -> bool:
        # The inherited one would look the features up.
        return path in self._paths

    def __iter__(self) -> Iterator[Path]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


LEAST_S = 1.0
"""What is shorter is not learned from, even where short files are repeated: a click would fill every window."""

_NAMED_AT_MOST = 20


@dataclass(frozen=True, slots=True)
class TrackFeatures:
    """The features of the files that can be used, and the sentence on each other one."""

    features: InputFeatures
    skipped: dict[Path, str]


def read_features(
    inputs: Sequence[FeatureSpec], window: WindowSpec, tracks: Iterable[Track], *, cache: Path, workers: int
) -> TrackFeatures:
    """Features of all tracks that can be used: those of one window or, where short ones are repeated, of ``LEAST_S``.

    The others are named, the first few of them if they are many.

    Raises:
        DatasetError: not one can be used.
    """
    paths = [track.path for track in tracks]
    least = window.frames
    if window.short == "tile":
        least = min(least, inputs[0].frames_in(round(LEAST_S * inputs[0].sample_rate_hz)))
    sets = [FeatureCache(cache, spec).load_all(paths, min_frames=least, workers=workers) for spec in inputs]
    skipped = {path: reason for each in sets for path, reason in each.skipped.items()}
    for reason in islice(skipped.values(), _NAMED_AT_MOST):
        say(f"skipped: {reason}")
    if len(skipped) > _NAMED_AT_MOST:
        say(f"skipped: ... and {len(skipped) - _NAMED_AT_MOST} more")
    if skipped:
        say(f"skipped {len(skipped)} of {len(paths)} files")
    usable = (path for path in sets[0].features if path not in skipped)
    return TrackFeatures(InputFeatures([each.features for each in sets], usable), skipped)
