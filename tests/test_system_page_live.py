"""One command, one page: the whole program with its own page in a real Chromium."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from audio_files import write_audio
from daemons import need
from live_session import browser, live_session
from toy import save_toy, tone, toy_card

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


def test_the_page_names_what_the_engine_hears(tmp_path: Path) -> None:
    need("chromium")
    model = save_toy(tmp_path / "toy.onnx")
    song = write_audio(tmp_path / "song.wav", tone("high", 30, rate_hz=44_100)[:, None])
    with live_session(str(song), "--model", str(model)) as session, browser() as chromium:
        page = chromium.new_page()
        wrong: list[str] = []
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(session.url)
        page.wait_for_function("window.__genrescope && window.__genrescope.drawn.length > 3", timeout=60_000)
        page.locator(".label", has_text="High").wait_for(timeout=30_000)
        page.locator(".source-name", has_text="song.wav").wait_for(timeout=30_000)
        drawn = page.evaluate("window.__genrescope.drawn")
    heard = {verdict["sample"]: verdict for verdict in session.verdicts}
    assert {one["sample"] for one in drawn} <= set(heard)
    # How many looks are dropped while a browser starts depends on what else the machine does.
    assert wrong == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_at_once_and_without_a_word(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "genrescope", "live", "demo", "--port", "0"]
    command += ["--model", str(save_toy(tmp_path / "toy.onnx"))]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr is not None
        said = ""
        while "genrescope is live" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        # As a terminal does it: to the whole group, the page's process included.
        os.killpg(process.pid, number)
        said += process.stderr.read()
        assert process.wait(15) == 0
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("enter", "lead", "label", "detail"),
    [
        (0.5, "So far it sounds like", "High", r"\d+ % sure · heard [\d.]+ s of 60\.0 s"),
        (1.0, "", "Listening…", r"perhaps high \d+ % or \w+ \d+ % · heard [\d.]+ s of 60\.0 s"),
    ],
)
def test_a_window_of_a_minute_is_named_while_it_fills(
    tmp_path: Path, enter: float, lead: str, label: str, detail: str
) -> None:
    need("chromium")
    card = toy_card(frames=1874, hop_frames=10, short="tile")
    card = card.model_copy(update={"heads": (card.head.model_copy(update={"enter": enter, "leave": 0.3}),)})
    model = save_toy(tmp_path / "toy.onnx", card)
    song = write_audio(tmp_path / "song.wav", tone("high", 90, rate_hz=44_100)[:, None])
    with live_session(str(song), "--model", str(model)) as session, browser() as chromium:
        page = chromium.new_page()
        page.goto(session.url)
        page.locator(".detail", has_text=re.compile(rf"^{detail}$")).wait_for(timeout=50_000)
        assert page.locator(".label").inner_text() == label
        assert page.locator(".lead").inner_text() == lead
        assert page.locator(".progress").is_visible()
        assert page.locator(".bars.idle").count() == 0
        summary = "high" if enter < 1 else "listening"
        page.locator(f".strip canvas[aria-label*='{summary} ']").wait_for(timeout=30_000)
        if enter < 1:
            page.locator(".rows td", has_text="high (warming up)").wait_for(timeout=30_000)
    assert session.verdicts[-1]["state"] == "warming-up"
    assert 2.8 < session.verdicts[-1]["heard_s"] < 60
