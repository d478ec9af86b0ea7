"""The features of every track, for each input of a network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from models.recode import Recoding
from models.spec import FeatureSpec, WindowSpec
from train.features_cache import FeatureCache, FeatureSet
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


RECODINGS: Final = (Recoding("mp3", 48), Recoding("aac", 32), Recoding("opus", 16))
"""What tracks are sent through where a recipe asks for ``codecs``: low rates, at which what each codec leaves out can
be heard below 8 kHz too."""


@dataclass(frozen=True, slots=True)
class TrackFeatures:
    """The features of the files that can be used; those of what is left of each after every recoding,
    ``recoded``, as many frames; and the sentence on each other file."""

    features: InputFeatures
    skipped: dict[Path, str]
    recoded: tuple[InputFeatures, ...] = ()


def read_features(
    inputs: Sequence[FeatureSpec],
    window: WindowSpec,
    tracks: Iterable[Track],
    *,
    cache: Path,
    workers: int,
    recodings: Sequence[Recoding] = (),
) -> TrackFeatures:
    """Features of all tracks that can be used: those of one window or, where short ones are repeated, of ``LEAST_S``;
    and of what is left of each after every one of the ``recodings``.

    The others are named, the first few of them if they are many.

    Raises:
        DatasetError: not one can be used.
    """
    paths = [track.path for track in tracks]
    least = window.frames
    if window.short == "tile":
        least = min(least, inputs[0].frames_in(round(LEAST_S * inputs[0].sample_rate_hz)))
    versions: list[list[FeatureSet]] = []
    skipped: dict[Path, str] = {}
    for recoding in (None, *recodings):
        todo = [path for path in paths if path not in skipped]
        caches = [FeatureCache(cache, spec, recoding) for spec in inputs]
        versions.append([each.load_all(todo, min_frames=least, workers=workers) for each in caches])
        skipped |= {path: reason for each in versions[-1] for path, reason in each.skipped.items()}
    for reason in islice(skipped.values(), _NAMED_AT_MOST):
        say(f"skipped: {reason}")
    if len(skipped) > _NAMED_AT_MOST:
        say(f"skipped: ... and {len(skipped) - _NAMED_AT_MOST} more")
    if skipped:
        say(f"skipped {len(skipped)} of {len(paths)} files")
    usable = [path for path in versions[0][0].features if path not in skipped]
    original, *recoded = (InputFeatures([each.features for each in version], usable) for version in versions)
    return TrackFeatures(original, skipped, tuple(recoded))
