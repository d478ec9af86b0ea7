"""One input from its ring to its verdicts: front end, windows, silence gate, vote, and the account of all of them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from models.frontend import FrontEnd
from models.spec import ModelCard
from models.vote import VoteClock
from models.votes import RunningVotes, Shown
from stream.events import Event, Frames, Gap, HeadVerdict, Health, HealthState, Verdict, VerdictState
from stream.level import FloatArray, LevelMeter
from stream.picture import Picture
from stream.ring import Block, Ring
from stream.source import Source
from stream.supervisor import Supervisor
from stream.windows import Look, Windows

RING_SECONDS = 5.0
CLOSE_S = 3.0
"""How long the engine waits for sources to close."""

_LATENCIES_KEPT = 256
_CHOPPY_GAPS = 3
_CHOPPY_WITHIN_S = 30.0
_NOTHING = Shown(None, None)


@dataclass(frozen=True, slots=True)
class DueLook:
    """A look with the monotonic and the Unix time of the capture of its last sample."""

    look: Look
    captured_at: float
    time: float


class Channel:
    """One source on its way to verdicts. ``feed`` and ``decide`` are called by the engine's thread alone."""

    def __init__(
        self,
        name: str,
        source: Source,
        card: ModelCard,
        *,
        hop_frames: int,
        half_life_s: float,
        frames_per_tick: int = 1,
        on_due: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self._card = card
        self._spec = card.clock
        self._frames_per_tick = frames_per_tick
        self._on_due = on_due
        self._front_ends = [FrontEnd(spec) for spec in card.inputs]
        self._picture = Picture(card)
        self._windows = Windows(card, hop_frames=hop_frames)
        hop_s = self._windows.hop_samples / card.clock.sample_rate_hz
        self._votes = RunningVotes(card, hop_s=hop_s, half_life_s=half_life_s)
        self._vote_clock = VoteClock(hop_s)
        self._listen(source, start=0)

    def _listen(self, source: Source, *, start: int) -> None:
        """Begin with a source: nothing of another one is left but the settings and the sample count."""
        rate = self._spec.sample_rate_hz
        self.source = source
        self.ring = Ring(round(RING_SECONDS * rate), start=start, on_write=self._written)
        self._supervisor = Supervisor(source, self.ring, rate, name=self.name, on_change=self._wake)
        self._begun_at = time.time() - start / rate
        self._level = LevelMeter(self._spec.hop_samples, self._spec.seconds_per_frame)
        self._votes.reset()
        self._vote_clock.reset()
        self.dropped = self._gaps = self._lost_samples = 0
        self._gap_times: deque[float] = deque(maxlen=_CHOPPY_GAPS)
        self._latencies_ms: deque[float] = deque(maxlen=_LATENCIES_KEPT)
        self._expected = start
        self._silent = False
        self._verdict_since: tuple[tuple[VerdictState, str | None, str | None] | None, float] = (None, 0.0)
        self._health_since = (HealthState.STARTING, time.time())
        self._begin(start)

    def _begin(self, start: int) -> None:
        """What comes next does not follow on from what has been."""
        for front_end in self._front_ends:
            front_end.reset()
        self._picture.reset()
        self._level.reset()
        self._windows.reset(start)
        self._segment_start = start
        self._shown = 0  # frames of the picture since then
        self._wanted = 1

    def start(self) -> None:
        """Begin to listen."""
        self._supervisor.start()

    def stop(self) -> None:
        """Have it stop listening; ``join`` waits until the source is closed."""
        self._supervisor.stop()

    def join(self, deadline: float) -> None:
        """Wait for the source to close, until ``time.monotonic()`` is ``deadline`` at most."""
        self._supervisor.join(deadline)

    def listen_to(self, source: Source) -> None:
        """Listen to another source instead. The sample count goes on; the vote begins afresh."""
        self.stop()
        self.join(time.monotonic() + CLOSE_S)
        self._listen(source, start=self.ring.written + 1)
        self.start()

    @property
    def finished(self) -> bool:
        """True once the source has ended (or broken for good) and all of it has been heard."""
        return self._supervisor.finished and not self.ring.held

    def _wake(self) -> None:
        if self._on_due is not None:
            self._on_due()

    def _written(self) -> None:
        # Called by the source's thread. The engine is woken only when there is something to do, so that small capture
        # blocks cost it nothing.
        if self.ring.held >= self._wanted:
            self._wake()

    def feed(self) -> tuple[list[DueLook], list[Event]]:
        """Take what the ring holds; return the looks now due and what there is to publish."""
        due: list[DueLook] = []
        events: list[Event] = []
        for block in self.ring.read():
            if block.start != self._expected:
                events.append(self._gap(block))
            self._expected = block.end
            active = self._level.feed(block.samples)
            frames = [front_end.feed(block.samples) for front_end in self._front_ends]
            due += [self._due_look(look, block) for look in self._windows.feed(frames, active)]
            shown = self._picture.feed(block.samples, frames)
            if len(shown):
                events.append(self._frames(shown, block))
        if self.source.live and len(due) > 1:
            # The one overload rule: the newest window wins, the drop is counted.
            self.dropped += sum(one.look.features is not None for one in due[:-1])
            due = due[-1:]
        heard = self._expected - self._segment_start
        until_frames = self._picture.spec.samples_for(self._shown + self._frames_per_tick)
        self._wanted = max(1, min(self._windows.samples_until_due, until_frames) - heard)
        return due, events

    def _gap(self, block: Block) -> Gap:
        gap = Gap(self.name, self._expected, block.start - self._expected, time.time(), block.reason)
        self._gaps += 1
        self._lost_samples += gap.samples
        self._gap_times.append(time.monotonic())
        self._begin(block.start)
        return gap

    def _frames(self, frames: FloatArray, block: Block) -> Frames:
        spec = self._picture.spec
        start = self._segment_start + self._shown * spec.hop_samples - spec.lead_samples
        self._shown += len(frames)
        end = self._segment_start + spec.samples_for(self._shown)
        return Frames(self.name, start, self._unix_time(end, self._captured_at(end, block)), frames)

    def _captured_at(self, end: int, block: Block) -> float:
        """Monotonic time of the capture of the sample before ``end``, which lies in ``block``."""
        if not self.source.live:
            return block.captured_at
        return block.captured_at - (block.end - end) / self._spec.sample_rate_hz

    def _unix_time(self, end: int, captured_at: float) -> float:
        # A replay's samples have no time of capture: theirs is when they would have been heard, played from the start.
        if not self.source.live:
            return self._begun_at + end / self._spec.sample_rate_hz
        return time.time() - (time.monotonic() - captured_at)

    def _due_look(self, look: Look, block: Block) -> DueLook:
        captured_at = self._captured_at(look.end, block)
        return DueLook(look, captured_at, self._unix_time(look.end, captured_at))

    def set_half_life(self, seconds: float) -> None:
        """Give the votes another memory; they keep what they hold."""
        self._votes.set_half_life(seconds)

    def decide(self, due: DueLook, probabilities: Mapping[str, FloatArray] | None) -> Verdict:
        """The verdict on one look, from the probabilities (classes,) of each head; None where it was not scored."""
        look = due.look
        self._vote_clock.look(look.end / self._spec.sample_rate_hz, silent=look.silent)
        self._silent = look.silent  # over seconds, so that a rest in the music is no silence
        heads = self._vote(probabilities)
        label = heads[0].label
        if look.silent:
            state = VerdictState.SILENCE
        elif look.heard_samples < self._card.window_samples:
            # What is said of part of a window, repeated, is a label too, but not one to rely on.
            state = VerdictState.WARMING_UP
        else:
            state = VerdictState.UNSURE if label is None else VerdictState.DECIDED
        shown = (state, label, heads[0].instead)
        if shown != self._verdict_since[0]:
            self._verdict_since = (shown, due.time)
        latency_ms = (time.monotonic() - due.captured_at) * 1000
        self._latencies_ms.append(latency_ms)
        return Verdict(
            channel=self.name,
            sample=look.end,
            time=due.time,
            state=state,
            since=self._verdict_since[1],
            heads=heads,
            latency_ms=latency_ms,
            dropped=self.dropped,
            heard_s=look.heard_samples / self._spec.sample_rate_hz,
        )

    def _vote(self, probabilities: Mapping[str, FloatArray] | None) -> tuple[HeadVerdict, ...]:
        # Without probabilities the votes are frozen: what was heard before a silence still counts after it.
        shown: Mapping[str, Shown] = {}
        if probabilities is not None:
            shown = self._votes.update(probabilities, elapsed_s=self._vote_clock.take())
        return tuple(
            HeadVerdict(
                head.name,
                head.labels,
                said.label,
                said.confidence,
                None if probabilities is None else probabilities[head.name],
                self._votes.smoothed(head.name),
                said.instead,
            )
            for head in self._card.heads
            for said in (shown.get(head.name, _NOTHING),)
        )

    def state_and_reason(self) -> tuple[HealthState, str]:
        """What the source is doing, and why, in one sentence."""
        condition = self._supervisor.condition
        if condition.state is HealthState.LIVE and self._silent:
            return HealthState.SILENT, "audio comes, but there is nothing in it to hear"
        return condition.state, condition.reason

    def health(self) -> Health:
        """The channel's condition at this moment."""
        state, reason = self.state_and_reason()
        now = time.time()
        if state is not self._health_since[0]:
            self._health_since = (state, now)
        listening = state in (HealthState.LIVE, HealthState.SILENT)
        warnings = self._level.warnings if listening else ()
        gaps_at = self._gap_times
        if listening and len(gaps_at) == _CHOPPY_GAPS and time.monotonic() - gaps_at[0] < _CHOPPY_WITHIN_S:
            warnings += (f"choppy: {_CHOPPY_GAPS} gaps within {_CHOPPY_WITHIN_S:.0f} s, the input loses samples",)
        latencies = list(self._latencies_ms)
        return Health(
            channel=self.name,
            state=state,
            since=self._health_since[1],
            time=now,
            source=self.source.address,
            source_name=self.source.name,
            reason=reason,
            synthetic=self.source.synthetic,
            title=self.source.title,
            level_dbfs=self._level.level_dbfs if listening else None,
            warnings=warnings,
            reconnects=self._supervisor.reconnects,
            gaps=self._gaps,
            lost_samples=self._lost_samples,
            dropped=self.dropped,
            latency_p50_ms=float(np.percentile(latencies, 50)) if latencies else None,
            latency_p95_ms=float(np.percentile(latencies, 95)) if latencies else None,
        )
