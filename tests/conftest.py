"""What tests share: servers, and how many threads small networks take."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from daemons import Icecast, PulseAudio, need

if TYPE_CHECKING:
    from page_windows import Show, Watched
    from playwright.sync_api import Browser


@pytest.fixture
def pulse(monkeypatch: pytest.MonkeyPatch) -> Iterator[PulseAudio]:
    """A sound server with one input, ``pulse.device``; this process and its children see it and no other."""
    need("pulseaudio", "pactl", "paplay")
    with PulseAudio() as server:
        for name, value in server.variables.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def icecast() -> Iterator[Icecast]:
    """A radio server without stations; ``icecast.feed`` puts one on the air."""
    need("icecast2", "ffmpeg")
    with Icecast() as server:
        yield server


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Networks as small as those of tests are fastest on one, whatever else the machine does."""
    import torch  # tests of the base install have none

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium."""
    need("chromium")
    from live_session import browser

    with browser() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def show(browser: Browser) -> Iterator[Show]:  # without a browser nothing is shown
    """The page with an engine that has played for two minutes."""
    from page_windows import Show

    show = Show(history_s=120)
    yield show
    show.stop()


@pytest.fixture
def watch(browser: Browser) -> Iterator[Callable[..., Watched]]:
    """Opens windows, with Playwright's options for a page; they are closed at the end."""
    from page_windows import Watched

    opened: list[Watched] = []

    def watch(**options: Any) -> Watched:
        opened.append(Watched(browser.new_page(**options)))
        return opened[-1]

    yield watch
    for watched in opened:
        watched.window.close()


_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what was skipped for another reason than a missing GPU."""
    if report.skipped and "gpu" not in report.keywords and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """CI installs all that tests need, so there a skip is a test that was lost."""
    if os.environ.get("CI") and _skipped:
        print("\nSkipped on CI, where only GPU tests may be:", *_skipped, sep="\n  ")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
