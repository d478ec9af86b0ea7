"""A file as a source: all of it, at the asked pace, and one clear sentence where it is not audio."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
from audio_files import CODECS, RATE_HZ, noise, tone, write_audio

from models.errors import SourceAddressError, SourceError
from stream.file import AudioFile
from stream.pace import MAX_SPEED
from stream.source import Chunk, EndOfAudio


def read_all(source: AudioFile) -> list[Chunk]:
    chunks = []
    while True:
        try:
            chunk = source.read(10.0)
        except EndOfAudio:
            return chunks
        assert chunk is not None
        chunks.append(chunk)


def samples_of(path: Path, speed: float = MAX_SPEED) -> np.ndarray:
    source = AudioFile(path, speed=speed)
    source.open()
    chunks = read_all(source)
    source.close()
    return np.concatenate([chunk.samples for chunk in chunks])


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
@pytest.mark.parametrize("speed", [MAX_SPEED, 20.0])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_sample_arrives(tmp_path: Path, suffix: str, speed: float, channels: int) -> None:
    samples = noise(1.3, channels=channels)
    path = write_audio(tmp_path / f"noise{suffix}", samples)
    assert np.array_equal(samples_of(path, speed), samples)


@pytest.mark.parametrize("suffix", sorted(CODECS))
def test_every_format_is_decoded(tmp_path: Path, suffix: str) -> None:
    rate_hz = 48_000 if suffix == ".opus" else 44_100
    path = write_audio(tmp_path / f"tone{suffix}", tone(1.0, rate_hz=rate_hz), rate_hz=rate_hz)
    source = AudioFile(path, speed=MAX_SPEED)
    source.open()
    chunks = read_all(source)
    source.close()
    assert not any(chunk.lost for chunk in chunks)
    samples = np.concatenate([chunk.samples for chunk in chunks])
    assert len(samples) == pytest.approx(rate_hz, abs=3_000)
    assert np.abs(samples).max() == pytest.approx(0.5, abs=0.1)


def test_in_real_time_chunks_are_10_ms_and_come_by_the_clock(tmp_path: Path) -> None:
    source = AudioFile(write_audio(tmp_path / "noise.mp3", noise(1.0)))
    assert source.live
    source.open()
    begun = time.monotonic()
    chunks = read_all(source)
    assert time.monotonic() - begun >= 0.9
    assert {len(chunk.samples) for chunk in chunks[:-1]} == {441}
    scheduled = np.diff([chunk.captured_at for chunk in chunks[:-1]])
    assert np.allclose(scheduled, 0.01, atol=1e-6)
    source.close()


def test_as_fast_as_possible_is_not_live_and_loses_nothing_to_a_slow_reader(tmp_path: Path) -> None:
    samples = noise(4.0)
    source = AudioFile(write_audio(tmp_path / "noise.wav", samples), speed=MAX_SPEED)
    assert not source.live
    assert source.finite
    source.open()
    time.sleep(0.2)
    assert np.array_equal(np.concatenate([chunk.samples for chunk in read_all(source)]), samples)
    source.close()


def test_opened_again_it_begins_again(tmp_path: Path) -> None:
    samples = noise(1.0)
    source = AudioFile(write_audio(tmp_path / "noise.wav", samples), speed=MAX_SPEED)
    for _ in range(2):
        source.open()
        first = source.read(5.0)
        assert first is not None
        assert np.array_equal(first.samples, samples[: len(first.samples)])
        source.close()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file"),
        (b"", "this file is empty"),
        (b"These are not the droids you are looking for.\n" * 200, "expected an audio file|has no audio stream"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "expected an audio file|expected audio"),
        (os.urandom(5_000), "expected an audio file|expected audio|no audio stream"),
    ],
    ids=["missing", "empty", "text", "header only", "random"],
)
def test_what_is_not_audio_is_a_wrong_address(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "song.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceAddressError, match=words) as caught:
        AudioFile(path).open()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["2001: A Space Odyssey.wav", "concat:a.wav", "http:a.wav", "%03d #1?.wav"])
def test_a_name_is_never_taken_for_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    samples = noise(0.2)
    write_audio(tmp_path / "a.wav", samples).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(samples_of(Path(name)), samples)


@pytest.mark.parametrize(
    "content",
    [
        "ffconcat version 1.0\nfile other.aac\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\nother.aac\n#EXT-X-ENDLIST\n",
    ],
    ids=["ffconcat", "HLS"],
)
@pytest.mark.parametrize("name", ["song.mp3", "song.m3u8"])
def test_a_file_cannot_open_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str) -> None:
    write_audio(tmp_path / "other.aac", tone(2.0))
    (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceAddressError, match="expected"):
        AudioFile(name).open()


def test_a_folder_is_a_wrong_address(tmp_path: Path) -> None:
    with pytest.raises(SourceAddressError, match="this is a folder"):
        AudioFile(tmp_path).open()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes with a path")
def test_a_pipe_is_a_wrong_address_and_keeps_what_it_carries(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(SourceAddressError, match="expected a regular file, this is a pipe: use - for raw samples"):
        AudioFile(path).open()  # nobody writes to it: who opened it would wait for ever
    pipe = os.open(path, os.O_RDWR)
    os.write(pipe, b"RIFF")
    with pytest.raises(SourceAddressError, match="this is a pipe"):
        AudioFile(path).open()
    assert os.read(pipe, 8) == b"RIFF"
    os.close(pipe)
    with pytest.raises(SourceAddressError, match="this is a device"):
        AudioFile("/dev/zero").open()


def test_a_silent_film_is_a_wrong_address(tmp_path: Path) -> None:
    screen, frame = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff", b",\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"
    path = tmp_path / "film.gif"
    path.write_bytes(screen + frame)
    with pytest.raises(SourceAddressError, match="has no audio stream"):
        AudioFile(path).open()


def test_an_unreadable_file_is_a_wrong_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_audio(tmp_path / "tone.wav", tone(0.1))

    def forbidden(*_: object) -> None:  # chmod would not do: root may read everything
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbidden)
    with pytest.raises(SourceAddressError, match=r"cannot be read \(Permission denied\)"):
        AudioFile(path).open()


@pytest.mark.parametrize("suffix", [".m4a", ".opus"])
def test_damage_is_passed_over_and_counted(tmp_path: Path, suffix: str) -> None:
    rate_hz = 48_000 if suffix == ".opus" else 44_100
    path = write_audio(tmp_path / f"tone{suffix}", tone(4.0, rate_hz=rate_hz), rate_hz=rate_hz)
    whole = samples_of(path)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(data)
    source = AudioFile(path, speed=MAX_SPEED)
    source.open()
    chunks = read_all(source)
    source.close()
    lost = [chunk.lost for chunk in chunks if chunk.lost]
    assert len(lost) == 1
    assert 0 < lost[0] <= rate_hz
    assert sum(len(chunk.samples) for chunk in chunks) + lost[0] == len(whole)


def test_vorbis_blocks_of_changing_size_are_no_damage(tmp_path: Path) -> None:
    # Clicks make the encoder change between its block sizes; FFmpeg's own encoder knows one size only.
    random = np.random.default_rng(0)
    samples = np.zeros(8 * RATE_HZ, dtype=np.float32)
    for start in range(0, len(samples), RATE_HZ // 4):
        samples[start : start + 400] = random.uniform(-0.9, 0.9, 400)
    path = tmp_path / "clicks.ogg"
    soundfile.write(path, samples, RATE_HZ, format="OGG", subtype="VORBIS")
    source = AudioFile(path, speed=MAX_SPEED)
    source.open()
    chunks = read_all(source)
    source.close()
    assert sum(len(chunk.samples) for chunk in chunks) == len(samples)
    assert not any(chunk.lost for chunk in chunks)


def test_one_stream_after_another_is_no_damage(tmp_path: Path) -> None:
    """Timestamps begin again where two Ogg files were joined, as stations do at every piece of music."""
    path = write_audio(tmp_path / "tone.opus", tone(2.0, rate_hz=48_000), rate_hz=48_000)
    path.write_bytes(path.read_bytes() * 2)
    source = AudioFile(path, speed=MAX_SPEED)
    source.open()
    chunks = read_all(source)
    source.close()
    assert sum(len(chunk.samples) for chunk in chunks) == pytest.approx(4 * 48_000, abs=1_000)
    assert not any(chunk.lost for chunk in chunks)


def test_numbers_that_are_no_samples_are_skipped_and_counted(tmp_path: Path) -> None:
    samples = noise(2.0)
    samples[50_000] = np.nan
    source = AudioFile(write_audio(tmp_path / "noise.wav", samples, codec="pcm_f32le"), speed=MAX_SPEED)
    source.open()
    chunks = read_all(source)
    source.close()
    heard = sum(len(chunk.samples) for chunk in chunks)
    assert all(np.isfinite(chunk.samples).all() for chunk in chunks)
    assert heard + sum(chunk.lost for chunk in chunks) == len(samples)
    assert 44_100 < heard < len(samples)


def test_a_file_cut_short_is_heard_as_far_as_it_goes(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "noise.flac", noise(4.0))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert len(samples_of(path)) == pytest.approx(2.0 * 44_100, rel=0.1)


def test_a_change_of_rate_on_the_way_is_an_error(tmp_path: Path) -> None:
    first = write_audio(tmp_path / "first.aac", tone(1.0)).read_bytes()
    second = write_audio(tmp_path / "second.aac", tone(1.0, rate_hz=22_050), rate_hz=22_050).read_bytes()
    path = tmp_path / "both.aac"
    path.write_bytes(first + second)
    source = AudioFile(path, speed=MAX_SPEED)
    source.open()
    with pytest.raises(SourceError, match="from 44100 to 22050 Hz"):
        read_all(source)


def test_a_change_of_channels_on_the_way_is_heard(tmp_path: Path) -> None:
    stereo = write_audio(tmp_path / "first.aac", tone(1.0)).read_bytes()
    mono = write_audio(tmp_path / "second.aac", tone(1.0, channels=1)).read_bytes()
    path = tmp_path / "both.aac"
    path.write_bytes(stereo + mono)
    source = AudioFile(path, speed=MAX_SPEED)
    source.open()
    channels = [chunk.samples.shape[1] for chunk in read_all(source)]
    assert channels == sorted(channels, reverse=True)
    assert set(channels) == {1, 2}


def test_fifty_reopenings_leave_nothing_behind(tmp_path: Path) -> None:
    good = AudioFile(write_audio(tmp_path / "tone.mp3", tone(1.0)), speed=MAX_SPEED)
    bad = AudioFile(tmp_path / "missing.mp3")

    def cycle() -> None:
        good.open()
        assert good.read(5.0) is not None
        good.close()
        with pytest.raises(SourceAddressError):
            bad.open()

    cycle()
    process = psutil.Process()
    before = process.num_fds(), threading.active_count()
    for _ in range(50):
        cycle()
    assert (process.num_fds(), threading.active_count()) == before
