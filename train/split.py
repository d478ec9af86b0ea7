"""Which tracks are learned from and which are tested on: folds, drawn where none are given, and sides made of folds."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.errors import ConfigError, DatasetError
from train.track import NO_FOLD, Track, labels_of

SIDE_FOLDS: Mapping[str, int] = {"training": 0, "validation": 3, "test": 4}
"""Folds that stand for the sides of a published split: with --test-fold and --calibration-fold as documented."""

_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Split:
    """Tracks by their use. ``calibration`` may be empty."""

    training: tuple[Track, ...]
    calibration: tuple[Track, ...]
    test: tuple[Track, ...]


def split_by_fold(tracks: Iterable[Track], *, test_fold: int, calibration_fold: int | None = None) -> Split:
    """Tracks of the test fold, of the calibration fold, and the rest for training.

    Raises:
        DatasetError: fewer than two classes; an unknown fold; a class with no track on one of the sides.
    """
    tracks = tuple(tracks)
    if len(labels := labels_of(tracks)) < 2:
        raise DatasetError(f"expected tracks of at least two classes, got {', '.join(labels) or 'none'}")
    folds = sorted({track.fold for track in tracks})
    for name, fold in (("test", test_fold), ("calibration", calibration_fold)):
        if fold is not None and fold not in folds:
            raise DatasetError(f"expected a {name} fold among {folds}, got {fold} (--{name}-fold)")
    if test_fold == calibration_fold:
        raise DatasetError(f"expected a calibration fold other than the test fold, got {test_fold} for both")
    held_out = {test_fold, calibration_fold}
    split = Split(
        training=tuple(track for track in tracks if track.fold not in held_out),
        calibration=tuple(track for track in tracks if track.fold == calibration_fold),
        test=tuple(track for track in tracks if track.fold == test_fold),
    )
    sides = {"training side": split.training, f"test side (fold {test_fold})": split.test}
    if calibration_fold is not None:
        sides[f"calibration side (fold {calibration_fold})"] = split.calibration
    for side, members in sides.items():
        absent = sorted(set(labels) - set(labels_of(members)))
        if absent:
            raise DatasetError(
                f"the {side} has no track of {', '.join(absent)}: "
                "leave the class out of the table, or choose other folds"
            )
    return split


def parse_shares(text: str) -> tuple[int, ...]:
    """``"75/15/10"`` -> ``(75, 15, 10)``: percent for training, validation and test; two numbers: training and test.

    Raises:
        ConfigError: not of this form.
    """
    shares = tuple(int(part) for part in text.split("/")) if re.fullmatch(r"\d+(/\d+){1,2}", text) else ()
    if sum(shares) != 100 or min(shares) < 1:
        raise ConfigError(f"expected --shares in percent that add up to 100, such as 80/20 or 75/15/10, got {text!r}")
    return shares


def assign_folds(tracks: Sequence[Track], *, folds: int, shares: Sequence[int] = (), seed: int) -> list[Track]:
    """Give the tracks without a fold one of ``folds``, each class evenly, all of a group together, at random but the
    same for a seed. With ``shares`` (percent), folds are the sides of ``SIDE_FOLDS`` instead.

    Raises:
        DatasetError: a class has too few tracks or groups for every fold to have one.
    """
    loose = [number for number, track in enumerate(tracks) if track.fold == NO_FOLD]
    if not loose:
        return list(tracks)
    parts = 100 // math.gcd(100, *shares) if shares else folds
    chosen = [tracks[number] for number in loose]
    # Shares are whole numbers of equal parts, and every class has to be in each of them.
    fewer = (
        f"choose --shares of fewer equal parts than {parts} (80/20: 5, 80/10/10: 10)"
        if shares
        else "choose fewer --folds"
    )
    _refuse_small_classes(chosen, parts, fewer)
    drawn = _draw(chosen, parts, seed, fewer)
    if shares:
        drawn = _merged(drawn, [share * parts // 100 for share in shares])
    words = _words(chosen, folds=folds, shares=shares, seed=seed)
    result = list(tracks)
    for number, fold in zip(loose, drawn, strict=True):
        result[number] = replace(tracks[number], fold=fold, chosen=words)
    return result


def _refuse_small_classes(tracks: Sequence[Track], parts: int, fewer: str) -> None:
    groups: dict[str, set[str]] = defaultdict(set)
    for track in tracks:
        groups[track.label].add(_group(track))
    small = [f"{label} has {len(found)}" for label, found in sorted(groups.items()) if len(found) < parts]
    if small:
        what = "tracks of different groups (artists)" if any(track.group for track in tracks) else "tracks"
        raise DatasetError(
            f"expected at least {parts} {what} of every class, one for each part of the split, but {', '.join(small)}: "
            f"add some, leave the class out, or {fewer}"
        )


def _draw(tracks: Sequence[Track], parts: int, seed: int, fewer: str) -> list[int]:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    labels = np.array([track.label for track in tracks])
    groups = [_group(track) for track in tracks]
    # Without groups the plain one, which does not look at every track in Python.
    grouped = len(set(groups)) < len(groups)
    kind = StratifiedGroupKFold if grouped else StratifiedKFold
    for attempt in range(_ATTEMPTS):
        folds = np.empty(len(tracks), dtype=int)
        draw = kind(n_splits=parts, shuffle=True, random_state=np.random.default_rng([seed, attempt]).integers(2**31))
        for fold, (_, members) in enumerate(draw.split(labels, labels, groups if grouped else None)):
            folds[members] = fold
        # Groups of many tracks can leave a fold without a class: then another draw.
        lacking = [
            f"fold {fold} without {label}"
            for fold in range(parts)
            for label in sorted(set(labels) - set(labels[folds == fold]))
        ]
        if not lacking:
            return [int(fold) for fold in folds]
    raise DatasetError(
        f"cannot spread the classes over {parts} parts and keep each group (artist) in one: {lacking[0]}; "
        f"{fewer}, or leave the class out"
    )


def _merged(drawn: Sequence[int], sizes: Sequence[int]) -> list[int]:
    sides = list(SIDE_FOLDS.values()) if len(sizes) == len(SIDE_FOLDS) else [SIDE_FOLDS["training"], SIDE_FOLDS["test"]]
    side_of = [side for side, size in zip(sides, sizes, strict=True) for _ in range(size)]
    return [side_of[part] for part in drawn]


def _words(tracks: Sequence[Track], *, folds: int, shares: Sequence[int], seed: int) -> str:
    what = f"random split {'/'.join(map(str, shares))}" if shares else f"{folds} random folds"
    known = "no group (artist) in two" if any(track.group for track in tracks) else "artists not known"
    return f"{what} of each class (seed {seed}), {known}"


def _group(track: Track) -> str:
    return f"group {track.group.casefold()}" if track.group else f"file {track.path.resolve()}"
