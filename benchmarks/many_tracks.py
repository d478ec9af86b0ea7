"""How training's memory grows with the collection: `genrescope train` on more and more short tracks.

    python benchmarks/many_tracks.py [--tracks 1000 10000]

Needs the [train] and [test] extras, and about 6 GB of disk for 100,000 tracks. Each collection is made here: a second
and a half of noise through a filter of its own, no two alike, five folds, two classes. The command is a user's own,
with its check for leaks, on a cache that is empty: fingerprints, features, one epoch, model, report. Memory is the
most that the process and its workers together held at a moment, of their own (anonymous; what is mapped from files,
such as the cache, the system may drop at any time).
"""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import soundfile
from machine import describe

RATE_HZ, SECONDS = 8_000, 1.5
_BLOCKS, _BINS = 12, 16
_POLL_S = 0.5


def make_collection(folder: Path, tracks: int) -> Path:
    """Tracks as FLAC, and their table."""
    random = np.random.default_rng(0)
    table = folder / "tracks.csv"
    length = int(RATE_HZ * SECONDS) // _BLOCKS
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "genre", "fold"])
        for number in range(tracks):
            path = folder / f"{number // 1000}" / f"{number}.flac"
            path.parent.mkdir(exist_ok=True)
            # Loud and silent bands that change from block to block: to a fingerprint, another piece of music each.
            gains = random.uniform(-4.0, 0.0, (_BLOCKS, _BINS))
            spectrum = np.fft.rfft(random.standard_normal((_BLOCKS, length)))
            spectrum *= 10 ** gains[:, np.arange(spectrum.shape[1]) * _BINS // spectrum.shape[1]]
            sound = np.fft.irfft(spectrum, length).ravel()
            soundfile.write(path, 0.5 * sound / np.abs(sound).max(), RATE_HZ, subtype="PCM_16")
            writer.writerow([path.relative_to(folder), ("high", "low")[number % 2], number // 2 % 5])
    return table


class Memory:
    """The most anonymous memory, bytes, of a process and all below it, looked at twice a second."""

    def __init__(self, process: int) -> None:
        self.most = 0
        self._of = psutil.Process(process)
        self._over = threading.Event()
        self._watching = threading.Thread(target=self._watch)
        self._watching.start()

    def stop(self) -> None:
        self._over.set()
        self._watching.join()

    def _watch(self) -> None:
        while not self._over.wait(_POLL_S):
            try:
                family = [self._of, *self._of.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            self.most = max(self.most, sum(_anonymous(each.pid) for each in family))


def _anonymous(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0  # it has ended
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss_Anon:"))


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--recipe", default="zhang-1d")
    parser.add_argument("--folder", type=Path, help="where collections are made, and removed (default: temporary)")
    arguments = parser.parse_args()
    print(describe())
    for tracks in arguments.tracks:
        folder = Path(tempfile.mkdtemp(dir=arguments.folder))
        try:
            table = make_collection(folder, tracks)
            command = [
                *(sys.executable, "-m", "genrescope", "train", "--table", str(table), "--recipe", arguments.recipe),
                *("--epochs", "1", "--output", str(folder / "run"), "--cache", str(folder / "cache")),
            ]
            begun = time.monotonic()
            with (folder / "log.txt").open("wb") as log:
                process = subprocess.Popen(command, stdout=log, stderr=log)
                memory = Memory(process.pid)
                status = process.wait()
            memory.stop()
            if status:
                print((folder / "log.txt").read_text(encoding="utf-8", errors="replace")[-2000:])
                raise SystemExit(f"{tracks} tracks: training ended with {status}")
            minutes = (time.monotonic() - begun) / 60
            cache = sum(path.stat().st_size for path in (folder / "cache").rglob("*") if path.is_file())
            print(
                f"{tracks:7,} tracks: at most {memory.most / 1e6:,.0f} MB, {minutes:.1f} minutes, "
                f"cache {cache / 1e6:,.0f} MB",
                flush=True,
            )
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
