"""Radio against stations that answer anything: each answer has its sentence, and nothing hangs or leaks."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import psutil
import pytest
from audio_files import tone, write_audio
from station_server import StationServer, body, status, stream, with_titles

from models.audio import Decoder
from models.errors import SourceAddressError, SourceError
from stream import web
from stream.pace import NEAR_REAL_TIME
from stream.radio import Radio

MP3 = "audio/mpeg"


@pytest.fixture
def station() -> Iterator[StationServer]:
    with StationServer().serving() as server:
        yield server


@pytest.fixture(scope="module")
def mp3(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_audio(tmp_path_factory.mktemp("radio") / "tone.mp3", tone(2.0)).read_bytes()


def heard(radio: Radio, seconds: float) -> list[np.ndarray]:
    deadline = time.monotonic() + seconds
    chunks = []
    while time.monotonic() < deadline:
        chunk = radio.read(0.1)
        if chunk is not None:
            chunks.append(chunk.samples)
    return chunks


def read_to_the_end(radio: Radio) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        radio.read(0.5)


def test_a_stream_is_heard_with_its_titles_and_its_name(station: StationServer, mp3: bytes) -> None:
    titles = ["Mø — Ärger".encode(), "Jóga".encode("latin-1")]
    data = with_titles(mp3 * 3, 1_000, [b"", *titles])
    station.replies["/live"] = stream(data, MP3, icy_metaint="1000", icy_name="Radio \tNord\u00e9")
    radio = Radio(station.url("/live"))
    radio.open()
    assert (radio.sample_rate_hz, radio.live, radio.finite) == (44_100, True, False)
    assert radio.name == "Radio Nordé"
    assert radio.title == "Jóga"
    samples = np.concatenate(heard(radio, 0.5))
    assert np.abs(samples).max() == pytest.approx(0.5, abs=0.1)
    radio.close()
    assert station.requests[0][1]["Icy-MetaData"] == "1"


def test_a_shoutcast_1_answer_is_understood(station: StationServer, mp3: bytes) -> None:
    def reply(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"ICY 200 OK\r\nicy-name: Old\r\ncontent-type: audio/mpeg\r\n\r\n" + mp3 * 20)

    station.replies["/"] = reply
    radio = Radio(station.url(""))
    radio.open()
    assert radio.name == "Old"
    radio.close()


def test_chunked_answers_are_understood(station: StationServer, mp3: bytes) -> None:
    def reply(request: BaseHTTPRequestHandler) -> None:
        request.protocol_version = "HTTP/1.1"
        request.send_response(200)
        request.send_header("Content-Type", MP3)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        while True:
            request.wfile.write(b"%x\r\n%s\r\n" % (len(mp3), mp3))

    station.replies["/live"] = reply
    radio = Radio(station.url("/live"))
    radio.open()
    assert heard(radio, 0.3)
    radio.close()


@pytest.mark.parametrize(
    ("text", "content_type"),
    [
        ("#EXTM3U\n#EXTINF:-1,Live\n{url}\n", "audio/x-mpegurl"),
        ("\n/live\n", "audio/mpegurl"),
        ("[playlist]\nNumberOfEntries=2\nTitle1=A\nFile1=file:///etc/passwd\nFile2={url}\n", "audio/x-scpls"),
        ("{url}", "text/plain"),
    ],
)
def test_a_playlist_leads_to_its_first_http_entry(
    station: StationServer, mp3: bytes, text: str, content_type: str
) -> None:
    station.replies["/live"] = stream(mp3, MP3)
    station.replies["/list.m3u"] = body(text.format(url=station.url("/live")).encode(), content_type)
    radio = Radio(station.url("/list.m3u"))
    radio.open()
    assert heard(radio, 0.3)
    radio.close()


def test_a_playlist_whose_connection_was_shut_may_pass(station: StationServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source may be closed, and with it the connection, at any moment."""
    station.replies["/list.m3u"] = body(b"http://127.0.0.1/live", "audio/x-mpegurl")

    def shut(*_: object) -> bytes:
        raise ValueError("I/O operation on closed file.")

    monkeypatch.setattr(http.client.HTTPResponse, "read", shut)
    with pytest.raises(SourceError, match="broke off"):
        Radio(station.url("/list.m3u")).open()


def test_an_hls_playlist_is_followed(station: StationServer, tmp_path: Path) -> None:
    segment = write_audio(tmp_path / "segment.aac", tone(2.0)).read_bytes()
    names = [f"/segment{number}.aac" for number in range(4)]
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", "#EXT-X-MEDIA-SEQUENCE:0"]
    lines += [line for name in names for line in ("#EXTINF:2.0,", name)]
    station.replies |= {name: body(segment, "audio/aac") for name in names}
    station.replies["/live.m3u8"] = body("\n".join([*lines, "#EXT-X-ENDLIST"]).encode(), "application/x-mpegurl")
    radio = Radio(station.url("/live.m3u8"))
    radio.open()
    assert heard(radio, 0.3)
    radio.close()


