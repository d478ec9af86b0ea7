"""How good the labels shown over a programme were: how soon after a change, how steady, how often right."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Final

import numpy as np

from stream.programme import Programme, Stretch

NEVER_S: Final = 15.0
"""A label that is not right so long after a change counts as never."""
HELD_S: Final = 3.0
"""What a person has time to read."""
SETTLING_S: Final = 3.0
"""The beginning of a stretch, without which accuracy is given too: a window's length in which nobody can be right."""
_MATCHED_S: Final = (-1.0, 10.0)
"""A change of the label shown, so long after a change of what is on, is about it."""


@dataclass(frozen=True, slots=True)
class Shown:
    """From ``time`` (seconds into the programme) on, this ``label`` is shown; None is "not sure"."""

    time: float
    label: str | None


@dataclass(frozen=True, slots=True)
class Counts:
    """What is counted over programmes; counts of several add up. Times in seconds.

    ``delays`` from a change of what is on until its label is shown, ``held_delays`` until it is shown and stays for
    ``HELD_S``; infinite where that is not within ``NEVER_S`` or the stretch. ``right``, ``wrong`` and ``unsure`` are
    the time in which there is something to name, ``settled_...`` the same without ``SETTLING_S``. ``changes_found`` of
    the ``changes_shown`` come when what is on changes, whatever the label they bring.
    """

    minutes: float = 0.0
    delays: tuple[float, ...] = ()
    held_delays: tuple[float, ...] = ()
    false_switches: int = 0
    right: float = 0.0
    wrong: float = 0.0
    unsure: float = 0.0
    settled_right: float = 0.0
    settled_wrong: float = 0.0
    settled_unsure: float = 0.0
    changes_shown: int = 0
    changes_found: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def figures(self) -> dict[str, float]:
        """For people: medians and shares.

        ``delay_...`` in seconds, infinite where more than the share has never; ``accuracy`` takes "not sure" for wrong,
        ``decided_accuracy`` leaves it out; ``change_f1`` is of the changes shown against those of what is on;
        ``further_switches_...`` are the changes shown that are not the first about a change of what is on.
        """
        named = self.right + self.wrong + self.unsure
        settled = self.settled_right + self.settled_wrong + self.settled_unsure
        return {
            "delay_median_s": _quantile(self.delays, 0.5),
            "delay_p90_s": _quantile(self.delays, 0.9),
            "held_delay_median_s": _quantile(self.held_delays, 0.5),
            "never_share": _share(sum(map(math.isinf, self.delays)), len(self.delays)),
            "false_switches_per_minute": _share(self.false_switches, self.minutes),
            "further_switches_per_minute": _share(self.changes_shown - self.changes_found, self.minutes),
            "accuracy": _share(self.right, named),
            "accuracy_settled": _share(self.settled_right, settled),
            "decided_accuracy": _share(self.right, self.right + self.wrong),
            "abstention": _share(self.unsure, named),
            "change_f1": _share(2 * self.changes_found, self.changes_shown + len(self.delays)),
        }


def measure(programme: Programme, shown: Sequence[Shown]) -> Counts:
    """Compare what was shown, in order of time, with what was on."""
    delays, held = [], []
    durations = np.zeros((2, 3))
    for stretch, changed in _named(programme.stretches):
        runs = list(_runs(shown, stretch.start, stretch.end))
        if changed:
            delays.append(_delay(runs, stretch, least_s=0.0))
            held.append(_delay(runs, stretch, least_s=HELD_S))
        for begin, end, label in runs:
            column = 2 if label is None else int(label != stretch.label)
            durations[0, column] += end - begin
            durations[1, column] += max(0.0, end - max(begin, stretch.start + SETTLING_S))
    switches = list(_switches(shown))
    changes = [stretch.start for stretch, changed in _named(programme.stretches) if changed]
    (right, wrong, unsure), settled = durations
    return Counts(
        minutes=programme.seconds / 60,
        delays=tuple(delays),
        held_delays=tuple(held),
        false_switches=sum(_is_false(switch, programme.stretches) for switch in switches),
        right=right,
        wrong=wrong,
        unsure=unsure,
        settled_right=settled[0],
        settled_wrong=settled[1],
        settled_unsure=settled[2],
        changes_shown=len(switches),
        changes_found=_matches([switch.time for switch in switches], changes),
    )


def _named(stretches: Sequence[Stretch]) -> Iterator[tuple[Stretch, bool]]:
    """Stretches with a label, and whether it is another than the one before."""
    before: str | None = None
    for stretch in stretches:
        if stretch.label is not None:
            yield stretch, before not in (None, stretch.label)
            before = stretch.label


def _runs(shown: Sequence[Shown], start: float, end: float) -> Iterator[tuple[float, float, str | None]]:
    """What is shown between two times, as (begin, end, label)."""
    first = bisect_right(shown, start, key=lambda each: each.time) - 1
    label = shown[first].label if first >= 0 else None
    at = start
    for each in shown[first + 1 :]:
        if each.time >= end:
            break
        if each.time > at:
            yield at, each.time, label
        at, label = each.time, each.label
    yield at, end, label


def _delay(runs: Sequence[tuple[float, float, str | None]], stretch: Stretch, *, least_s: float) -> float:
    """Seconds until the right label is shown, and for ``least_s`` of the stretch at least."""
    begin: float | None = None
    for start, end, label in runs:
        if label != stretch.label:
            begin = None
            continue
        begin = start if begin is None else begin
        if end - begin >= least_s:
            delay = begin - stretch.start
            return delay if delay <= NEVER_S else math.inf
    return math.inf


def _switches(shown: Sequence[Shown]) -> Iterator[Shown]:
    """Where another label comes than the last one; "not sure" in between does not count."""
    named = [each for each in shown if each.label is not None]
    yield from (after for before, after in pairwise(named) if after.label != before.label)


def _is_false(switch: Shown, stretches: Sequence[Stretch]) -> bool:
    """To a label that is not on; where nothing is to be named, to one that is on neither before nor after."""
    at = next((i for i, stretch in enumerate(stretches) if switch.time < stretch.end), len(stretches) - 1)
    if stretches[at].label is not None:
        return switch.label != stretches[at].label
    near = stretches[max(0, at - 1) : at + 2]
    return switch.label not in {stretch.label for stretch in near}


def _matches(found: Sequence[float], true: Sequence[float]) -> int:
    """How many true changes have a change shown of their own, each taken by the first that may."""
    earliest, latest = _MATCHED_S
    left = list(found)
    matched = 0
    for change in true:
        near = next((time for time in left if earliest <= time - change <= latest), None)
        if near is not None:
            left.remove(near)
            matched += 1
    return matched


def _quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share of the values does not exceed; infinite ones count."""
    if not values:
        return math.nan
    return sorted(values)[math.ceil(share * len(values)) - 1]


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
