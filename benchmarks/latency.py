"""How long from a sound to its label, in a verdict and in the pixels of a browser; what network and front end cost.

    python benchmarks/latency.py [--seconds 60] [--chromium /usr/bin/chromium]

Needs the [test] extra and a Chromium. The source is the demo at real time with the shipped model; a window's last
sample counts as captured when it is due on the clock. The front end is timed over a hop, fed as the engine feeds it and
in other pieces, against librosa recomputing every whole window, in turns in one process; the network over one window at
a time, on one core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
from live_session import browser, live_session
from machine import describe

from models.frontend import FrontEnd, features
from models.model_file import open_model
from models.scorer import DEFAULT_MODEL
from models.spec import LogMel, ModelCard
from stream.engine import FRAMES_PER_TICK
from train.machine import measure_latency

ROUNDS = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to listen")
    parser.add_argument("--chromium", type=Path, default=Path("/usr/bin/chromium"))
    options = parser.parse_args()
    print(describe(), end="\n\n")
    _, card = open_model(DEFAULT_MODEL)
    front_end_cost(card)
    print()
    scored = measure_latency(DEFAULT_MODEL)
    print(f"{card.name}, one window, {scored.runtime}: {scored.milliseconds:.2f} ms (median; wanted: 2)\n")
    live_latency(options.seconds, options.chromium)


def front_end_cost(card: ModelCard) -> None:
    """Print what one hop of new audio costs our front end, and what recomputing its window costs librosa."""
    (spec,), window = card.inputs, card.window
    assert isinstance(spec, LogMel)
    hop = window.hop_frames * spec.hop_samples
    hops = 20
    signal = np.random.default_rng(0).standard_normal(card.window_samples + hops * hop).astype(np.float32) * 0.1

    def ours(step: int) -> Callable[[], None]:
        def run() -> None:
            front_end = FrontEnd(spec)
            for first in range(0, hops * hop, step):
                front_end.feed(signal[first : first + step])

        return run

    def librosas() -> None:
        for first in range(0, hops * hop, hop):
            with_librosa(signal[first : first + card.window_samples])

    def with_librosa(samples: np.ndarray) -> np.ndarray:
        power = librosa.feature.melspectrogram(
            y=samples,
            sr=spec.sample_rate_hz,
            n_fft=spec.n_fft,
            hop_length=spec.hop_samples,
            n_mels=spec.n_mels,
            fmin=spec.fmin_hz,
            fmax=spec.fmax_hz,
            center=False,
        )
        return np.asarray(np.log10(np.maximum(power, spec.floor)))

    apart = np.abs(features(signal[: card.window_samples], spec).T - with_librosa(signal[: card.window_samples])).max()
    frame = spec.hop_samples
    ways = {
        "librosa": librosas,
        "ours, as the engine does": ours(FRAMES_PER_TICK * frame),
        "ours, a hop at a time": ours(hop),
        "ours, a frame at a time": ours(frame),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            times[name].append((time.perf_counter() - start) / hops * 1e6)
    medians = {name: float(np.median(values)) for name, values in times.items()}
    print(f"front end, microseconds per hop of {hop / spec.sample_rate_hz:.2f} s (median of {ROUNDS} rounds):")
    for name, median in medians.items():
        print(f"  {name:24s} {median:8.0f}   {medians['librosa'] / median:5.1f} times cheaper than librosa")
    print(f"  largest difference from librosa on one window: {apart:.1e} log10 units (librosa in single precision)")


def live_latency(seconds: float, chromium: Path) -> None:
    """Print the latencies of a real live session with one page open."""
    with live_session("demo") as session, browser(chromium) as opened:
        page = opened.new_page(viewport={"width": 1280, "height": 800})
        page.goto(session.url)
        page.wait_for_function("window.__genrescope && window.__genrescope.drawn.length > 5", timeout=60_000)
        begun = len(session.verdicts)
        already = page.evaluate("window.__genrescope.drawn.length")
        page.wait_for_timeout(seconds * 1000)
        drawn = page.evaluate("window.__genrescope.drawn")[already:]
        verdicts = session.verdicts[begun:]
    to_verdict = np.array([verdict["latency_ms"] for verdict in verdicts])
    to_pixels = np.array([one["drawn"] - one["captured"] * 1000 for one in drawn])
    print(f"latency from the last sample of a window, over {len(verdicts)} verdicts ({seconds:g} s of demo, one page):")
    for name, values, target in (("to the verdict", to_verdict, 30), ("to the pixels", to_pixels, 150)):
        p50, p95, p99 = np.percentile(values, [50, 95, 99])
        seen = f"({len(values)} seen; wanted p95: {target})"
        print(f"  {name:16s} p50 {p50:6.1f}  p95 {p95:6.1f}  p99 {p99:6.1f} ms  {seen}")
    print(f"  dropped windows: {verdicts[-1]['dropped']}")


if __name__ == "__main__":
    main()
