"""Radio against a real icecast fed by ffmpeg: every format is heard, and whatever the station does is survived."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from audio_files import noise, tone, write_audio
from daemons import Icecast, wait_until

from models.errors import SourceAddressError, SourceError
from stream.radio import Radio
from stream.source import Chunk

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    return write_audio(tmp_path / "tone.wav", tone(8.0, hz=1_000.0))


def listen(radio: Radio, seconds: float) -> list[Chunk]:
    deadline = time.monotonic() + seconds
    chunks = []
    while time.monotonic() < deadline:
        chunk = radio.read(0.2)
        if chunk is not None:
            chunks.append(chunk)
    return chunks


def loudest_hz(chunks: list[Chunk], rate_hz: int) -> float:
    mono = np.concatenate([chunk.samples.mean(axis=1) for chunk in chunks])
    spectrum = np.abs(np.fft.rfft(mono * np.hanning(len(mono))))
    return float(np.argmax(spectrum) * rate_hz / len(mono))


def fails(action: Callable[[], object]) -> bool:
    """Whether the action ends in an error that may pass."""
    try:
        action()
    except SourceAddressError:
        raise
    except SourceError:
        return True
    return False


@pytest.mark.parametrize("kind", ["mp3", "ogg", "opus", "aac"])
def test_every_format_is_heard_at_the_pace_of_the_clock(icecast: Icecast, wav: Path, kind: str) -> None:
    radio = Radio(icecast.feed(wav, kind))
    radio.open()
    begun = time.monotonic()
    assert radio.sample_rate_hz == (48_000 if kind == "opus" else 44_100)
    chunks = listen(radio, 3.0)
    elapsed = time.monotonic() - begun
    radio.close()
    assert abs(loudest_hz(chunks, radio.sample_rate_hz) - 1_000.0) < 2.0
    # Not the seconds that the server sent at once on connecting.
    assert sum(len(chunk.samples) for chunk in chunks) / radio.sample_rate_hz < elapsed + 1.0


def test_a_latin_1_title_is_read(icecast: Icecast, wav: Path) -> None:
    radio = Radio(icecast.feed(wav))
    radio.open()
    for title in ("Björk - Jóga", "Sigur Rós - Ára bátur"):
        icecast.set_title("live.mp3", title.encode("latin-1"))
        wait_until(lambda title=title: listen(radio, 0.2) and radio.title == title, f"title {title}")
    radio.close()


def test_a_killed_station_is_an_error_and_a_restarted_one_is_heard_again(icecast: Icecast, wav: Path) -> None:
    radio = Radio(icecast.feed(wav))
    radio.open()
    icecast.kill()
    icecast.end_helpers()
    wait_until(lambda: fails(lambda: listen(radio, 1.0)), "error after the kill", timeout_s=40)
    radio.close()
    assert fails(radio.open)  # refused
    icecast.start()
    assert fails(radio.open)  # 404 until it is fed: it was there before, so the address is not wrong
    icecast.feed(wav)
    radio.open()
    assert listen(radio, 1.0)
    radio.close()


def test_a_stopped_station_gives_nothing_then_fails_and_is_heard_again(icecast: Icecast, wav: Path) -> None:
    radio = Radio(icecast.feed(wav))
    radio.open()
    icecast.pause()
    wait_until(lambda: radio.read(1.0) is None, "silence of a stopped server")
    radio.interrupt()
    assert radio.read(30.0) is None
    wait_until(lambda: fails(lambda: listen(radio, 1.0)), "error after a long silence", timeout_s=40)
    radio.close()
    icecast.resume()
    radio.open()
    assert listen(radio, 1.0)
    icecast.pause()
    closing = threading.Thread(target=radio.close, daemon=True)
    closing.start()
    closing.join(30.0)
    assert not closing.is_alive()


def test_an_unknown_mount_is_a_wrong_address(icecast: Icecast) -> None:
    with pytest.raises(SourceAddressError, match="answered 404"):
        Radio(icecast.url("nothing.mp3")).open()


def test_a_web_page_is_a_wrong_address(icecast: Icecast) -> None:
    with pytest.raises(SourceAddressError, match="not audio: pass the stream's own address"):
        Radio(icecast.url("status.xsl")).open()


def test_the_stations_own_playlist_leads_to_it(icecast: Icecast, wav: Path) -> None:
    radio = Radio(icecast.feed(wav) + ".m3u")
    radio.open()
    assert listen(radio, 1.0)
    radio.close()


def test_damage_in_the_middle_of_the_audio_is_passed_over(icecast: Icecast, tmp_path: Path) -> None:
    """The source is killed in mid-frame and fed again on the same mount, as stations do."""
    loop = write_audio(tmp_path / "noise.wav", noise(8.0))
    radio = Radio(icecast.feed(loop))
    radio.open()
    assert listen(radio, 1.0)
    icecast.end_helpers()
    wait_until(lambda: fails(lambda: listen(radio, 1.0)), "error after the source went", timeout_s=40)
    icecast.feed(loop)
    radio.open()
    assert listen(radio, 1.0)
    radio.close()
