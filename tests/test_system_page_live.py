"""One command, one page: the whole program with its own page in a real Chromium."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from audio_files import write_audio
from daemons import need
from live_session import browser, live_session
from toy import save_toy, tone

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
    assert session.verdicts[-1]["dropped"] == 0
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
