"""Decisions over time, measured: programmes are heard by the engine once, and the same windows judged by each rule."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol

import numpy as np

from models.errors import SourceError
from models.scorer import Scorer
from models.spec import ModelCard
from models.vote import FloatArray, VoteClock
from models.votes import RunningVotes, is_for
from stream.decision_measures import Counts, Shown, measure
from stream.engine import Engine
from stream.events import Event, HealthState, Verdict, VerdictState
from stream.pace import MAX_SPEED, play
from stream.programme import Programme
from stream.source import Chunk
from stream.threaded_source import Run, ThreadedSource

UNSMOOTHED: Final = "no smoothing"
PLAIN: Final = "plain vote"
MAJORITY: Final = "majority"
OURS: Final = "running vote"
NEVER_UNSURE: Final = "running vote, never unsure"
TOLD: Final = "told when pieces begin"
"""The rules compared."""

HALF_LIVES_S: Final = (0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 16.0)
"""Where a rule has a half-life, its curve is drawn through these."""
MAJORITIES: Final = (3, 5, 10, 20, 40)
THRESHOLDS: Final = (0.0, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7)
"""Of who is told when pieces begin."""


@dataclass(frozen=True, slots=True)
class HeardWindow:
    """A look ``time`` seconds into the programme; its probabilities (classes,) of each head, none in silence, come
    ``elapsed_s`` after the last. What is said of an ``early`` one, of less than a whole window, is not shown as
    decided."""

    time: float
    probabilities: Mapping[str, FloatArray]
    elapsed_s: float
    early: bool = False


class Decider(Protocol):
    """From windows to what is shown."""

    def update(self, window: HeardWindow) -> str | None:
        """The label to show after a window that is not silent; None for none."""
        ...


class Smoother(Protocol):
    """From windows of one head to the index of its label."""

    def update(self, probabilities: FloatArray, elapsed_s: float) -> int | None:
        """The index of the label after a window's probabilities (classes,); None for none."""
        ...


class Unsmoothed:
    """The likeliest label of each window."""

    def update(self, probabilities: FloatArray, elapsed_s: float) -> int:  # noqa: ARG002  # a Smoother's
        """See ``Smoother``."""
        return int(probabilities.argmax())


class PlainVote:
    """The likeliest label of an exponentially weighted mean: what is commonly done. A window after a gap weighs no more
    than others, as in the running vote."""

    def __init__(self, half_life_s: float, *, hop_s: float) -> None:
        self._half_life_s = half_life_s
        self._hop_s = hop_s
        self._sum: FloatArray | float = 0.0

    def update(self, probabilities: FloatArray, elapsed_s: float) -> int:
        """See ``Smoother``."""
        keep = 2.0 ** (-elapsed_s / self._half_life_s)
        self._sum = keep * self._sum + min(elapsed_s, self._hop_s) * probabilities
        return int(np.argmax(self._sum))


class MajorityVote:
    """The commonest label of the last ``slots`` windows, the newest of equals."""

    def __init__(self, slots: int) -> None:
        self._newest: deque[int] = deque(maxlen=slots)

    def update(self, probabilities: FloatArray, elapsed_s: float) -> int:  # noqa: ARG002  # a Smoother's
        """See ``Smoother``."""
        self._newest.appendleft(int(probabilities.argmax()))
        return Counter(self._newest).most_common(1)[0][0]


class Smoothed:
    """The first head by a smoother that is given the windows which the running vote is given, and shows nothing where
    that shows nothing because something else is heard: what is compared is what becomes of the same windows."""

    def __init__(self, card: ModelCard, smoother: Smoother) -> None:
        self._card = card
        self._smoother = smoother
        self._votes = RunningVotes(card, hop_s=card.hop_seconds)
        self._label: str | None = None
        self._missed_s = 0.0

    def update(self, window: HeardWindow) -> str | None:
        """See ``Decider``."""
        head = self._card.head
        self._missed_s += window.elapsed_s
        if is_for(head, self._card, window.probabilities):
            label = self._smoother.update(window.probabilities[head.name], self._missed_s)
            self._label = None if label is None else head.labels[label]
            self._missed_s = 0.0
        instead = self._votes.update(window.probabilities, elapsed_s=window.elapsed_s)[head.name].instead
        return self._label if instead is None else None


