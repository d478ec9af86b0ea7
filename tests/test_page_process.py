"""The page's process: it answers, survives Ctrl-C, is started again when killed, and ends with its engine."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from multiprocessing.context import SpawnProcess

import pytest
from daemons import wait_until
from fake_engine import CARD, CHANNEL
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from dashboard import page_process
from dashboard.page_process import PageProcess
from models.errors import ConfigError, GenrescopeError
from stream.events import Hello
from stream.page_link import PageLink


@pytest.fixture
def page() -> Iterator[PageProcess]:
    link = PageLink()
    link.publish(Hello("boot", CHANNEL, CARD, "fake", "demo", 2.0, 0.35))
    page = PageProcess(link, on_command=print, port=0)
    page.start()
    yield page
    page.stop()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/_stcore/health", timeout=20) as response:
            return bool(response.read() == b"ok")
    except (urllib.error.URLError, ConnectionError):
        return False


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_answers_survives_ctrl_c_comes_back_when_killed_and_stops(
    page: PageProcess, capfd: pytest.CaptureFixture[str]
) -> None:
    url = page.wait_ready(60)
    assert answers(url)
    first = page.pid
    assert first is not None

    if sys.platform != "win32":
        os.kill(first, signal.SIGINT)  # what Ctrl-C in the terminal sends to every process of the group
        assert answers(url)
        assert page.pid == first

    os.kill(first, signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
    deadline = time.monotonic() + 60
    while page.pid == first:
        assert time.monotonic() < deadline, "the page was not started again"
        time.sleep(0.05)
    assert page.wait_ready(60) == url
    assert answers(url)

    second = page.pid
    assert second is not None
    page.stop()
    page.stop()
    assert not alive(second)
    assert not answers(url)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("page-")]
    # Neither a banner, nor a URL of Streamlit's, nor a traceback: the terminal belongs to the engine.
    out, err = capfd.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert "http" not in err


@pytest.mark.parametrize("path", ["live", "_stcore/stream"])
def test_no_other_page_of_this_machine_reaches_its_sockets(page: PageProcess, path: str) -> None:
    address = f"{page.wait_ready(60).replace('http', 'ws')}/{path}"
    with connect(address, additional_headers={"Origin": page.url}, proxy=None):
        pass
    with pytest.raises(InvalidStatus) as refused:
        connect(address, additional_headers={"Origin": "http://127.0.0.1:1"}, proxy=None)
    assert refused.value.response.status_code == 403


def test_no_foreign_name_reaches_the_page(page: PageProcess) -> None:
    request = urllib.request.Request(page.wait_ready(60), headers={"Host": "rebound.example"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=20)


def test_it_ends_when_its_engine_hangs_up(page: PageProcess) -> None:
    page.wait_ready(60)
    pid = page.pid
    page._link.close()
    deadline = time.monotonic() + 30
    while page.pid == pid:
        assert time.monotonic() < deadline, "the page outlived its link"
        time.sleep(0.05)


def test_a_taken_port_is_named_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        page = PageProcess(PageLink(), on_command=print, port=port)
        with pytest.raises(ConfigError, match=rf"port {port}: .*in use.*--port"):
            page.start()
        page.stop()


def test_an_impossible_port_is_refused() -> None:
    page = PageProcess(PageLink(), on_command=print, port=70_000)
    with pytest.raises(ConfigError, match="cannot serve the page on"):
        page.start()


def test_waiting_for_a_page_that_does_not_come_has_an_end() -> None:
    page = PageProcess(PageLink(), on_command=print)
    with pytest.raises(GenrescopeError, match="did not answer within"):
        page.wait_ready(0.05)


def test_a_page_that_hangs_is_ended_and_started_again(page: PageProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    url = page.wait_ready(60)
    monkeypatch.setattr(page_process, "HUNG_S", 8.0)
    first = page.pid
    assert first is not None
    os.kill(first, signal.SIGSTOP)
    wait_until(lambda: page.pid != first, "a second page", 60)
    assert not alive(first)
    assert page.wait_ready(60) == url
    assert answers(url)


def test_a_machine_that_cannot_start_a_process_is_tried_again(
    page: PageProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    page.wait_ready(60)
    first = page.pid
    assert first is not None
    start = SpawnProcess.start
    refused = []

    def refuse_once(process: SpawnProcess) -> None:
        if not refused:
            refused.append(process)
            raise OSError(errno.EMFILE, "Too many open files")
        start(process)

    monkeypatch.setattr(SpawnProcess, "start", refuse_once)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: page.pid != first, "a second page", 60)
    assert answers(page.wait_ready(60))
    assert "could not be started ([Errno 24] Too many open files)" in caplog.text


@pytest.mark.parametrize("after_s", [0.0, 0.3, 1.0, 2.0])
def test_it_may_be_stopped_while_it_starts(capfd: pytest.CaptureFixture[str], after_s: float) -> None:
    page = PageProcess(PageLink(), on_command=print, port=0)
    page.start()
    time.sleep(after_s)
    page.stop()
    assert page.pid is None or not alive(page.pid)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_an_engine_that_has_gone_before_the_page_answers_is_no_error() -> None:
    ours, theirs = multiprocessing.Pipe()
    ours.close()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        child = multiprocessing.get_context("spawn").Process(
            target=page_process._run_page, args=(theirs, listener), kwargs={"port": listener.getsockname()[1]}
        )
        child.start()
        theirs.close()
        child.join(60)
    assert child.exitcode == 0
