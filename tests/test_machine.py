"""What is asked of the machine, with stand-ins for what this one does not have."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

import models.machine
from models.machine import energy_counters, memory_bytes, nvidia_gpus, processor


class Nvml:
    """NVIDIA's library, by the names that nvidia-ml-py gives it."""

    class NVMLError(Exception):
        pass

    def __init__(self, *, works=True, counts=True):
        self.works, self.counts, self.open, self.millijoules = works, counts, False, 5_000

    def nvmlInit(self):
        if not self.works:
            raise self.NVMLError("Driver Not Loaded")
        self.open = True

    def nvmlShutdown(self):
        self.open = False

    def nvmlDeviceGetCount(self):
        return 2

    def nvmlDeviceGetHandleByIndex(self, at):
        return at

    def nvmlDeviceGetName(self, card):
        return f"NVIDIA Test {card}"

    def nvmlDeviceGetMemoryInfo(self, card):
        return SimpleNamespace(total=8 << 30)

    def nvmlSystemGetDriverVersion(self):
        return "580.1"

    def nvmlDeviceGetTotalEnergyConsumption(self, card):
        if not self.counts:
            raise self.NVMLError("Not Supported")
        return self.millijoules


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine without nvidia-smi, nvidia-ml-py or counters of energy."""
    monkeypatch.setattr(models.machine.shutil, "which", lambda name: None)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(models.machine, "_POWERCAP", tmp_path)
    return tmp_path


def zone(folder, name, what, microjoules):
    (folder / name).mkdir()
    (folder / name / "name").write_text(what + "\n")
    (folder / name / "energy_uj").write_text(f"{microjoules}\n")


def test_every_machine_has_a_processor_and_memory():
    assert processor()
    assert memory_bytes() > 1 << 28


def test_a_bare_machine_has_no_card_and_counts_nothing(bare):
    assert nvidia_gpus() == []
    with energy_counters() as joules:
        assert joules() == {}


def test_cards_as_nvidia_smi_lists_them(bare, monkeypatch):
    said = "NVIDIA H100 80GB HBM3, 81559 MiB, 580.65.06\nNVIDIA L4, 23034 MiB, 580.65.06\n"
    monkeypatch.setattr(models.machine.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(models.machine.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=0, stdout=said))
    assert nvidia_gpus() == [
        "NVIDIA H100 80GB HBM3, 81559 MiB, driver 580.65.06",
        "NVIDIA L4, 23034 MiB, driver 580.65.06",
    ]


@pytest.mark.parametrize("trouble", ["hangs", "fails"])
def test_where_nvidia_smi_does_not_work_the_library_is_asked(bare, monkeypatch, trouble):
    def run(command, *, timeout, **_):
        if trouble == "hangs":
            raise subprocess.TimeoutExpired(command, timeout)
        return SimpleNamespace(returncode=9, stdout="NVIDIA-SMI has failed")

    monkeypatch.setattr(models.machine.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(models.machine.subprocess, "run", run)
    assert nvidia_gpus() == []
    monkeypatch.setitem(sys.modules, "pynvml", library := Nvml())
    assert nvidia_gpus() == ["NVIDIA Test 0, 8192 MiB, driver 580.1", "NVIDIA Test 1, 8192 MiB, driver 580.1"]
    assert not library.open


def test_without_a_driver_the_library_finds_no_card(bare, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(works=False))
    assert nvidia_gpus() == []
    with energy_counters() as joules:
        assert joules() == {}


def test_energy_is_of_whole_packages_and_of_all_cards(bare, monkeypatch):
    zone(bare, "intel-rapl:0", "package-0", 2_000_000)
    zone(bare, "intel-rapl:1", "package-1", 500_000)
    zone(bare, "intel-rapl:0:0", "core", 100_000_000)  # within a package
    zone(bare, "intel-rapl:2", "psys", 100_000_000)  # around all of them
    monkeypatch.setitem(sys.modules, "pynvml", library := Nvml())
    with energy_counters() as joules:
        assert joules() == {"cpu": 2.5, "gpu": 10.0}
        library.millijoules += 1_000
        (bare / "intel-rapl:1" / "energy_uj").write_text("1500000\n")
        assert joules() == {"cpu": 3.5, "gpu": 12.0}
    assert not library.open


def test_what_may_not_be_read_or_is_not_counted_is_left_out(bare, monkeypatch):
    zone(bare, "intel-rapl:0", "package-0", "not for you")
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(counts=False))
    with energy_counters() as joules:
        assert joules() == {}
