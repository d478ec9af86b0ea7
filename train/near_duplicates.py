"""Which recordings sound the same: pairs by their fingerprints, without comparing each with each.

Two encodings of one recording have many words in common, at one distance in time. Words are sorted; neighbours in that
order are looked at, and only pairs with several common words at one distance are compared frame by frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.errors import DatasetError
from train.fingerprint import BITS, UNKNOWN, Words

LARGEST_SHARE = 0.25
"""Of the bits that may differ in two copies of a recording."""

LEAST_FRAMES = 24
"""That must be comparable: 1.1 s beside the 0.6 s that each of them spans."""

INDEXED_AT_MOST = 1 << 24
"""Words in the index; of larger collections, a part of the words that is the same part in every recording."""

_NEIGHBOURS = 3
"""How far apart two recordings may stand in the order of one word. Of many copies, each finds the next."""

_COMMON_WORDS = 2

_TRACK_BITS = _FRAME_BITS = 20

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Match:
    """Two recordings by their numbers, and the share of bits in which they differ where they fit best."""

    first: int
    second: int
    share: float


def near_duplicates(fingerprints: Mapping[int, Words], sides: Mapping[int, int]) -> list[Match]:
    """Pairs of recordings on different sides that sound the same, the most alike first.

    ``fingerprints``: words (frames,) by number, ``sides`` the side of each. Of many copies some pair is
    found. Memory: some 60 bytes for each of ``INDEXED_AT_MOST`` words at most; time: n log n.
    """
    if max(fingerprints, default=0) >= 1 << _TRACK_BITS:
        raise DatasetError(f"expected at most {1 << _TRACK_BITS:,} recordings to compare")
    index = _index(fingerprints)
    side_of = np.zeros(max(fingerprints, default=0) + 1, dtype=np.int64)
    side_of[list(sides)] = list(sides.values())
    words = index >> np.uint64(_TRACK_BITS + _FRAME_BITS)
    tracks = (index >> np.uint64(_FRAME_BITS)).astype(np.int64) & ((1 << _TRACK_BITS) - 1)
    shared = []
    for lag in range(1, _NEIGHBOURS + 1):
        at = np.flatnonzero((words[lag:] == words[:-lag]) & (side_of[tracks[lag:]] != side_of[tracks[:-lag]]))
        frames = (index & np.uint64((1 << _FRAME_BITS) - 1)).astype(np.int64)
        shared.append(np.stack([tracks[at], tracks[at + lag], frames[at + lag] - frames[at]], axis=1))
    return _confirmed(np.concatenate(shared), fingerprints)


def difference(first: Words, second: Words, *, shift: int) -> float:
    """Share of differing bits of two fingerprints, frame ``i`` of the first against ``i + shift`` of the second.

    1.0 where too little can be compared.
    """
    start, end = max(0, -shift), min(len(first), len(second) - shift)
    if end - start < LEAST_FRAMES:
        return 1.0
    one, other = first[start:end], second[start + shift : end + shift]
    known = (one != UNKNOWN) & (other != UNKNOWN)
    if np.count_nonzero(known) < LEAST_FRAMES:
        return 1.0
    return float(np.bitwise_count(one[known] ^ other[known]).mean() / BITS)


def _index(fingerprints: Mapping[int, Words]) -> npt.NDArray[np.uint64]:
    """Every known word once a recording, packed (word, track, frame) and sorted."""
    total = sum(len(words) for words in fingerprints.values())
    # Which words stay follows from the words, so copies keep the same ones. Knuth's multiplicative hash.
    largest = min(1.0, INDEXED_AT_MOST / max(1, total)) * 2**32
    parts = []
    for number, words in fingerprints.items():
        hashed = words * np.uint32(2_654_435_761)
        frames = np.flatnonzero((words != UNKNOWN) & (hashed < largest))[: 1 << _FRAME_BITS]
        _, first = np.unique(words[frames], return_index=True)
        frames = frames[first].astype(np.uint64)
        track = np.uint64(number << _FRAME_BITS)
        parts.append(words[frames].astype(np.uint64) << np.uint64(_TRACK_BITS + _FRAME_BITS) | track | frames)
    index = np.concatenate(parts) if parts else np.empty(0, dtype=np.uint64)
    index.sort()
    return index


def _confirmed(shared: Numbers, fingerprints: Mapping[int, Words]) -> list[Match]:
    """Of candidates (first, second, shift), one for each shared word, those whose frames agree."""
    candidates, counts = np.unique(shared, axis=0, return_counts=True)
    best: dict[tuple[int, int], float] = {}
    for first, second, shift in candidates[counts >= _COMMON_WORDS].tolist():
        share = difference(fingerprints[first], fingerprints[second], shift=shift)
        if share <= min(LARGEST_SHARE, best.get((first, second), 1.0)):
            best[first, second] = share
    matches = [Match(first, second, share) for (first, second), share in best.items()]
    return sorted(matches, key=lambda match: (match.share, match.first, match.second))
