"""A real `genrescope live` and real browser windows on its page, for the benchmarks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass
class LiveSession:
    """A running `genrescope live`: its page's address, its process id and the verdicts so far."""

    url: str
    pid: int
    verdicts: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def live_session(source: str, *arguments: str) -> Iterator[LiveSession]:
    """Run `genrescope live SOURCE` on a free port until the block ends."""
    command = [sys.executable, "-m", "genrescope", "live", source, "--port", "0", "--jsonl", "-", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        said = []
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"live: (http://\S+)", line):
                break
        else:
            raise SystemExit(f"genrescope live did not start:\n{''.join(said)}")
        session = LiveSession(found[1], process.pid)
        readers = [
            threading.Thread(target=_collect, args=(process.stdout, session.verdicts), daemon=True),
            threading.Thread(target=process.stderr.read, daemon=True),
        ]
        for reader in readers:
            reader.start()
        yield session
    finally:
        process.terminate()
        process.wait(15)


def _collect(lines: Iterator[str], into: list[dict[str, Any]]) -> None:
    into.extend(json.loads(line) for line in lines)


@contextmanager
def browser(chromium: Path = Path("/usr/bin/chromium")) -> Iterator[Any]:
    """A headless Chromium (a playwright Browser)."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(chromium), args=list(CHROMIUM_FLAGS))
        try:
            yield opened
        finally:
            opened.close()
