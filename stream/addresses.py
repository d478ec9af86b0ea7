"""From what a user types to a source: ``mic``, ``mic:NAME``, a file, an http(s) address, ``-`` or ``demo``."""

from __future__ import annotations

import math
import re
from pathlib import Path

from models.audio import check_readable
from models.errors import AudioError, SourceAddressError
from stream.demo import Demo
from stream.devices import find_input
from stream.file import AudioFile
from stream.microphone import Microphone, list_devices
from stream.radio import Radio
from stream.source import Source
from stream.standard_input import StandardInput

POSSIBLE = "'mic', 'mic:NAME', a file, an http or https address, '-' (standard input) or 'demo'"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")  # two letters at least: C: is a drive


def open_source(
    address: str,
    *,
    speed: float = 1.0,
    pcm_rate_hz: int = 44_100,
    pcm_channels: int = 2,
    pcm_format: str = "s16le",
) -> Source:
    """The source at an address, not opened yet.

    ``speed`` is that of files and of the demo, as ``parse_speed`` gives it; standard input is live unless it is
    ``MAX_SPEED``, and has the rate, channels and format ``pcm_...``.

    Raises:
        SourceAddressError: no such kind of source, or no such file.
        ConfigError: rate, channels or format out of range.
    """
    if address == "mic":
        return Microphone()
    if address.startswith("mic:") and address != "mic:":
        return Microphone(address.removeprefix("mic:"))
    if address == "demo":
        return Demo(speed=speed)
    if address == "-":
        return StandardInput(
            sample_rate_hz=pcm_rate_hz, channels=pcm_channels, sample_format=pcm_format, live=math.isfinite(speed)
        )
    if address.lower().startswith(("http://", "https://")):
        return Radio(address)
    path = Path(address).expanduser()
    if not address or (_SCHEME.match(address) and not path.exists()):
        raise SourceAddressError(f"expected {POSSIBLE}, got {address!r}")
    try:
        check_readable(path)
    except AudioError as error:
        raise SourceAddressError(f"{error}; a source is {POSSIBLE}") from error
    return AudioFile(path, speed=speed)


def check_source(source: Source) -> None:
    """Find out, before anything else starts, whether a source can be opened; leaves it closed.

    A microphone is looked up, not opened; standard input loses nothing of what it carries.

    Raises:
        SourceAddressError: its address is wrong.
        SourceError: it cannot be opened now, but may later.
    """
    if isinstance(source, StandardInput):
        source.check()
        return
    if isinstance(source, Microphone):
        find_input(list_devices(), source.device)
        return
    source.open()
    source.close()
