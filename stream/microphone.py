"""Microphone and line-in, by the device's name, at the device's own rate."""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

from models.errors import SourceError
from stream.capture import Captured, Opened, send_audio, send_devices
from stream.devices import InputDevice
from stream.source import Chunk
from stream.threaded_source import Run, ThreadedSource

START_S = 15.0
"""The child loads Python and PortAudio, which asks every device; an idle sound server takes 2 s for the first audio."""

STALL_S = 8.0
"""A device that delivers nothing for so long is opened afresh."""

TERMINATE_S = 0.5


class Microphone(ThreadedSource):
    """An audio input of this machine; ``device`` None is the system's default input."""

    open_timeout_s = START_S

    def __init__(self, device: str | None = None) -> None:
        name = "default microphone" if device is None else f"microphone {device}"
        super().__init__("mic" if device is None else f"mic:{device}", name=name)
        self.device = device

    def _produce(self, run: Run) -> Generator[Chunk]:
        child = _CaptureProcess(send_audio, self.device)
        run.on_stop(child.kill)
        try:
            opened: Opened = child.receive(self.name, START_S)
            self.name = f"microphone {opened.device}"
            self.sample_rate_hz = opened.sample_rate_hz
            while True:
                captured: Captured = child.receive(self.name, STALL_S)
                # Linux has one monotonic clock for all processes; elsewhere that is not promised.
                at = captured.at if sys.platform == "linux" else time.monotonic()
                yield Chunk(captured.samples, at, captured.lost)
        finally:
            child.close()


def list_devices() -> tuple[InputDevice, ...]:
    """The audio inputs there are now. Asked in a new process, because PortAudio looks only once in each.

    Raises:
        SourceError: PortAudio is missing, failed, or hangs.
    """
    child = _CaptureProcess(send_devices)
    try:
        devices: tuple[InputDevice, ...] = child.receive("audio inputs", START_S)
        return devices
    finally:
        child.close()


class _CaptureProcess:
    """A child that runs ``target(*args, connection)``. ``kill`` may come from any thread."""

    def __init__(self, target: Callable[..., None], *args: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=target, args=(*args, theirs), name="capture", daemon=True)
        self._process.start()
        theirs.close()  # else its end would never show
        self._lock = threading.Lock()

    def receive(self, name: str, timeout_s: float) -> Any:
        """The child's next message; raises it where it is an error."""
        try:
            if not self._connection.poll(timeout_s):
                raise SourceError(f"{name}: nothing came for {timeout_s:g} s, the device or its sound server hangs")
            message = self._connection.recv()
        except (EOFError, OSError) as error:
            raise SourceError(f"{name}: the capture process ended unexpectedly") from error
        if isinstance(message, SourceError):
            raise message
        return message

    def kill(self) -> None:
        """End the child, whatever it is stuck in, within a second."""
        with self._lock:
            self._process.terminate()
            self._process.join(TERMINATE_S)
            if self._process.is_alive():
                self._process.kill()
                self._process.join(TERMINATE_S)

    def close(self) -> None:
        """End the child and free the connection; for the thread that receives."""
        self.kill()
        self._connection.close()
