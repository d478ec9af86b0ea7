"""The page in a real Chromium when what it hangs on goes, comes back, hangs or is not there yet."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from page_windows import OPEN_MS, Show, Watched
from playwright.sync_api import Browser, WebSocketRoute
from toy import save_toy

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


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
