"""The live socket and the board behind it: who may connect, what a viewer is sent, and that nothing grows."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import uvicorn
from daemons import wait_until
from fake_engine import CARD, CHANNEL, CHOICES, LABELS
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from verdicts import make_verdict
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from dashboard import live_socket, wire
from dashboard.board import MESSAGES_KEPT, RESTART_MARK, Board, Cursor
from dashboard.live_socket import BAD_GREETING, TOKEN_REFUSED, TOO_MANY_VIEWERS, LiveSocket
from dashboard.same_site import SameSite
from dashboard.serve import NAMES
from dashboard.viewer_connection import ViewerConnection
from dashboard.viewer_token import LIFETIME_S, TokenMint
from stream.events import Frames, Health, HealthState, Hello, Settings, Verdict, VerdictState
from stream.page_link import FRAMES_KEPT_S

HOP = CARD.clock.hop_samples
STEP_S = CARD.clock.seconds_per_frame
HELLO = Hello("boot", CHANNEL, CARD, "fake", "demo", 2.0, 0.35, CHOICES)
CAPACITY = int(FRAMES_KEPT_S / STEP_S) + 1


def frames(index: int, *, count: int = 1, level: float = -3.0, late_s: float = 0.0) -> Frames:
    """``count`` frames from number ``index`` on, captured ``late_s`` later than their number says."""
    values = np.full((count, CARD.clock.bands), level, np.float32)
    return Frames(CHANNEL, index * HOP, (index + count) * STEP_S + late_s, values)


def verdict(at: float, label: str | None = "jazz", *, channel: str = CHANNEL) -> Verdict:
    some = np.full(len(LABELS), 0.1, np.float32)
    state = VerdictState.DECIDED if label else VerdictState.SILENCE
    return make_verdict(
        state, label, labels=LABELS, channel=channel, sample=int(at * 100), time=at, raw=some, smoothed=some
    )


def health(**changes: Any) -> Health:
    return Health(CHANNEL, HealthState.LIVE, 0.0, 1.0, "demo", "Demo", **changes)


class Viewer:
    """One open connection of a site."""

    def __init__(self, connection: ClientConnection, mint: TokenMint) -> None:
        self._connection = connection
        self._mint = mint

    def greet(self, **greeting: Any) -> None:
        self.send({"token": self._mint.issue(), **greeting})

    def send(self, message: dict[str, Any] | str | bytes) -> None:
        self._connection.send(json.dumps(message) if isinstance(message, dict) else message)

    def bytes(self) -> bytes:
        message = self._connection.recv(timeout=20)
        assert isinstance(message, bytes), message
        return message

    def json(self) -> dict[str, Any]:
        message = self._connection.recv(timeout=20)
        assert isinstance(message, str)
        parsed: dict[str, Any] = json.loads(message)
        return parsed

    def close_code(self) -> int:
        with pytest.raises(ConnectionClosed) as closed:
            self._connection.recv(timeout=20)
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code


class Site:
    """A real server with the socket on it, and a mint for tokens."""

    def __init__(self) -> None:
        self.board = Board()
        self.board.apply(HELLO)
        self.mint = TokenMint()
        self.live = LiveSocket(self.board, self.mint)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        app = SameSite(Starlette(routes=[WebSocketRoute("/live", self.live.endpoint)]), hosts=NAMES)
        self._server = uvicorn.Server(
            uvicorn.Config(app, ws=ViewerConnection, log_level="error", timeout_graceful_shutdown=1)
        )
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    @contextmanager
    def connect(
        self, *, origin: str | None = None, host: str | None = None, receive_buffer: int | None = None
    ) -> Iterator[Viewer]:
        # The connection goes to this machine, whatever name the request gives it.
        line = socket.socket()
        if receive_buffer is not None:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        line.connect(("127.0.0.1", self.port))
        with connect(
            f"ws://{host or f'127.0.0.1:{self.port}'}/live",
            sock=line,
            additional_headers={"Origin": origin} if origin else None,
            open_timeout=20,
            close_timeout=2,
            compression=None,
            proxy=None,
        ) as connection:
            yield Viewer(connection, self.mint)

    def publish(self, *events: Any) -> None:
        self.board.apply(*events)
        self.live.wake()

    def wait_for_viewers(self, count: int) -> None:
        wait_until(lambda: self.live.viewers == count, f"{count} viewers")

    def wait_for_connections(self, count: int) -> None:
        wait_until(lambda: len(self._server.server_state.connections) == count, f"{count} connections")


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.stop()


def columns(message: bytes) -> tuple[int, npt.NDArray[np.uint8]]:
    """Index of the first column, and the columns."""
    kind, count, first, _ = wire.COLUMNS_HEADER.unpack_from(message)
    assert kind == wire.COLUMNS_KIND
    levels = np.frombuffer(message, np.uint8, offset=wire.COLUMNS_HEADER.size)
    return int(first), levels.reshape(count, CARD.clock.bands)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "null"},
        {"origin": "http://["},
        {"host": "rebound.example:8501", "origin": "http://rebound.example:8501"},
    ],
)
def test_a_page_of_another_site_is_refused(site: Site, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidStatus) as refused, site.connect(**headers):
        pass
    assert refused.value.response.status_code == 403
    assert site.live.viewers == 0


@pytest.mark.parametrize("origin", [None, "http://127.0.0.1:PORT"])
def test_the_page_itself_and_programs_may_connect(site: Site, origin: str | None) -> None:
    with site.connect(origin=origin and origin.replace("PORT", str(site.port))) as viewer:
        viewer.greet()
        assert viewer.json()["type"] == "hello"


@pytest.mark.parametrize(
    ("greeting", "code"),
    [
        ("not JSON", TOKEN_REFUSED),
        ("[1, 2]", TOKEN_REFUSED),
        ("{}", TOKEN_REFUSED),
        ('{"token": 5}', TOKEN_REFUSED),
        ('{"token": "1.2"}', TOKEN_REFUSED),
        (r'{"token": "1.\ud800"}', TOKEN_REFUSED),
        (b'{"token": "VALID"}', TOKEN_REFUSED),
        ("[" * 200_000, TOKEN_REFUSED),
        ("1" * 10_000, TOKEN_REFUSED),
        ('{"token": "VALID", "column": "x"}', BAD_GREETING),
    ],
)
def test_a_bad_greeting_is_refused_with_a_code_that_says_why(
    site: Site, capfd: pytest.CaptureFixture[str], greeting: str | bytes, code: int
) -> None:
    with site.connect() as viewer:
        viewer.send(greeting.replace("VALID", site.mint.issue()) if isinstance(greeting, str) else greeting)
        assert viewer.close_code() == code
    assert site.live.viewers == 0
    assert capfd.readouterr().err == ""


def test_tokens_expire_and_cannot_be_made_elsewhere() -> None:
    mint = TokenMint()
    token = mint.issue(now=1000.0)
    assert mint.verify(token, now=1000.0)
    assert mint.verify(token, now=1000.0 + LIFETIME_S - 1)
    assert not mint.verify(token, now=1000.0 + LIFETIME_S)
    assert not TokenMint().verify(token, now=1000.0)
    expiry, _, signature = token.partition(".")
    assert not mint.verify(f"{int(expiry) + 1}.{signature}", now=1000.0)


@given(st.text(st.characters()))
def test_no_text_is_a_token(text: str) -> None:
    assert not TokenMint().verify(text)


def test_a_viewer_gets_the_picture_and_then_what_is_new(site: Site) -> None:
    site.publish(Settings("mic", 5.0, CHOICES), health(level_dbfs=-np.inf), frames(0, count=3), verdict(1.0))
    with site.connect() as viewer:
        viewer.greet()
        picture = viewer.json()
        assert picture["boot"] == site.board.boot
        assert picture["labels"] == list(LABELS)
        assert picture["settings"] == {"type": "settings", "source": "mic", "half_life_s": 5.0, "refused": ""}
        assert picture["health"]["level_dbfs"] is None
        assert picture["verdict"]["label"] == "jazz"
        assert picture["strip"]["points"] == [[1.0, "decided", "jazz", 0.8, None]]
        first, levels = columns(viewer.bytes())
        assert (first, len(levels)) == (0, 3)

        site.publish(verdict(2.0, None))
        assert viewer.json()["state"] == "silence"
        site.publish(Settings("mic", 5.0, CHOICES, "no such source"))
        assert viewer.json()["refused"] == "no such source"
        site.publish(frames(3))
        assert columns(viewer.bytes())[0] == 3
    site.wait_for_viewers(0)


def test_a_viewer_that_comes_back_gets_only_what_it_missed_and_one_of_an_old_boot_everything(site: Site) -> None:
    site.publish(frames(0, count=5), verdict(1.0), verdict(2.0))
    seen = {"boot": site.board.boot, "column": 4, "message": 1}
    with site.connect() as viewer:
        viewer.greet(**seen)
        assert viewer.json()["time"] == 2.0
        assert columns(viewer.bytes())[0] == 4
    with site.connect() as viewer:
        viewer.greet(**{**seen, "boot": "another"})
        assert viewer.json()["type"] == "hello"
        assert columns(viewer.bytes())[0] == 0


def test_a_new_engine_is_announced_on_an_open_socket(site: Site) -> None:
    with site.connect() as viewer:
        viewer.greet()
        before = viewer.json()["boot"]
        site.publish(Hello("second", CHANNEL, CARD, "fake", "demo", 2.0, 0.35))
        after = viewer.json()
        assert after["type"] == "hello"
        assert after["boot"] != before


def test_a_ping_is_answered_with_the_servers_clock(site: Site) -> None:
    with site.connect() as viewer:
        viewer.greet()
        viewer.json()
        before = time.time() * 1000
        for nonsense in (
            "nonsense",
            b"{}",
            '{"ping": 1e400}',
            '{"ping": NaN}',
            f'{{"ping": {10**400}}}',
            "[" * 200_000,
        ):
            viewer.send(nonsense)
        viewer.send({"ping": 12345.5})
        pong = viewer.json()
    assert pong["at"] == 12345.5
    assert before <= pong["now"] <= time.time() * 1000


def test_a_fresh_token_comes_before_the_old_one_expires(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_socket, "LIFETIME_S", 0.1)
    with site.connect() as viewer:
        viewer.greet()
        viewer.json()
        renewed = viewer.json()
    assert renewed["type"] == "token"
    assert site.mint.verify(renewed["token"])


def test_no_more_viewers_than_can_be_served(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_socket, "MAX_VIEWERS", 1)
    with site.connect() as first:
        first.greet()
        first.json()
        with site.connect() as second:
            second.greet()
            assert second.close_code() == TOO_MANY_VIEWERS


def test_a_viewer_that_never_reads_is_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_socket, "SEND_TIMEOUT_S", 0.3)
    with site.connect(receive_buffer=4096) as viewer:
        viewer.greet()
        viewer.json()
        index = 0
        while site.live.viewers:
            site.publish(frames(index, count=1000))
            index += 1000
            time.sleep(0.01)
        # Not only forgotten: nothing waits for it any more.
        site.wait_for_connections(0)


def test_a_verdict_that_cannot_be_said_is_not_remembered() -> None:
    board = Board()
    board.apply(HELLO)
    nan = np.full(len(LABELS), np.nan, np.float32)
    unsayable = make_verdict(VerdictState.DECIDED, "jazz", labels=LABELS, channel=CHANNEL, raw=nan)
    with pytest.raises(ValueError, match="JSON"):
        board.apply(unsayable)
    board.apply(verdict(2.0))
    picture, *_ = board.since(Cursor())[0]
    assert json.loads(picture)["strip"]["points"] == [[2.0, "decided", "jazz", 0.8, None]]


@given(st.lists(st.tuples(st.integers(1, 700), st.booleans()), max_size=30))
def test_every_viewer_sees_each_column_once_and_in_order(steps: list[tuple[int, bool]]) -> None:
    board, cursor, index = Board(), Cursor(), 0
    board.apply(HELLO)
    seen = 0
    for count, looks in steps:
        board.apply(frames(index, count=count))
        index += count
        if looks:
            out, cursor = board.since(cursor)
            first, levels = columns(next(part for part in out if isinstance(part, bytes)))
            assert first == max(seen, index - CAPACITY)
            assert first + len(levels) == index
            seen = index
    assert board.since(board.since(cursor)[1])[0] == []


def test_a_viewer_that_fell_behind_gets_the_picture_again() -> None:
    board = Board()
    board.apply(HELLO)
    _, cursor = board.since(Cursor())
    board.apply(*[verdict(float(second)) for second in range(MESSAGES_KEPT + 1)])
    out, cursor = board.since(cursor)
    assert [json.loads(part)["type"] for part in out] == ["hello"]
    assert board.since(cursor)[0] == []


def test_the_board_stays_within_its_bounds_and_to_its_channel() -> None:
    board = Board()
    board.apply(frames(0), HELLO)
    assert board.since(Cursor())[0][1:] == []  # before the greeting nothing counts
    for second in range(2000):
        board.apply(verdict(float(second)), verdict(float(second), "rock", channel="other"))
    board.apply(*[frames(index * 50, count=50) for index in range(100)])
    moments = board.moments()
    assert len(moments) == 601
    assert {moment.label for moment in moments} == {"jazz"}
    out, _ = board.since(Cursor())
    assert [columns(part)[1].shape for part in out if isinstance(part, bytes)] == [(CAPACITY, CARD.clock.bands)]


def test_a_clock_that_is_set_back_takes_back_what_is_later() -> None:
    board = Board()
    board.apply(HELLO, *[verdict(float(second)) for second in (1, 2, 3000, 3001, 2.5, 4)])
    assert [moment.time for moment in board.moments()] == [2.5, 4.0]


@pytest.mark.parametrize(
    ("after", "blank"),
    [
        (frames(10), 0),
        (frames(14), 4),
        (frames(10, late_s=0.5), 0),  # late, but whole: the clock may jitter
        (frames(10, late_s=100 * STEP_S), 100),
        (frames(2), RESTART_MARK),  # the count started again
        (frames(10**9), CAPACITY),
    ],
)
def test_what_was_not_heard_is_left_blank(after: Frames, blank: int) -> None:
    board = Board()
    board.apply(HELLO, frames(0, count=10), after)
    out, _ = board.since(Cursor(board.boot, column=10))
    _, levels = columns(next(part for part in out if isinstance(part, bytes)))
    shown = levels[-(blank + 1) :]
    assert not shown[:-1].any()
    assert shown[-1].all()
    assert len(shown) == min(blank + 1, CAPACITY)


@given(st.floats(-12, 8))
def test_levels_are_kept_to_half_a_step(value: float) -> None:
    level = int(wire.quantise(np.array([value]))[0])
    assert 1 <= level <= 255
    db = wire.LOW_DB + (level - 1) * wire.STEP_DB
    highest = wire.LOW_DB + 254 * wire.STEP_DB
    assert abs(db - np.clip(10 * value, wire.LOW_DB, highest)) <= wire.STEP_DB / 2 + 1e-9
