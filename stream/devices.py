"""The machine's audio inputs, and how one is chosen: by name, because their numbers change from boot to boot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models.errors import SourceAddressError, SourceError


@dataclass(frozen=True, slots=True)
class InputDevice:
    """One audio input. ``index`` is PortAudio's number for it, good within one process only."""

    name: str
    host_api: str
    channels: int
    sample_rate_hz: int
    is_default: bool
    index: int

    @property
    def full_name(self) -> str:
        """Name and host API, as PortAudio programs write it; tells apart what two host APIs call the same."""
        return f"{self.name}, {self.host_api}"


def portaudio() -> Any:
    """The ``sounddevice`` module.

    Raises:
        SourceAddressError: PortAudio's library is not installed.
    """
    try:
        import sounddevice
    except OSError as error:
        raise SourceAddressError(
            "the microphone needs PortAudio's library, which is not installed: on Debian and Ubuntu run "
            "'sudo apt install libportaudio2' (on Windows and macOS the sounddevice package brings it)"
        ) from error
    return sounddevice


def query_inputs() -> tuple[InputDevice, ...]:
    """The inputs that there were when this process first loaded PortAudio, which never looks again.

    Raises:
        SourceError: PortAudio is missing or failed.
    """
    sounddevice = portaudio()
    try:
        devices = sounddevice.query_devices()
        host_apis = sounddevice.query_hostapis()
    except sounddevice.PortAudioError as error:
        raise SourceError(f"the audio inputs could not be listed: {error}") from error
    try:
        default = int(sounddevice.query_devices(kind="input")["index"])
    except sounddevice.PortAudioError:
        default = -1  # its way of saying that there is none
    return tuple(
        InputDevice(
            name=str(device["name"]),
            host_api=str(host_apis[device["hostapi"]]["name"]),
            channels=int(device["max_input_channels"]),
            sample_rate_hz=round(device["default_samplerate"]),
            is_default=device["index"] == default,
            index=int(device["index"]),
        )
        for device in devices
        if device["max_input_channels"] > 0
    )


def find_input(devices: Sequence[InputDevice], name: str | None) -> InputDevice:
    """The input called ``name``: exactly, or else the only one whose name contains it, in any case; None: the default.

    Where two host APIs list the same device (Windows does), the default input's host API wins.

    Raises:
        SourceAddressError: no such device, or several; the message lists the inputs there are.
    """
    if not devices:
        raise SourceAddressError("microphone: expected an audio input, this machine has none")
    default = next((device for device in devices if device.is_default), None)
    if name is None:
        if default is None:
            raise SourceAddressError(
                f"microphone: the system has no default input; name one with mic:NAME ({_list(devices)})"
            )
        return default
    wanted = name.casefold()
    exact = [device for device in devices if name in (device.name, device.full_name)]
    found = exact or [device for device in devices if wanted in device.full_name.casefold()]
    if len(found) > 1 and default is not None:
        found = [device for device in found if device.host_api == default.host_api] or found
    if not found:
        raise SourceAddressError(f"microphone: no input is called {name!r} ({_list(devices)})")
    if len(found) > 1:
        raise SourceAddressError(f"microphone: {name!r} names several inputs, give more of the name ({_list(found)})")
    return found[0]


def _list(devices: Sequence[InputDevice]) -> str:
    return "there are: " + "; ".join(repr(device.full_name) for device in devices)
