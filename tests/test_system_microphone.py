"""The microphone against a real sound server: what is played arrives, and whatever the server does is survived."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from audio_files import noise, write_audio
from daemons import PulseAudio, wait_until

from models.errors import SourceAddressError, SourceError
from stream.microphone import Microphone, list_devices
from stream.source import Chunk

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


def read_chunks(source: Microphone, seconds: float) -> list[Chunk]:
    deadline = time.monotonic() + seconds
    chunks = []
    while time.monotonic() < deadline:
        chunk = source.read(0.2)
        if chunk is not None:
            chunks.append(chunk)
    return chunks


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_f32le"])
def test_played_samples_arrive_bit_for_bit(pulse: PulseAudio, tmp_path: Path, codec: str) -> None:
    played = noise(3.0)
    path = write_audio(tmp_path / "noise.wav", played, codec=codec)
    microphone = Microphone(pulse.device)
    microphone.open()
    assert (microphone.sample_rate_hz, microphone.live) == (44_100, True)
    player = pulse.play(path)
    chunks = read_chunks(microphone, 5.0)
    microphone.close()
    assert player.wait(10) == 0
    heard = np.concatenate([chunk.samples for chunk in chunks])
    assert heard.dtype == np.float32
    assert heard.shape[1] == 2
    sounding = np.flatnonzero(heard.any(axis=1))
    heard = heard[sounding[0] : sounding[-1] + 1]
    skipped = int(np.flatnonzero((played == heard[0]).all(axis=1))[0])
    assert skipped <= 2_047
    assert np.array_equal(heard, played[skipped:])
    assert sum(chunk.lost for chunk in chunks[1:]) == 0
    times = [chunk.captured_at for chunk in chunks]
    assert times == sorted(times)


def test_devices_are_listed_by_name(pulse: PulseAudio) -> None:
    devices = {device.name: device for device in list_devices()}
    assert devices[pulse.device].sample_rate_hz == 44_100
    assert [device.name for device in devices.values() if device.is_default] == ["default"]


def test_the_default_input_and_part_of_a_name_open(pulse: PulseAudio) -> None:
    for device in (None, "TESTMI"):
        microphone = Microphone(device)
        microphone.open()
        assert microphone.read(5.0) is not None
        microphone.close()


def test_an_unknown_device_is_answered_with_the_list(pulse: PulseAudio) -> None:
    with pytest.raises(SourceAddressError, match=r"no input is called 'tuba'.*'testmic, ALSA'"):
        Microphone("tuba").open()


def test_a_stalled_server_gives_nothing_and_close_returns(pulse: PulseAudio) -> None:
    microphone = Microphone(pulse.device)
    microphone.open()
    pulse.pause()
    wait_until(lambda: microphone.read(1.0) is None, "silence of a stopped server")
    closing = threading.Thread(target=microphone.close, daemon=True)
    closing.start()
    closing.join(30.0)
    assert not closing.is_alive()
    pulse.resume()
    microphone.open()
    assert microphone.read(5.0) is not None
    microphone.close()


def test_a_killed_server_is_an_error_and_a_restarted_one_is_heard_again(pulse: PulseAudio) -> None:
    microphone = Microphone(pulse.device)
    microphone.open()
    pulse.kill()
    with pytest.raises(SourceError) as caught:
        read_chunks(microphone, 30.0)
    assert not isinstance(caught.value, SourceAddressError)
    microphone.close()
    # Without its server the device is not even listed; it was there before, so that is no fault of the address.
    with pytest.raises(SourceError) as caught:
        microphone.open()
    assert not isinstance(caught.value, SourceAddressError)
    pulse.start()
    microphone.open()
    assert microphone.read(5.0) is not None
    microphone.close()


def test_without_any_input_it_says_so(pulse: PulseAudio) -> None:
    pulse.kill()
    assert list_devices() == ()
    with pytest.raises(SourceAddressError, match="this machine has none"):
        Microphone().open()


def test_the_capture_process_ends_with_a_killed_program(pulse: PulseAudio, tmp_path: Path) -> None:
    script = tmp_path / "listen.py"
    script.write_text(
        "from stream.microphone import Microphone\n"
        "if __name__ == '__main__':\n"
        f"    source = Microphone({pulse.device!r})\n"
        "    source.open()\n"
        "    print('open', flush=True)\n"
        "    while True:\n"
        "        source.read(1.0)\n"
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"open\n"
        children = psutil.Process(program.pid).children(recursive=True)
        program.kill()
    assert children
    assert not psutil.wait_procs(children, timeout=20.0)[1]
