"""The engine: feeds every channel what its ring holds, scores all windows that are due in one batch, and publishes."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from models.errors import ConfigError, GenrescopeError
from models.half_life import DEFAULT_HALF_LIFE_S, checked_half_life
from models.scorer import Scorer, windows_at_once
from models.spec import ModelCard
from stream.channel import CLOSE_S, Channel, DueLook
from stream.events import Command, Event, HealthState, Hello, SetHalfLife, SetSource, Settings, SourceChoice
from stream.level import FloatArray
from stream.source import Source

log = logging.getLogger(__name__)

FRAMES_PER_TICK = 4
"""New frames that are worth waking for, when no window is due: about seven times a second. Frame by frame, the front
end would cost twice as much, for a picture that the page moves smoothly anyway."""

_HEALTH_EVERY_S = 1.0
_IDLE_S = 0.2
_COMMANDS_WAITING = 64


class Sink(Protocol):
    """Where events go."""

    def publish(self, event: Event) -> None:
        """Take one event; must return at once, whatever becomes of it."""
        ...


class Engine:
    """Any number of channels and one scorer. ``run`` in one thread; ``submit`` and ``stop`` from any.

    ``hop_s`` is rounded to whole frames; ``open_source`` makes the source that a SetSource command names, which must be
    among ``choices``.
    """

    def __init__(
        self,
        scorer: Scorer,
        sources: Mapping[str, Source],
        sinks: Sequence[Sink],
        *,
        hop_s: float | None = None,
        half_life_s: float = DEFAULT_HALF_LIFE_S,
        frames_per_tick: int = FRAMES_PER_TICK,
        choices: Sequence[SourceChoice] = (),
        open_source: Callable[[str], Source] | None = None,
    ) -> None:
        card = scorer.card
        self.hop_frames = card.window.hop_frames if hop_s is None else checked_hop(hop_s, card)
        self.half_life_s = half_life_s
        self.model = card.name
        self._scorer = scorer
        self._at_once = windows_at_once(card)
        self._warned_of_nan = False
        self._sinks = sinks
        self._choices = tuple(choices)
        self._open_source = open_source
        self._due = threading.Event()
        self.stopping = False
        self._commands: queue.Queue[Command] = queue.Queue(_COMMANDS_WAITING)
        self._said: dict[str, tuple[float, tuple[HealthState, str]]] = {}
        self.channels = [
            Channel(
                name,
                source,
                card,
                hop_frames=self.hop_frames,
                half_life_s=half_life_s,
                frames_per_tick=frames_per_tick,
                on_due=self._due.set,
            )
            for name, source in sources.items()
        ]

    def hello(self, boot: str) -> Hello:
        """The engine's introduction to a page: ``boot`` must be new at every start."""
        card = self._scorer.card
        return Hello(
            boot=boot,
            channel=self.channels[0].name,
            card=card,
            scorer=self._scorer.name,
            source=self.channels[0].source.address,
            half_life_s=self.half_life_s,
            hop_s=self.hop_frames * card.clock.seconds_per_frame,
            choices=self._choices,
        )

    def submit(self, command: Command) -> None:
        """Have a command carried out by the engine's thread; from any thread. Beyond a bound, commands are refused."""
        try:
            self._commands.put_nowait(command)
        except queue.Full:
            log.warning("too many commands at once, this one is dropped: %s", command)
        self._due.set()

    def stop(self) -> None:
        """Make ``run`` return soon; from any thread, and from a signal handler: it takes no lock."""
        self.stopping = True

    def run(self, *, until_finished: bool = True) -> None:
        """Listen until ``stop``, or (``until_finished``) until every source has ended and has been heard."""
        for channel in self.channels:
            channel.start()
        try:
            while not self.stopping:
                # Asked before the tick: what was written before the end is then heard by it.
                finished = all(channel.finished for channel in self.channels)
                self._due.clear()
                self.tick()
                if finished and until_finished:
                    break
                self._due.wait(_IDLE_S)
        finally:
            for channel in self.channels:
                channel.stop()
            deadline = time.monotonic() + CLOSE_S
            for channel in self.channels:
                channel.join(deadline)

    def tick(self) -> None:
        """One round: commands, new audio, one batch, verdicts, health."""
        self._obey()
        due: list[tuple[Channel, DueLook]] = []
        for channel in self.channels:
            looks, events = channel.feed()
            due += [(channel, look) for look in looks]
            for event in events:
                self._publish(event)
        for first in range(0, len(due), self._at_once):
            self._decide(due[first : first + self._at_once])
        self._publish_health()

    def _decide(self, due: Sequence[tuple[Channel, DueLook]]) -> None:
        scores = self._score([one.look.features for _, one in due if one.look.features is not None])
        for channel, one in due:
            self._publish(channel.decide(one, None if one.look.features is None else next(scores)))

    def _score(self, windows: Sequence[tuple[FloatArray, ...]]) -> Iterator[dict[str, FloatArray] | None]:
        """Probabilities (classes,) of each head for each window; None where the network gave numbers that are none."""
        if not windows:
            return
        batch = tuple(np.stack(each) for each in zip(*windows, strict=True))
        scores = self._scorer.score(batch)
        for row in range(len(windows)):
            probabilities = {head: values[row] for head, values in scores.items()}
            if all(np.isfinite(values).all() for values in probabilities.values()):
                yield probabilities
                continue
            if not self._warned_of_nan:
                log.warning("model %r gave probabilities that are no numbers; such windows do not count", self.model)
                self._warned_of_nan = True
            yield None

    def _publish(self, event: Event) -> None:
        for sink in self._sinks:
            sink.publish(event)

    def _publish_health(self) -> None:
        now = time.monotonic()
        for channel in self.channels:
            said = self._said.get(channel.name)
            state_and_reason = channel.state_and_reason()
            if said is not None and now - said[0] < _HEALTH_EVERY_S and said[1] == state_and_reason:
                continue
            self._said[channel.name] = (now, state_and_reason)
            self._publish(channel.health())

    def _obey(self) -> None:
        while True:
            try:
                command = self._commands.get_nowait()
            except queue.Empty:
                return
            refused = ""
            try:
                self._carry_out(command)
            except GenrescopeError as error:
                refused = str(error)
                log.warning("%s", error)
            self._publish(Settings(self.channels[0].source.address, self.half_life_s, self._choices, refused))

    def _carry_out(self, command: Command) -> None:
        if isinstance(command, SetHalfLife):
            self.half_life_s = checked_half_life(command.seconds)
            for channel in self.channels:
                channel.set_half_life(self.half_life_s)
        elif isinstance(command, SetSource):
            # Viewers choose from a list; they cannot make this machine open addresses of their own.
            if self._open_source is None or command.address not in {choice.address for choice in self._choices}:
                raise ConfigError(f"{command.address!r} is not among the sources offered")
            self.channels[0].listen_to(self._open_source(command.address))


def checked_hop(seconds: float, card: ModelCard) -> int:
    """``seconds`` between two verdicts as a number of frames.

    Raises:
        ConfigError: it is not positive, or longer than the model's window.
    """
    if not 0 < seconds <= card.window_seconds:
        raise ConfigError(
            f"expected a hop of more than 0 and at most the window's {card.window_seconds:.2f} seconds, got {seconds:g}"
        )
    return card.clock.frames_nearest(seconds)