class MeanSince:
    """The likeliest label of the mean of all windows since the last ``reset``, if it reaches ``threshold``."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._sum: FloatArray | float = 0.0
        self._windows = 0

    def update(self, probabilities: FloatArray, elapsed_s: float) -> int | None:  # noqa: ARG002  # a Smoother's
        """See ``Smoother``."""
        self._windows += 1
        total = self._sum = self._sum + probabilities
        likeliest = int(np.argmax(total))
        return likeliest if total[likeliest] >= self._threshold * self._windows else None


class Told:
    """What no listener can do: it is told when each of the programme's pieces begins, and judges by the mean of all
    windows since more than half of one was of the piece: about what a perfect detector of changes would make of it."""

    def __init__(self, card: ModelCard, threshold: float, programme: Programme) -> None:
        self._mean = MeanSince(threshold)
        self._smoothed = Smoothed(card, self._mean)
        middle_s = card.window_seconds / 2
        self._resets = deque(piece.start + middle_s for piece in programme.stretches if piece.label is not None)

    def update(self, window: HeardWindow) -> str | None:
        """See ``Decider``."""
        while self._resets and self._resets[0] < window.time:
            self._resets.popleft()
            self._mean.reset()
        return self._smoothed.update(window)


class OurVote:
    """The running votes, as they run live."""

    def __init__(self, card: ModelCard, half_life_s: float) -> None:
        self._head = card.head.name
        self._votes = RunningVotes(card, hop_s=card.hop_seconds, half_life_s=half_life_s)

    def update(self, window: HeardWindow) -> str | None:
        """See ``Decider``."""
        return self._votes.update(window.probabilities, elapsed_s=window.elapsed_s)[self._head].label


@dataclass(frozen=True, slots=True)
class Heard:
    """A programme (its samples are left out: they are many), its windows, and what the engine itself showed."""

    programme: Programme
    windows: tuple[HeardWindow, ...]
    shown: tuple[Shown, ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """A rule at one setting: ``rule`` names the curve that it lies on, ``value`` where; ``make`` makes it for a
    programme."""

    rule: str
    value: float
    make: Callable[[Programme], Decider]


class _Played(ThreadedSource):
    """A programme, as fast as it can be scored."""

    def __init__(self, programme: Programme) -> None:
        super().__init__("programme", name="programme", live=False, finite=True, synthetic=True)
        self._programme = programme

    def _produce(self, run: Run) -> Generator[Chunk]:
        self.sample_rate_hz = self._programme.sample_rate_hz
        pieces = [(self._programme.samples[:, np.newaxis], 0)]
        yield from play(pieces, run, sample_rate_hz=self.sample_rate_hz, speed=MAX_SPEED)


class _Collector:
    def __init__(self) -> None:
        self.verdicts: list[Verdict] = []

    def publish(self, event: Event) -> None:
        if isinstance(event, Verdict):
            self.verdicts.append(event)


def hear(programme: Programme, scorer: Scorer, *, half_life_s: float) -> Heard:
    """Send a programme through the engine.

    Raises:
        SourceError: the engine could not hear it out.
    """
    collector = _Collector()
    engine = Engine(scorer, {"programme": _Played(programme)}, [collector], half_life_s=half_life_s)
    engine.run()
    if engine.channels[0].health().state is not HealthState.ENDED:
        raise SourceError(f"programme: expected to hear it to its end, {engine.channels[0].health().reason}")
    clock = VoteClock(scorer.card.hop_seconds)
    windows: list[HeardWindow] = []
    shown: list[Shown] = []
    for verdict in collector.verdicts:
        at = verdict.sample / programme.sample_rate_hz
        clock.look(at, silent=verdict.state is VerdictState.SILENCE)
        elapsed_s = clock.take() if verdict.raw is not None else 0.0
        raw = {head.name: head.raw for head in verdict.heads if head.raw is not None}
        windows.append(HeardWindow(at, raw, elapsed_s, verdict.state is VerdictState.WARMING_UP))
        # Silence is shown as what it is; before a window is whole, what is shown says that it is early.
        label = verdict.label if verdict.state is VerdictState.DECIDED else None
        if not shown or shown[-1].label != label:
            shown.append(Shown(at, label))
    return Heard(replace(programme, samples=np.empty(0, dtype=np.float32)), tuple(windows), tuple(shown))


def judge(heard: Heard, decider: Decider) -> tuple[Shown, ...]:
    """What a rule would have shown. In silence it shows nothing, as the engine does."""
    shown: list[Shown] = []
    for window in heard.windows:
        label: str | None = None
        if window.probabilities:
            said = decider.update(window)
            label = None if window.early else said
        if not shown or shown[-1].label != label:
            shown.append(Shown(window.time, label))
    return tuple(shown)


def settings(card: ModelCard, half_life_s: float) -> Iterator[Setting]:
    """The rules compared, each along its curve, ``half_life_s`` among the values of ours."""

    def smoothed(make: Callable[[], Smoother]) -> Callable[[Programme], Decider]:
        return lambda _programme: Smoothed(card, make())

    def ours(card: ModelCard, half_life_s: float) -> Callable[[Programme], Decider]:
        return lambda _programme: OurVote(card, half_life_s)

    yield Setting(UNSMOOTHED, 0.0, smoothed(Unsmoothed))
    for value in HALF_LIVES_S:
        yield Setting(PLAIN, value, smoothed(partial(PlainVote, value, hop_s=card.hop_seconds)))
    for slots in MAJORITIES:
        yield Setting(MAJORITY, slots, smoothed(partial(MajorityVote, slots)))
    for value in sorted({*HALF_LIVES_S, half_life_s}):
        yield Setting(OURS, value, ours(card, value))
    always = card.model_copy(
        update={"heads": (card.head.model_copy(update={"enter": 0.0, "leave": 0.0}), *card.heads[1:])}
    )
    for value in sorted({*HALF_LIVES_S, half_life_s}):
        yield Setting(NEVER_UNSURE, value, ours(always, value))
    for value in THRESHOLDS:
        yield Setting(TOLD, value, partial(Told, card, value))


def compare_rules(programmes: Sequence[Heard], card: ModelCard, *, half_life_s: float) -> list[tuple[Setting, Counts]]:
    """Each rule at each setting over all programmes."""
    results = []
    for setting in settings(card, half_life_s):
        counts = Counts()
        for heard in programmes:
            counts += measure(heard.programme, judge(heard, setting.make(heard.programme)))
        results.append((setting, counts))
    return results
