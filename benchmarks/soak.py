"""Minutes of demo with the page open in several windows: does it drop windows, does the engine's memory grow?

    python benchmarks/soak.py [--minutes 10] [--windows 3]

Needs the [test] extra and a Chromium. Memory is the resident set of the engine's process alone, its first minute (when
caches fill) left out; growth is from the mean of the second minute to the mean of the last.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import psutil
from live_session import browser, live_session
from machine import describe

MEGABYTE = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--windows", type=int, default=3)
    parser.add_argument("--chromium", type=Path, default=Path("/usr/bin/chromium"))
    options = parser.parse_args()
    print(describe(), end="\n\n")
    with live_session("demo") as session, browser(options.chromium) as opened:
        engine = psutil.Process(session.pid)
        pages = [opened.new_page() for _ in range(options.windows)]
        for page in pages:
            page.goto(session.url)
            page.wait_for_function("window.__genrescope && window.__genrescope.drawn.length > 5", timeout=60_000)
        engine.cpu_percent()
        begun = time.monotonic()
        measured: list[tuple[float, float]] = []
        while (elapsed := time.monotonic() - begun) < options.minutes * 60:
            measured.append((elapsed, engine.memory_info().rss / MEGABYTE))
            if len(measured) % 30 == 1:
                print(f"  {elapsed / 60:4.1f} min: engine {measured[-1][1]:.1f} MB", flush=True)
            # The page's own wait keeps the browser's events flowing.
            pages[0].wait_for_timeout(2_000)
        cpu = engine.cpu_percent()
        ages = [page.evaluate("Date.now() - window.__genrescope.drawn.at(-1).drawn") for page in pages]
        last = session.verdicts[-1]
    at, memory = np.array(measured).T
    first = memory[(at >= 60) & (at < 120)].mean()
    final = memory[at >= at[-1] - 60].mean()
    print(f"{options.minutes:g} minutes, {options.windows} windows, {len(session.verdicts)} verdicts:")
    print(f"  dropped windows: {last['dropped']}")
    print(f"  engine memory: {first:.1f} -> {final:.1f} MB, growth {final - first:+.1f} MB (wanted: less than 10)")
    print(f"  engine CPU: {cpu:.1f} % of one core")
    print(f"  every window still draws: last drawn {', '.join(f'{age:.0f}' for age in ages)} ms ago")


if __name__ == "__main__":
    main()
