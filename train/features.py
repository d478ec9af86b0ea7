"""The features of every track, for each input of a network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.spec import FeatureSpec, WindowSpec
from train.dataset import Track
from train.features_cache import FeatureCache
from train.progress import say

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TrackFeatures:
    """By file: the features of each input, all of as many frames, (frames, bands); and the sentence on each file that
    could not be used."""

    features: dict[Path, tuple[FloatArray, ...]]
    skipped: dict[Path, str]


def read_features(
    inputs: Sequence[FeatureSpec], window: WindowSpec, tracks: Iterable[Track], *, cache: Path, workers: int
) -> TrackFeatures:
    """Features of all tracks that can be used; every other one is named.

    Raises:
        DatasetError: not one can be used.
    """
    paths = [track.path for track in tracks]
    # What is shorter than a window is repeated, or of no use.
    least = 1 if window.short == "tile" else window.frames
    sets = [FeatureCache(cache, spec).load_all(paths, min_frames=least, workers=workers) for spec in inputs]
    skipped = {path: reason for each in sets for path, reason in each.skipped.items()}
    for reason in skipped.values():
        say(f"skipped: {reason}")
    if skipped:
        say(f"skipped {len(skipped)} of {len(paths)} files")
    features = {}
    for path in sets[0].features:
        if path not in skipped:
            arrays = [each.features[path] for each in sets]
            frames = min(len(values) for values in arrays)
            features[path] = tuple(values[:frames] for values in arrays)
    return TrackFeatures(features, skipped)
