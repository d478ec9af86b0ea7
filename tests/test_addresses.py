"""What a user types, and what it opens."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from audio_files import tone, write_audio

from models.errors import ConfigError, SourceAddressError, SourceError
from stream import addresses
from stream.addresses import check_source, open_source
from stream.demo import Demo
from stream.devices import InputDevice
from stream.file import AudioFile
from stream.microphone import Microphone
from stream.pace import MAX_SPEED
from stream.radio import Radio
from stream.source import Source
from stream.standard_input import Pipe, StandardInput


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("mic", Microphone),
        ("mic:USB Audio: - (hw:1,0)", Microphone),
        ("demo", Demo),
        ("-", StandardInput),
        ("http://127.0.0.1:8000/live.mp3", Radio),
        ("HTTPS://radio.example/live", Radio),
    ],
)
def test_an_address_opens_its_kind_of_source(address: str, kind: type[Source]) -> None:
    source = open_source(address)
    assert type(source) is kind
    assert source.address == address
    assert source.live


def test_a_path_opens_a_file_even_with_a_colon_in_it(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "song: live.wav", tone(0.2))
    source = open_source(str(path))
    assert type(source) is AudioFile
    assert source.address == str(path)


def test_the_home_folder_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write_audio(tmp_path / "song.wav", tone(0.2))
    check_source(open_source("~/song.wav"))


@pytest.mark.parametrize("address", ["demo", "-", "FILE"])
def test_at_most_speed_it_is_not_live(address: str, tmp_path: Path) -> None:
    if address == "FILE":
        address = str(write_audio(tmp_path / "song.wav", tone(0.2)))
    assert not open_source(address, speed=MAX_SPEED).live


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("", "expected 'mic', 'mic:NAME', a file, an http or https address, '-'"),
        ("mic:", "expected 'mic'"),
        ("file:///etc/passwd", "expected 'mic'.* got 'file:///etc/passwd'"),
        ("ftp://127.0.0.1/x.mp3", "expected 'mic'"),
        ("rtsp://127.0.0.1/x", "expected 'mic'"),
        ("concat:a.mp3|b.mp3", "expected 'mic'"),
        ("no-such-file.mp3", "no-such-file.mp3: no such file; a source is 'mic'"),
        ("http://", "expected an http or https address"),
    ],
)
def test_anything_else_is_refused_with_what_is_possible(address: str, words: str) -> None:
    with pytest.raises(SourceAddressError, match=words):
        open_source(address)


def test_folders_and_empty_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    with pytest.raises(SourceAddressError, match="this file is empty"):
        open_source(str(tmp_path / "empty.wav"))
    with pytest.raises(SourceAddressError, match="this is a folder"):
        open_source(str(tmp_path))


def test_settings_of_standard_input_are_checked() -> None:
    with pytest.raises(ConfigError, match="got 1000"):
        open_source("-", pcm_rate_hz=1_000)


def test_a_check_finds_text_that_is_called_audio(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp3"
    path.write_text("no music in here\n" * 500)
    with pytest.raises(SourceAddressError, match="expected"):
        check_source(open_source(str(path)))


def test_a_check_leaves_the_source_closed(tmp_path: Path) -> None:
    source = open_source(str(write_audio(tmp_path / "song.wav", tone(0.2))))
    check_source(source)
    with pytest.raises(SourceError, match="before it was opened"):
        source.read(0.0)


def test_a_check_looks_a_microphone_up(monkeypatch: pytest.MonkeyPatch) -> None:
    there = InputDevice("Line-In", "ALSA", channels=2, sample_rate_hz=44_100, is_default=True, index=0)
    monkeypatch.setattr(addresses, "list_devices", lambda: (there,))
    check_source(Microphone("line"))
    check_source(Microphone())
    with pytest.raises(SourceAddressError, match=r"no input is called 'usb' \(there are: 'Line-In, ALSA'\)"):
        check_source(Microphone("usb"))


def test_a_check_of_standard_input_takes_nothing_from_it() -> None:
    reading, writing = os.pipe()
    source = StandardInput(sample_rate_hz=44_100, channels=1, pipe=Pipe(reading))
    check_source(source)  # nothing there yet
    os.write(writing, b"\x01\0\x02")
    check_source(source)
    os.write(writing, b"\0\x03\0")
    check_source(source)
    os.close(writing)
    source.open()
    heard: list[float] = []
    while len(heard) < 3:
        chunk = source.read(5.0)
        assert chunk is not None
        heard += (chunk.samples[:, 0] * 32_768).tolist()
    source.close()
    os.close(reading)
    assert heard == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"RIFF\0\0\0\0WAVE", "carries a WAV file"),
        (b"", "it was empty"),
        (np.random.default_rng(0).bytes(4_096), "expected f32le samples within"),
    ],
    ids=["file", "empty", "random"],
)
def test_a_check_finds_what_is_wrong_with_standard_input(content: bytes, words: str) -> None:
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    with pytest.raises(SourceAddressError, match=words):
        check_source(StandardInput(sample_rate_hz=44_100, channels=1, sample_format="f32le", pipe=Pipe(reading)))
    os.close(reading)
