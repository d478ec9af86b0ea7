"""What stands on both sides of a split, so that a test would be too kind: artists, files, and copies of a recording."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.errors import DatasetError
from train.array_cache import ArrayCache
from train.fingerprint import Fingerprint
from train.leaks import Leaks
from train.near_duplicates import near_duplicates
from train.progress import say
from train.track import Track, some
from train.wording import counted

_READ_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Leak:
    """Two tracks of different folds, and what they have in common; of two copies, ``first`` is the longer."""

    first: Track
    second: Track
    common: str

    def __str__(self) -> str:
        return f"{_placed(self.first)} and {_placed(self.second)}: {self.common}"


def without_leaks(tracks: Sequence[Track], *, cache: Path, workers: int, leaks: Leaks) -> list[Track]:
    """The tracks, none of which stands in two folds: refused, or the shorter of two copies left out, as ``leaks`` says.

    ``Leaks.ALLOW`` looks for nothing. Fingerprints are kept in the folder ``cache``. Files that do not decode are
    passed over: the features name them.

    Raises:
        DatasetError: a group in two folds, or a copy and ``Leaks.REFUSE``.
    """
    kept = list(tracks)
    if leaks is Leaks.ALLOW:
        return kept
    shared = shared_groups(kept)
    if shared:
        raise DatasetError(
            f"{counted(len(shared), 'group')} (artists) in more than one fold, so a test would be too kind: "
            f"{some(shared)}. "
            "Let folds be made (a table without the column fold), or give --leaks allow, to `evaluate` as to `train`"
        )
    found = find_copies(kept, cache=cache, workers=workers)
    if found and leaks is Leaks.REFUSE:
        # Folds that chance has chosen cannot be corrected in a table.
        given = any(not track.chosen for leak in found for track in (leak.first, leak.second))
        raise DatasetError(
            f"{counted(len(found), 'pair')} of the same recording in different folds, so a test would be too kind: "
            f"{some(found)}. {'Put each pair in one fold' if given else 'Remove one of each'}, or give --leaks drop to "
            "leave the shorter of each out, or --leaks allow; to `evaluate`, the one that `train` was given"
        )
    while found:
        dropped: set[int] = set()
        for leak in found:
            if id(leak.first) not in dropped:
                say(f"left out {_placed(leak.second)}, kept {_placed(leak.first)}: {leak.common}")
                dropped.add(id(leak.second))
        kept = [track for track in kept if id(track) not in dropped]
        # Of many copies some pairs are found at a time.
        found = find_copies(kept, cache=cache, workers=workers)
    return kept


def shared_groups(tracks: Iterable[Track]) -> list[str]:
    """Groups that stand in more than one fold, with their folds."""
    folds: dict[str, set[int]] = defaultdict(set)
    names: dict[str, str] = {}
    for track in tracks:
        if track.group:
            folds[track.group.casefold()].add(track.fold)
            names.setdefault(track.group.casefold(), track.group)
    return [f"{names[key]!r} in folds {sorted(found)}" for key, found in folds.items() if len(found) > 1]


def find_copies(tracks: Sequence[Track], *, cache: Path, workers: int) -> list[Leak]:
    """Pairs in different folds that are one file, equal files, or sound the same; every set of copies is named once."""
    found = _alike(((str(track.path.resolve()), track) for track in tracks), "the same file")
    prints, _ = ArrayCache(cache, Fingerprint()).load_all(
        [track.path for track in tracks], workers=workers, title="fingerprints"
    )
    # Of what decodes: files that were cut off to nothing are equal too, and no recording.
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in prints:
        by_size[path.stat().st_size].append(path)
    same_size = [path for paths in by_size.values() if len(paths) > 1 for path in paths]
    digests, _ = ArrayCache(cache, _Digest()).load_all(same_size, workers=workers, title="comparing files of one size")
    equal = ((digests[track.path].tobytes(), track) for track in tracks if track.path in digests)
    found += _alike(equal, "equal files")
    heard = {number: prints[track.path][:, 0] for number, track in enumerate(tracks) if track.path in prints}
    known = {frozenset((leak.first.path, leak.second.path)) for leak in found}
    for match in near_duplicates(heard, {number: tracks[number].fold for number in heard}):
        first, second = tracks[match.first], tracks[match.second]
        if frozenset((first.path, second.path)) not in known:
            found.append(Leak(first, second, f"they sound the same (fingerprints differ in {match.share:.0%})"))
    # What is cut off may be too short to be used at all: the other must not be left out for it.
    lengths = {path: prints.rows(path) for path in prints}
    return [_longer_first(leak, lengths) for leak in found]


def _longer_first(leak: Leak, lengths: Mapping[Path, int]) -> Leak:
    first, second = (lengths.get(track.path, 0) for track in (leak.first, leak.second))
    return leak if first >= second else replace(leak, first=leak.second, second=leak.first)


def _placed(track: Track) -> str:
    return f"{track.path} (fold {track.fold})"


def _alike(keyed: Iterable[tuple[Hashable, Track]], common: str) -> list[Leak]:
    """Of the tracks of one key, each that stands in another fold than the one before it."""
    members: dict[Hashable, list[Track]] = defaultdict(list)
    for key, track in keyed:
        members[key].append(track)
    return [
        Leak(first, second, common)
        for same in members.values()
        for first, second in pairwise(same)
        if first.fold != second.fold
    ]


@dataclass(frozen=True, slots=True)
class _Digest:
    """Makes the digest of a file's bytes, as ``train.array_cache.Maker``."""

    @property
    def identity(self) -> str:
        return "digest blake2b 16"

    @property
    def columns(self) -> int:
        return 16

    @property
    def dtype(self) -> npt.DTypeLike:
        return np.uint8

    def pieces(self, path: Path) -> Iterator[npt.NDArray[np.uint8]]:
        digest = hashlib.blake2b(digest_size=self.columns)
        with path.open("rb") as file:
            while block := file.read(_READ_AT_ONCE):
                digest.update(block)
        yield np.frombuffer(digest.digest(), dtype=np.uint8)[None, :]
