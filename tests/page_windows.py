"""The page in windows of a real Chromium, with an engine behind it that is not one."""

from __future__ import annotations

from fake_engine import FakeEngine, music
from playwright.sync_api import ConsoleMessage, Request
from playwright.sync_api import Page as Window

from dashboard.page_process import PageProcess
from stream.page_link import PageLink

OPEN_MS = 60_000


class Show:
    """A page with an engine behind it."""

    def __init__(self, *, history_s: float = 0.0, playing: bool = True) -> None:
        music()  # made beforehand: the history is told at once then, before any window opens
        self.link = PageLink()
        self.engine = FakeEngine(self.link, history_s=history_s)
        self.page = PageProcess(self.link, on_command=self.engine.submit, port=0)
        self.page.start()
        if playing:
            self.engine.start()
        self.url = self.page.wait_ready(60)

    def stop(self) -> None:
        self.engine.stop()
        self.page.stop()


class Watched:
    """A browser window and what went wrong in it."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        window.on("console", self._console)
        window.on("pageerror", lambda error: self.complaints.append(str(error)))
        window.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def _request(self, request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")):
            self.foreign.append(request.url)

    def open(self, url: str, *, verdicts: int = 2) -> Window:
        self.window.goto(url)
        self.drawn(verdicts)
        return self.window

    def drawn(self, more: int) -> None:
        """Wait until ``more`` verdicts have been drawn, counted from the last time."""
        start = self.window.evaluate("window.__genrescope?.drawn.at(-1)?.sample ?? 0")
        self.window.wait_for_function(
            "([start, more]) => window.__genrescope?.state === 'open'"
            " && window.__genrescope.drawn.filter((each) => each.sample > start).length >= more",
            arg=[start, more],
            timeout=OPEN_MS,
        )


def pixels(window: Window, selector: str) -> str:
    image: str = window.locator(selector).evaluate("(canvas) => canvas.toDataURL()")
    return image


def spread(window: Window, selector: str) -> int:
    """How many different colours a canvas shows."""
    found: int = window.locator(selector).evaluate(
        """(canvas) => {
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return new Set(new Uint32Array(data.buffer)).size;
        }"""
    )
    return found
