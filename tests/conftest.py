"""What tests share: servers, and how many threads small networks take."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from daemons import Icecast, PulseAudio, need
from hypothesis import settings

if TYPE_CHECKING:
    from page_windows import Show, Watched
    from playwright.sync_api import Browser


# How long an example takes is a matter of what else the machine does.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For several workers: files stay whole, for what they set up once, and one worker does all that listens to sound
    servers, stations and browsers, which must not wait for each other. That takes longest, so it begins first."""
    alone = {item: item.get_closest_marker("system") is not None for item in items}
    for item in items:
        item.add_marker(pytest.mark.xdist_group("system" if alone[item] else item.path.name))
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: not alone[item])


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
