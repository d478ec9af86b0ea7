"""What this machine calculates with, and the energy that it counts."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_NVIDIA_SMI_S = 10.0
_GUESSED_BYTES = 8 << 30
_POWERCAP = Path("/sys/class/powercap")


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def memory_bytes() -> int:
    """All of the machine's memory; a guess where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has another way
        return _GUESSED_BYTES


def nvidia_gpus() -> list[str]:
    """Each NVIDIA card in words: name, memory, driver. By ``nvidia-smi``, else by nvidia-ml-py; none without both."""
    if program := shutil.which("nvidia-smi"):
        command = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
        with suppress(OSError, subprocess.TimeoutExpired):
            done = subprocess.run(command, capture_output=True, text=True, timeout=_NVIDIA_SMI_S, check=False)
            if done.returncode == 0:
                # The driver is the last of each row; what a card does not have reads "[N/A]".
                return [", driver ".join(line.rsplit(", ", 1)) for line in done.stdout.splitlines()]
    with _nvml() as (nvml, cards):
        return [_in_words(nvml, card) for card in cards]


def _in_words(nvml: Any, card: Any) -> str:
    words = [str(nvml.nvmlDeviceGetName(card))]
    with suppress(nvml.NVMLError):  # a card that shares the machine's memory has none of its own
        words.append(f"{nvml.nvmlDeviceGetMemoryInfo(card).total >> 20} MiB")
    return ", ".join([*words, f"driver {nvml.nvmlSystemGetDriverVersion()}"])


@contextmanager
def energy_counters() -> Iterator[Callable[[], dict[str, float]]]:
    """Reads what the counters of energy stand at, in joules: of the processor (``cpu``) and of the cards (``gpu``).

    Without those that do not exist here or may not be read: Linux lets only root read the processor's. They begin
    again from nothing once in an hour or so.
    """
    with _nvml() as (nvml, cards):

        def read() -> dict[str, float]:
            found: dict[str, float] = {}
            with suppress(OSError, ValueError):
                found |= _package_joules()
            if cards:
                with suppress(nvml.NVMLError):  # older ones do not count
                    found["gpu"] = sum(nvml.nvmlDeviceGetTotalEnergyConsumption(card) for card in cards) / 1e3
            return found

        yield read


def _package_joules() -> dict[str, float]:
    zones = _POWERCAP.glob("intel-rapl:?")  # AMD's are called so too
    # What is counted within a package, or around all of them, is in these already.
    packages = [zone for zone in zones if (zone / "name").read_text().startswith("package")]
    return {"cpu": sum(int((zone / "energy_uj").read_text()) for zone in packages) / 1e6} if packages else {}


@contextmanager
def _nvml() -> Iterator[tuple[Any, list[Any]]]:
    """NVIDIA's library and its handles of the cards; none where there is no library, driver or card."""
    try:
        import pynvml
    except ImportError:
        yield None, []
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield pynvml, []
        return
    try:
        yield pynvml, [pynvml.nvmlDeviceGetHandleByIndex(at) for at in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()
