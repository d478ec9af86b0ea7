"""The page's script, run by Streamlit's own test runner: controls send commands and follow what the engine applies."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from fake_engine import CARD, CHANNEL, CHOICES, LABELS
from streamlit.testing.v1 import AppTest
from verdicts import make_verdict

import dashboard
from dashboard import page as page_module
from dashboard.board import Board
from dashboard.page import Page, get_page, set_page
from dashboard.viewer_token import TokenMint
from models.errors import ConfigError, GenrescopeError
from stream.events import Command, Health, HealthState, Hello, SetHalfLife, SetSource, Settings, VerdictState

SCRIPT = Path(dashboard.__file__).with_name("app.py")
HELLO = Hello("boot", CHANNEL, CARD, "fake", "demo", 2.0, 0.35, CHOICES)


@pytest.fixture(autouse=True)
def own_main(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamlit's runner puts the script in the place of ``__main__`` and leaves it there: every process that a later
    test spawns would then run the script first."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


class Engine:
    """Takes commands, and refuses them once it has gone."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.commands: list[Command] = []
        self.gone = False

    def submit(self, command: Command) -> None:
        if self.gone:
            raise GenrescopeError("the engine has gone; start genrescope again")
        self.commands.append(command)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr(page_module, "_current", [])
    engine = Engine(Board())
    set_page(Page(engine.board, TokenMint(), "/live", engine.submit))
    return engine


def show() -> AppTest:
    script = AppTest.from_file(SCRIPT, default_timeout=60).run()
    assert not script.exception
    return script


def test_a_page_whose_engine_has_not_spoken_says_that_it_waits(engine: Engine) -> None:
    assert "Waiting for the engine…" in [caption.value for caption in show().caption]


def test_the_page_shows_settings_history_and_model(engine: Engine) -> None:
    now = time.time()
    verdicts = [
        make_verdict(VerdictState.DECIDED, "jazz", labels=LABELS, channel=CHANNEL, time=now - ago, since=now - 9)
        for ago in (9, 6, 3, 0)
    ]
    engine.board.apply(HELLO, Settings("mic", 5.0, CHOICES), *verdicts)
    script = show()
    assert script.selectbox(key="source").value == "mic"
    assert script.select_slider(key="half_life").value == 5.0
    assert "the label follows within 11\N{NO-BREAK SPACE}s, on top of" in script.caption[0].value
    tables = "".join(element.proto.body for element in script.get("html"))
    assert "<td>jazz</td>" in tables
    assert "<td>now</td>" in tables
    assert f"<td>{CARD.provenance.licence}</td>" in tables


def test_moving_a_control_tells_the_engine_and_stays_until_it_answers(engine: Engine) -> None:
    engine.board.apply(HELLO)
    script = show()
    script.select_slider(key="half_life").set_value(5.0).run()
    script.selectbox(key="source").select("mic").run()
    assert engine.commands == [SetHalfLife(5.0), SetSource("mic")]
    # The engine has not answered yet: the control must not jump back.
    assert script.run().select_slider(key="half_life").value == 5.0
    engine.board.apply(Settings("mic", 5.0, CHOICES))
    assert script.run().selectbox(key="source").value == "mic"


def test_a_control_follows_another_viewers_change(engine: Engine) -> None:
    engine.board.apply(HELLO)
    script = show()
    engine.board.apply(Settings("song.mp3", 7.25, CHOICES))
    script.run()
    assert not script.exception
    assert script.select_slider(key="half_life").value == 7.25
    assert script.selectbox(key="source").value == "song.mp3"
    assert engine.commands == []


def test_a_file_that_has_ended_can_be_heard_again(engine: Engine) -> None:
    engine.board.apply(HELLO)
    assert not show().button
    engine.board.apply(Health(CHANNEL, HealthState.ENDED, 1.0, 1.0, "demo", "Demo"))
    script = show()
    script.button[0].click().run()
    assert engine.commands == [SetSource("demo")]
    engine.board.apply(Settings("-", 2.0, CHOICES))
    assert not script.run().button  # what standard input has said is gone


def test_a_command_that_cannot_be_sent_is_said(engine: Engine) -> None:
    engine.board.apply(HELLO)
    script = show()
    engine.gone = True
    script.select_slider(key="half_life").set_value(5.0).run()
    assert "the engine has gone; start genrescope again" in [error.value for error in script.error]


def test_a_script_without_an_engine_says_how_to_start_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "_current", [])
    with pytest.raises(ConfigError, match="genrescope live"):
        get_page()
