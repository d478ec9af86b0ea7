"""The page in a real Chromium, fed by an engine that is not one through the real link and the real server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from daemons import need, wait_until
from fake_engine import CARD, CHANNEL, FakeEngine, music
from live_session import CHROMIUM_FLAGS
from playwright.sync_api import Browser, ConsoleMessage, Request, WebSocketRoute, sync_playwright
from playwright.sync_api import Page as Window
from toy import save_toy
from verdicts import make_verdict

from dashboard.page_process import PageProcess
from models.spec import Head
from stream.events import (
    HeadVerdict,
    Health,
    HealthState,
    Hello,
    SetHalfLife,
    SetSource,
    SourceChoice,
    VerdictState,
)
from stream.page_link import PageLink

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    need("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=list(CHROMIUM_FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def show(browser: Browser) -> Iterator[Show]:
    show = Show(history_s=120)
    yield show
    show.stop()


@pytest.fixture
def watch(browser: Browser) -> Iterator[Callable[..., Watched]]:
    opened: list[Window] = []

    def watch(**options: Any) -> Watched:
        window = browser.new_page(**options)
        opened.append(window)
        return Watched(window)

    yield watch
    for window in opened:
        window.close()


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


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_it_draws_the_label_and_the_spectrogram_moves(
    show: Show, watch: Callable[..., Watched], tmp_path: Path, scheme: str
) -> None:
    watched = watch(color_scheme=scheme)
    window = watched.open(show.url, verdicts=4)
    assert window.locator(".page").get_attribute("data-dark") == str(scheme == "dark").lower()
    assert window.locator(".label").inner_text().strip()
    assert window.locator(".bars li").count() == 10
    assert "Demo programme" in window.locator(".source").inner_text()
    assert window.locator(".synthetic").is_visible()
    assert spread(window, ".spectrogram canvas") > 100
    before = pixels(window, ".spectrogram canvas")
    wait_until(lambda: pixels(window, ".spectrogram canvas") != before, "a spectrogram that moves")
    assert spread(window, ".strip canvas") > 5
    assert "jazz" in (window.locator(".strip canvas").get_attribute("aria-label") or "")
    window.screenshot(path=tmp_path / f"{scheme}.png")
    assert watched.complaints == []
    assert watched.foreign == []


def test_drawn_verdicts_are_reported_in_order_and_the_report_is_bounded(
    show: Show, watch: Callable[..., Watched]
) -> None:
    watched = watch()
    window = watched.open(show.url, verdicts=4)
    drawn = window.evaluate("window.__genrescope.drawn")
    samples = [each["sample"] for each in drawn]
    assert samples == sorted(set(samples))
    kept = 600
    window.evaluate(
        "(count) => { const { drawn } = window.__genrescope;"
        " while (drawn.length < count) drawn.unshift({ sample: 0 }); }",
        kept,
    )
    watched.drawn(2)
    assert window.evaluate("window.__genrescope.drawn.length") == kept


def test_three_windows_see_the_same_and_share_the_settings(show: Show, watch: Callable[..., Watched]) -> None:
    windows = [watch().open(show.url) for _ in range(3)]
    slider = windows[0].get_by_role("slider")
    slider.focus()
    slider.press("ArrowRight")
    wait_until(lambda: show.engine.commands, "the half-life's command at the engine")
    assert show.engine.commands[-1] == SetHalfLife(3.0)
    for window in windows:
        window.locator(".model-name", has_text="half-life 3 s").wait_for(timeout=OPEN_MS)
        # The other viewers' controls follow with their next rerun.
        window.get_by_text("1.9\N{NO-BREAK SPACE}s where it is 3 times").wait_for(timeout=OPEN_MS)
    slider.press("ArrowLeft")
    wait_until(lambda: show.engine.commands[-1] == SetHalfLife(2.0), "the second command")


def test_the_source_picker_reaches_the_engine(show: Show, watch: Callable[..., Watched]) -> None:
    window = watch().open(show.url)
    choice = window.get_by_role("option", name="Microphone")

    def opened() -> bool:
        # A click while the page is still being laid out may miss.
        window.get_by_role("combobox").click()
        window.wait_for_timeout(1000)
        return choice.is_visible()

    wait_until(opened, "the picker's choices")
    choice.click()
    wait_until(lambda: SetSource("mic") in show.engine.commands, "the source's command at the engine")
    window.locator(".source-name", has_text="Microphone").wait_for(timeout=OPEN_MS)
    window.locator(".synthetic").wait_for(state="hidden", timeout=OPEN_MS)
    show.engine.submit(SetSource("demo"))
    window.locator(".synthetic").wait_for(timeout=OPEN_MS)


def test_reruns_do_not_mount_it_again(show: Show, watch: Callable[..., Watched]) -> None:
    watched = watch()
    window = watched.open(show.url)
    window.evaluate("window.__genrescope.mark = 'the same'")
    window.locator(".page").evaluate("(page) => { page.mark = 'the same'; }")
    for key in ("ArrowRight", "ArrowLeft"):
        window.get_by_role("slider").press(key)
        watched.drawn(3)
    window.get_by_text("The model", exact=True).click()
    window.get_by_text("Stands in for a real model").wait_for(timeout=OPEN_MS)
    watched.drawn(15)  # longer than the fragment's interval
    assert window.evaluate("window.__genrescope.mark") == "the same"
    assert window.locator(".page").evaluate("(page) => page.mark") == "the same"
    assert window.locator(".page").count() == 1
    assert watched.complaints == []


def test_a_token_that_is_refused_is_replaced_by_a_fresh_one(show: Show, watch: Callable[..., Watched]) -> None:
    watched = watch()
    tokens: list[str] = []

    def tamper(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def pass_on(message: str | bytes) -> None:
            parsed = json.loads(message)
            if "token" in parsed:
                tokens.append(parsed["token"])
                if parsed["token"] == tokens[0]:  # the first one shall be as good as expired
                    parsed["token"] = "1.expired"
            server.send(json.dumps(parsed))

        socket.on_message(pass_on)

    watched.window.route_web_socket("**/live", tamper)
    watched.open(show.url)
    assert len(set(tokens)) == 2


def test_trouble_is_said_with_its_reason(show: Show, watch: Callable[..., Watched]) -> None:
    window = watch().open(show.url)
    show.engine.warnings = ("clipped: the input is too loud",)
    window.get_by_text("clipped: the input is too loud").wait_for(timeout=OPEN_MS)
    show.engine.warnings = ()
    show.engine.health_state, show.engine.reason = HealthState.RECONNECTING, "the station hung up"
    window.locator(".label", has_text="Reconnecting…").wait_for(timeout=OPEN_MS)
    assert window.locator(".detail").inner_text() == "the station hung up"
    assert window.locator(".health").inner_text() == "Reconnecting"
    show.engine.health_state, show.engine.reason = HealthState.LIVE, ""
    window.locator(".label", has_not_text="Reconnecting…").wait_for(timeout=OPEN_MS)


def test_an_engine_that_falls_silent_is_said_everywhere(show: Show, watch: Callable[..., Watched]) -> None:
    window = watch().open(show.url)
    show.engine.warnings = ("clipped: the input is too loud",)
    try:
        window.locator(".said").wait_for(timeout=OPEN_MS)
        show.engine.paused.set()
        window.locator(".health", has_text="No news").wait_for(timeout=OPEN_MS)
        assert window.locator(".label").inner_text() == "No news"
        assert "the engine last spoke" in window.locator(".detail").inner_text()
        assert not window.locator(".said").is_visible()
    finally:
        show.engine.warnings = ()
        show.engine.paused.clear()
    window.locator(".health", has_text="Live").wait_for(timeout=OPEN_MS)


def test_a_refusal_is_told_and_goes_with_the_next_change(show: Show, watch: Callable[..., Watched]) -> None:
    window = watch().open(show.url)
    show.engine.refuses = {"mic"}
    try:
        show.engine.submit(SetSource("mic"))
        window.locator(".said", has_text="'mic' is not among the sources offered").wait_for(timeout=OPEN_MS)
    finally:
        show.engine.refuses = set()
    show.engine.submit(SetHalfLife(2.0))
    window.locator(".said").wait_for(state="hidden", timeout=OPEN_MS)


def test_the_end_of_a_file_is_no_alarm_and_it_can_be_heard_again(show: Show, watch: Callable[..., Watched]) -> None:
    window = watch().open(show.url)
    show.engine.health_state, show.engine.reason = HealthState.ENDED, "the file has been heard to its end"
    try:
        window.locator(".said", has_text="heard to its end").wait_for(timeout=OPEN_MS)
        assert "warning" not in (window.locator(".said").get_attribute("class") or "")
        told = len(show.engine.commands)
        window.get_by_role("button", name="Play again").click(timeout=OPEN_MS)
        wait_until(lambda: show.engine.commands[told:] == [SetSource("demo")], "the source's command at the engine")
    finally:
        show.engine.health_state, show.engine.reason = HealthState.LIVE, ""


def test_a_notice_does_not_move_the_page_of_a_phone(show: Show, watch: Callable[..., Watched]) -> None:
    show.engine.submit(SetSource("mic"))
    try:
        window = watch(viewport={"width": 390, "height": 844}).open(show.url)
        window.locator(".synthetic").wait_for(state="hidden", timeout=OPEN_MS)
        before = window.locator(".hero").bounding_box()
        show.engine.warnings = ("clipped: the input is too loud",)
        window.locator(".said").wait_for(timeout=OPEN_MS)
        assert window.locator(".hero").bounding_box() == before
    finally:
        show.engine.warnings = ()
        show.engine.submit(SetSource("demo"))


def test_the_servers_clock_may_be_set(show: Show, watch: Callable[..., Watched]) -> None:
    watched = watch()
    set_by_s = 0.0

    def tamper(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def pass_on(message: str | bytes) -> None:
            if isinstance(message, str):
                parsed = json.loads(message)
                if parsed["type"] == "pong":
                    parsed["now"] += 1000 * set_by_s
                elif "time" in parsed:
                    parsed["time"] += set_by_s
                message = json.dumps(parsed)
            socket.send(message)

        server.on_message(pass_on)

    watched.window.route_web_socket("**/live", tamper)
    window = watched.open(show.url)
    window.wait_for_timeout(5_000)  # the fastest ping is known
    for set_by_s in (-3600.0, 3600.0):  # noqa: B007 - tamper reads it
        window.wait_for_timeout(3_000)  # the next ping
        watched.drawn(6)
        assert window.locator(".health").inner_text() == "Live"
        assert window.locator(".label").inner_text() != "No news"


def test_of_many_labels_the_likeliest_are_shown_and_foreign_names_are_mere_text(
    browser: Browser, watch: Callable[..., Watched]
) -> None:
    show = Show(playing=False)
    try:
        labels = tuple(f"a label with a long name, number {number}" for number in range(40))
        name = "![x](http://192.0.2.1/x.png) :red[loud] **song**"
        card = CARD.model_copy(update={"name": name, "heads": (Head(name="genre", labels=labels),)})
        choices = (SourceChoice("demo", name),)
        show.link.publish(Hello("many", CHANNEL, card, "fake", "demo", 2.0, 0.35, choices))
        smoothed = np.full(len(labels), 0.005, np.float32)
        smoothed[39] = 0.8
        now = time.time()
        show.link.publish(Health(CHANNEL, HealthState.LIVE, now, now + 3600, "demo", name))
        verdict = make_verdict(
            VerdictState.DECIDED,
            labels[39],
            labels=labels,
            channel=CHANNEL,
            sample=1,
            time=now,
            since=now,
            raw=smoothed,
            smoothed=smoothed,
        )
        others = (
            HeadVerdict("mood", ("calm", "wild"), "calm", 0.7, None, None),
            HeadVerdict("kind", ("music", "speech"), None, 0.5, None, None),
        )
        show.link.publish(replace(verdict, heads=(*verdict.heads, *others)))
        watched = watch()
        window = watched.open(show.url, verdicts=0)
        window.locator(".label", has_text="number 39").wait_for(timeout=OPEN_MS)
        assert window.locator(".bars li:visible").count() == 12
        assert window.locator(".bars .leader").is_visible()
        assert window.locator(".bars .leader .value").inner_text() == "80\N{NO-BREAK SPACE}%".replace(
            "\N{NO-BREAK SPACE}", " "
        )
        assert window.locator(".others").inner_text() == "mood: calm 70 % · kind: not sure"
        assert "12 likeliest of 40" in window.locator(".key-more").inner_text()
        assert window.locator(".source-name").inner_text() == name
        window.get_by_role("combobox").and_(window.locator(f"[value='{name}'], [aria-label*='{name}']")).wait_for(
            timeout=OPEN_MS
        )
        window.get_by_text("The model", exact=True).click()
        window.locator(".rows td", has_text=name).wait_for(timeout=OPEN_MS)
        assert watched.foreign == []
    finally:
        show.stop()


@pytest.mark.parametrize("after_s", [0.2, 0.7, 1.5])
def test_ctrl_c_while_the_page_still_starts_is_obeyed_without_a_word(tmp_path: Path, after_s: float) -> None:
    command = [sys.executable, "-m", "genrescope", "live", "demo", "--port", "0"]
    command += ["--model", str(save_toy(tmp_path / "toy.onnx"))]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        while "listening to" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        time.sleep(after_s)
        os.killpg(process.pid, signal.SIGINT)
        said += process.stderr.read()
        assert process.wait(15) == 0
    assert "Traceback" not in said
    assert "ending it" not in said


@pytest.mark.parametrize(("width", "height"), [(320, 640), (390, 844), (900, 700), (1920, 1080)])
def test_nothing_hangs_over_the_edge(show: Show, watch: Callable[..., Watched], width: int, height: int) -> None:
    window = watch(viewport={"width": width, "height": height}).open(show.url)
    assert window.evaluate("document.documentElement.scrollWidth") <= width
    main = window.get_by_test_id("stMain")
    assert main.evaluate("(main) => main.scrollWidth - main.clientWidth") <= 0
    over = window.locator(".page").evaluate(
        """(page) => [...page.querySelectorAll("*")]
             .filter((each) => each.getBoundingClientRect().right > innerWidth + 0.5 && !each.closest(".unseen"))
             .map((each) => each.className)"""
    )
    assert over == []


def test_the_live_part_fits_a_kiosk_without_scrolling(show: Show, watch: Callable[..., Watched]) -> None:
    window = watch(viewport={"width": 1920, "height": 1080}).open(
        f"{show.url}/?embed=true&embed_options=dark_theme&embed_options=hide_loading_screen"
    )
    box = window.locator(".page").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= 1080
    label = window.locator(".label").bounding_box()
    assert label is not None
    assert label["height"] >= 100


@pytest.mark.parametrize(("motion", "lasts"), [("reduce", "0s"), ("no-preference", "0.25s")])
def test_less_motion_is_shown_to_those_who_ask_for_it(
    show: Show, watch: Callable[..., Watched], motion: str, lasts: str
) -> None:
    window = watch(reduced_motion=motion).open(show.url)
    fill = window.locator(".fill").first
    assert fill.evaluate("(fill) => getComputedStyle(fill).transitionDuration") == lasts


def test_it_comes_back_by_itself_when_the_pages_process_is_killed(
    browser: Browser, watch: Callable[..., Watched], tmp_path: Path
) -> None:
    show = Show(history_s=60)
    try:
        watched = watch()
        window = watched.open(show.url)
        pid = show.page.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        window.locator(".lost .notice", has_text="connection to genrescope is lost").wait_for(timeout=OPEN_MS)
        window.screenshot(path=tmp_path / "lost.png")
        watched.drawn(3)
        window.locator(".lost .notice").wait_for(state="hidden", timeout=OPEN_MS)
        assert show.page.pid != pid
        # What was heard before is drawn again, from the link's memory.
        assert "jazz" in (window.locator(".strip canvas").get_attribute("aria-label") or "")
    finally:
        show.stop()


def test_a_page_process_that_hangs_is_noticed_and_taken_up_again(
    browser: Browser, watch: Callable[..., Watched]
) -> None:
    show = Show()
    try:
        watched = watch()
        window = watched.open(show.url)
        pid = show.page.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            window.locator(".lost .notice").wait_for(timeout=OPEN_MS)
            assert window.locator(".health").inner_text() == "Not connected"
        finally:
            os.kill(pid, signal.SIGCONT)
        watched.drawn(3)
        window.locator(".lost .notice").wait_for(state="hidden", timeout=OPEN_MS)
        assert show.page.pid == pid
    finally:
        show.stop()


def test_it_waits_for_the_engine_then_listens_then_names(browser: Browser, watch: Callable[..., Watched]) -> None:
    show = Show(playing=False)
    try:
        watched = watch()
        watched.window.goto(show.url)
        watched.window.get_by_text("Waiting for the engine…").wait_for(timeout=OPEN_MS)
        show.engine.hold_at = 60
        show.engine.start()
        watched.window.locator(".detail", has_text=" s of 2.8 s").wait_for(timeout=OPEN_MS)
        assert watched.window.locator(".label").inner_text() == "Listening…"
        show.engine.hold_at = None
        watched.window.locator(".hero[data-state=decided]").wait_for(timeout=OPEN_MS)
        assert watched.window.locator(".label").inner_text() == "Jazz"
        assert watched.complaints == []
    finally:
        show.stop()
