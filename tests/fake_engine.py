"""An engine that is not one: it says through a real PageLink what a real engine would, from music it makes up."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from functools import cache
from itertools import count

import numpy as np
import numpy.typing as npt
from verdicts import make_verdict

from models.spec import Architecture, Head, LogMel, ModelCard, Provenance, WindowSpec
from stream.engine import FRAMES_PER_TICK
from stream.events import (
    Command,
    Event,
    Frames,
    Gap,
    Health,
    HealthState,
    Hello,
    SetHalfLife,
    Settings,
    SourceChoice,
    Verdict,
    VerdictState,
)
from stream.page_link import PageLink

LABELS = ("blues", "classical", "country", "electronic", "hiphop", "jazz", "latin", "pop_rock", "reggae", "rnb")
CARD = ModelCard(
    name="genre10-fake",
    description="Stands in for a real model in tests of the page.",
    architecture=Architecture(name="lidy-parallel"),
    inputs=(LogMel(sample_rate_hz=22_050, n_fft=1536, hop_samples=768, n_mels=40, fmax_hz=11_025.0),),
    normalisation="per band",
    window=WindowSpec(frames=80, hop_frames=10),
    heads=(Head(name="genre", labels=LABELS),),
    provenance=Provenance(
        data="made up",
        protocol="none",
        epochs=0,
        seed=0,
        commit="0000000",
        licence="Apache-2.0",
    ),
    metrics={"accuracy": 0.5},
)
CHANNEL = "main"
CHOICES = (
    SourceChoice("demo", "Demo programme"),
    SourceChoice("mic", "Microphone"),
    SourceChoice("http://127.0.0.1:8000/live.mp3", "Radio Loopback"),
)
WINDOW_S = CARD.window_seconds
HOP_S = CARD.window.hop_frames * CARD.clock.seconds_per_frame
# What "plays", over and over: seconds and the label that it sounds like; None is silence, "" is nothing in particular.
PROGRAMME: tuple[tuple[float, str | None], ...] = (
    (70, "jazz"),
    (6, None),
    (85, "electronic"),
    (25, ""),
    (60, "classical"),
    (40, "reggae"),
    (9, None),
    (75, "pop_rock"),
    (50, "blues"),
)


@cache
def music() -> npt.NDArray[np.float32]:
    """Log-mel frames of 40 s of chords, bass and beats, (frames, n_mels) in log10 units."""
    from models.frontend import features

    rate = CARD.clock.sample_rate_hz
    rng = np.random.default_rng(7)
    t = np.arange(40 * rate) / rate
    out = 0.0004 * rng.standard_normal(len(t))
    beat_s = 0.5
    for beat in range(int(40 / beat_s)):
        at = slice(int(beat * beat_s * rate), int((beat * beat_s + 2.0) * rate))  # faded by then
        local = t[at] - t[at][0]
        root = 110 * 2 ** ((0, 5, 7, 3)[beat // 8 % 4] / 12)
        for step in (0, 4, 7, 12)[: 1 + beat % 4]:
            for harmonic in range(1, 9):
                hz = root * 2 ** (step / 12) * harmonic
                decay = np.exp(-local * (2.5 + 0.7 * harmonic))
                out[at] += 0.12 / harmonic * decay * np.sin(2 * np.pi * hz * local * (1 + 0.0005 * np.sin(30 * local)))
        out[at] += 0.5 * np.exp(-local * 18) * np.sin(2 * np.pi * 55 * local) * (beat % 2 == 0)
        out[at] += 0.12 * np.exp(-local * 30) * rng.standard_normal(len(local)) * (beat % 2 == 1)
        out[at] += 0.05 * np.exp(-local * 60) * np.diff(rng.standard_normal(len(local) + 1))
    sweep = 0.08 * np.sin(2 * np.pi * np.cumsum(600 + 500 * np.sin(2 * np.pi * t / 7)) / rate)
    return features((out + sweep * (np.sin(2 * np.pi * t / 13) > 0)).astype(np.float32), CARD.clock)


class FakeEngine:
    """Publishes a greeting, some history, and then frames, verdicts and health at the real pace."""

    def __init__(self, link: PageLink, *, history_s: float = 0.0, boot: str = "boot-1") -> None:
        self._link = link
        self._boot = boot
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fake-engine", daemon=True)
        self._history_s = history_s
        self.source = "demo"
        self.half_life_s = 2.0
        self.commands: list[Command] = []
        self.health_state = HealthState.LIVE
        self.reason = ""
        self.warnings: tuple[str, ...] = ()
        self.title: str | None = None
        self.refuses: set[str] = set()
        self.paused = threading.Event()
        self.hold_at: int | None = None
        """The number of a frame to stop at; the clock waits too."""
        self._waiting: list[npt.NDArray[np.float32]] = []
        self._smoothed = np.full(len(LABELS), 1 / len(LABELS), np.float32)
        self._since = time.time() - history_s
        self._before: tuple[VerdictState, str | None] | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def submit(self, command: Command) -> None:
        """What a real engine's ``submit`` does, at once."""
        self.commands.append(command)
        refused = ""
        if isinstance(command, SetHalfLife):
            self.half_life_s = command.seconds
        elif command.address in self.refuses:
            refused = f"{command.address!r} is not among the sources offered"
        else:
            self.source = command.address
        self._link.publish(Settings(self.source, self.half_life_s, CHOICES, refused))

    def _run(self) -> None:
        features = CARD.clock
        step_s = features.seconds_per_frame
        music()  # before the clock starts: it takes a moment to make
        self._link.publish(Hello(self._boot, CHANNEL, CARD, "fake", self.source, self.half_life_s, HOP_S, CHOICES))
        begin = time.time() - self._history_s
        for frame in count():
            while frame == self.hold_at:
                begin = time.time() - frame * step_s
                if self._stopping.wait(0.01):
                    return
            at = begin + (frame + 1) * step_s
            while at > time.time() or self.paused.is_set():
                if self._stopping.wait(0.002):
                    return
            if at < time.time() - 5 and self._history_s == 0:
                # Paused: those samples were never heard.
                lost = round((time.time() - at) / step_s)
                begin += lost * step_s
                self._waiting.clear()
                self._link.publish(Gap(CHANNEL, frame * features.hop_samples, 0, time.time(), "paused"))
                at = time.time()
            for event in self._events(frame, at, begin):
                self._link.publish(event)
            if at > time.time() - 1:
                self._history_s = 0.0

    def _events(self, frame: int, at: float, begin: float) -> Iterator[Event]:
        features = CARD.clock
        playing = self._playing(at - begin)
        values = music()[frame % len(music())][None, :]
        if playing is None:
            values = np.full_like(values, -8.5) + 0.3 * np.random.default_rng(frame).standard_normal(values.shape)
        # As the engine does: several frames at once, and every window after its last frame.
        self._waiting.append(values.astype(np.float32))
        due = frame % CARD.window.hop_frames == 0
        if due or len(self._waiting) == FRAMES_PER_TICK:
            first = frame + 1 - len(self._waiting)
            yield Frames(CHANNEL, first * features.hop_samples, at, np.concatenate(self._waiting))
            self._waiting.clear()
        if due:
            yield self._verdict(frame, at, playing)
        if frame % 28 == 0:
            yield Health(
                CHANNEL,
                self.health_state,
                begin,
                at,
                self.source,
                next(choice.name for choice in CHOICES if choice.address == self.source),
                reason=self.reason,
                synthetic=self.source == "demo",
                title=self.title,
                level_dbfs=-90.0 if playing is None else -18.0,
                warnings=self.warnings,
                latency_p50_ms=8.4,
                latency_p95_ms=14.2,
            )

    def _playing(self, since_begin_s: float) -> str | None:
        place = since_begin_s % sum(seconds for seconds, _ in PROGRAMME)
        for seconds, label in PROGRAMME:
            if place < seconds:
                return label
            place -= seconds
        raise AssertionError("the programme covers every second")

    def _verdict(self, frame: int, at: float, playing: str | None) -> Verdict:
        rng = np.random.default_rng(frame)
        raw: npt.NDArray[np.float32] | None = None
        sample = CARD.clock.samples_for(frame + 1)
        heard_s = frame * CARD.clock.seconds_per_frame
        if heard_s < WINDOW_S:
            state, label = VerdictState.WARMING_UP, None
        elif playing is None:
            state, label = VerdictState.SILENCE, None
        else:
            logits = rng.normal(0, 0.7, len(LABELS))
            if playing:
                logits[LABELS.index(playing)] += 3.6
                logits[(LABELS.index(playing) + 3) % len(LABELS)] += 1.2
            raw = (np.exp(logits) / np.exp(logits).sum()).astype(np.float32)
            keep = 2 ** (-HOP_S / self.half_life_s)
            self._smoothed = (keep * self._smoothed + (1 - keep) * raw).astype(np.float32)
            leader = int(np.argmax(self._smoothed))
            sure = self._smoothed[leader] >= CARD.head.enter
            state, label = (VerdictState.DECIDED, LABELS[leader]) if sure else (VerdictState.UNSURE, None)
        if (state, label) != self._before:
            self._before, self._since = (state, label), at
        return make_verdict(
            state,
            label,
            labels=LABELS,
            channel=CHANNEL,
            sample=sample,
            time=at,
            since=self._since,
            confidence=float(self._smoothed.max()) if state in (VerdictState.DECIDED, VerdictState.UNSURE) else None,
            raw=raw,
            smoothed=None if state is VerdictState.WARMING_UP else self._smoothed,
            heard_s=min(heard_s, WINDOW_S),
            latency_ms=8.4,
        )


def main(port: int, history_s: float) -> None:
    """Show the page on ``port`` with this engine behind it, until Ctrl-C."""
    from dashboard.page_process import PageProcess

    link = PageLink()
    engine = FakeEngine(link, history_s=history_s)
    page = PageProcess(link, on_command=engine.submit, port=port)
    page.start()
    engine.start()
    print(page.wait_ready(), flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        page.stop()
        engine.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