def test_a_station_cannot_open_files(station: StationServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg recognises lists of files by their content, and would read them from the folder the program runs in."""
    secret = write_audio(tmp_path / "secret.aac", tone(2.0))
    monkeypatch.chdir(tmp_path)
    files = b"ffconcat version 1.0\nfile secret.aac\n" + b"#" * 9_000 + b"\n"
    segments = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\n{secret.as_uri()}\n#EXT-X-ENDLIST\n"
    station.replies |= {
        "/live.mp3": body(files, MP3),
        "/live.m3u8": body(segments.encode(), "application/x-mpegurl"),
        "/indirect.m3u8": body(segments.replace(secret.as_uri(), "/live.mp3").encode(), "application/x-mpegurl"),
    }
    for path in ("/live.mp3", "/live.m3u8", "/indirect.m3u8"):
        with pytest.raises(SourceError):
            Radio(station.url(path)).open()


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 451])
def test_a_refusal_is_a_wrong_address(station: StationServer, code: int) -> None:
    station.replies["/live"] = status(code)
    with pytest.raises(SourceAddressError, match=f"/live answered {code} "):
        Radio(station.url("/live")).open()


@pytest.mark.parametrize("code", [429, 500, 502, 503])
def test_a_servers_trouble_may_pass(station: StationServer, code: int) -> None:
    station.replies["/live"] = status(code)
    with pytest.raises(SourceError, match=f"answered {code} ") as caught:
        Radio(station.url("/live")).open()
    assert type(caught.value) is SourceError


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (body(b"<html></html>", "text/html; charset=utf-8"), r"a web page \(text/html\), not audio"),
        (body(b"{}", "application/json"), "application/json, not audio"),
        (body(b"nothing at all" * 1_000, MP3), "not with audio that can be decoded"),
        (body(b"# only a remark", "audio/x-mpegurl"), "expected a playlist with an http address"),
        (status(302, location="file:///etc/passwd"), "expected an http or https address, got 'file:"),
        (status(302, location="ftp://127.0.0.1/x"), "expected an http or https address"),
        (status(302, location="http://a..b/x"), "expected an http or https address"),
        (status(302, location=f"http://{'a' * 70}/"), "expected an http or https address"),
        (status(302, location="http://[::1/"), "expected an http or https address"),
        (body(b"http://[::1/", "audio/x-mpegurl"), "expected a playlist with an http address"),
        (body(b"http://a..b/x", "audio/x-mpegurl"), "expected an http or https address"),
        (status(302, location="/live"), "more than 5 redirects"),
    ],
)
def test_what_is_not_audio_is_a_wrong_address(station: StationServer, reply: object, words: str) -> None:
    station.replies["/live"] = reply
    with pytest.raises(SourceAddressError, match=words):
        Radio(station.url("/live")).open()


def test_redirects_are_followed(station: StationServer, mp3: bytes) -> None:
    station.replies |= {"/old": status(301, location="/new"), "/new": stream(mp3, MP3)}
    radio = Radio(station.url("/old"))
    radio.open()
    radio.close()


def test_a_login_is_sent_and_never_shown(station: StationServer) -> None:
    radio = Radio(station.url("/live?key=secret", login="me:s%20ecret@"))
    assert "ecret" not in radio.name
    with pytest.raises(SourceAddressError) as caught:
        radio.open()
    assert "ecret" not in str(caught.value)
    assert station.requests[0][1]["Authorization"] == "Basic bWU6cyBlY3JldA=="


@pytest.mark.parametrize(
    "url",
    ["http://", "http://127.0.0.1:x/", "http://[::1/", "http://a..b/x", f"http://{'a' * 70}.b/x", "http://a/\udcff"],
)
def test_a_malformed_address_is_a_wrong_address(url: str) -> None:
    with pytest.raises(SourceAddressError, match="expected an http or https address"):
        Radio(url).open()


def test_a_port_where_nobody_listens_may_pass() -> None:
    with socket.socket() as unheard:  # bound, not listening: refuses, and nobody else can take it
        unheard.bind(("127.0.0.1", 0))
        with pytest.raises(SourceError, match="refused") as caught:
            Radio(f"http://127.0.0.1:{unheard.getsockname()[1]}/live").open()
    assert type(caught.value) is SourceError


def test_an_answer_that_is_not_http_may_pass(station: StationServer) -> None:
    station.replies["/live"] = lambda request: request.wfile.write(b"SSH-2.0-hello\r\n") and None
    with pytest.raises(SourceError, match="no answer"):
        Radio(station.url("/live")).open()


def test_the_end_of_the_stream_is_an_error_that_may_pass(station: StationServer, mp3: bytes) -> None:
    station.replies["/live"] = stream(mp3, MP3, times=1)
    radio = Radio(station.url("/live"))
    radio.open()
    with pytest.raises(SourceError, match="the station closed the stream") as caught:
        read_to_the_end(radio)
    assert type(caught.value) is SourceError
    radio.close()


def test_a_station_that_closes_at_once_may_pass(station: StationServer) -> None:
    station.replies["/live"] = stream(b"", MP3, times=0)
    with pytest.raises(SourceError, match="closed before any audio") as caught:
        Radio(station.url("/live")).open()
    assert type(caught.value) is SourceError


def test_a_silent_line_gives_none_and_then_an_error(
    station: StationServer, mp3: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "READ_TIMEOUT_S", 1.5)
    hold = threading.Event()
    station.replies["/live"] = stream(mp3, MP3, times=1, hold=hold)
    radio = Radio(station.url("/live"))
    radio.open()
    deadline = time.monotonic() + 20
    while radio.read(0.2) is not None:
        assert time.monotonic() < deadline
    with pytest.raises(SourceError, match="sent nothing for"):
        read_to_the_end(radio)
    radio.close()
    hold.set()


def test_a_stream_that_never_sends_audio_does_not_open(station: StationServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Radio, "open_timeout_s", 1.0)
    hold = threading.Event()
    station.replies["/live"] = stream(b"", MP3, times=0, hold=hold)
    with pytest.raises(SourceError, match="no audio came within"):
        Radio(station.url("/live")).open()
    hold.set()


def test_damage_in_the_middle_is_passed_over(station: StationServer, mp3: bytes) -> None:
    middle = len(mp3) // 2
    damaged = mp3[:middle] + b"\xff\xfb" + bytes(range(256)) * 8 + mp3[middle + 700 :]
    station.replies["/live"] = stream(damaged, MP3)
    radio = Radio(station.url("/live"))
    radio.open()
    deadline = time.monotonic() + 30.0
    frames = 0
    while frames < 2.5 * 44_100:  # beyond the damage
        assert time.monotonic() < deadline
        frames += sum(map(len, heard(radio, 0.2)))
    radio.close()


def test_damage_is_counted_as_in_a_file(station: StationServer, tmp_path: Path) -> None:
    path = write_audio(tmp_path / "tone.aac", tone(3.0))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    path.write_bytes(data)
    with Decoder(path) as decoder:
        counted = [lost for _, lost in decoder if lost]
    assert counted
    station.replies["/live"] = stream(bytes(data), "audio/aac", times=1)
    radio = Radio(station.url("/live"))
    radio.open()
    lost = []
    with suppress(SourceError):  # the end
        while chunk := radio.read(10.0):
            lost.append(chunk.lost)
    radio.close()
    assert [one for one in lost if one] == counted


def test_what_was_sent_at_once_is_heard_by_the_clock(station: StationServer, mp3: bytes) -> None:
    station.replies["/live"] = stream(mp3, MP3)
    radio = Radio(station.url("/live"))
    radio.open()
    begun = time.monotonic()
    samples = sum(map(len, heard(radio, 1.0)))
    elapsed = time.monotonic() - begun
    radio.close()
    assert samples <= (elapsed * NEAR_REAL_TIME + 0.2) * 44_100


def test_an_address_that_worked_is_not_called_wrong_later(station: StationServer, mp3: bytes) -> None:
    station.replies["/live"] = stream(mp3, MP3)
    radio = Radio(station.url("/live"))
    radio.open()
    radio.close()
    station.replies["/live"] = status(404)
    with pytest.raises(SourceError, match="answered 404") as caught:
        radio.open()
    assert type(caught.value) is SourceError


def test_fifty_reopenings_leave_nothing_behind(station: StationServer, mp3: bytes) -> None:
    station.replies |= {"/live": stream(mp3, MP3), "/gone": status(404), "/cut": stream(mp3[:3_000], MP3, times=1)}
    process = psutil.Process()

    def cycle() -> None:
        radio = Radio(station.url("/live"))
        radio.open()
        assert radio.read(5.0) is not None
        radio.close()
        for path in ("/gone", "/cut"):
            radio = Radio(station.url(path))
            try:
                radio.open()
            except SourceError:
                pass
            finally:
                radio.close()

    def settled() -> tuple[int, int]:
        """Open files and source threads of ours, once the server's side has noticed."""
        best = (10**6, 10**6)
        for _ in range(100):
            ours = sum(thread.name.startswith("source ") for thread in threading.enumerate())
            best = min(best, (process.num_fds(), ours))
            time.sleep(0.02)
        return best

    cycle()
    before = settled()
    for _ in range(50):
        cycle()
    after = settled()
    assert after[0] <= before[0]
    assert after[1] == 0
