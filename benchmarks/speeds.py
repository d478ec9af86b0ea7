"""Copies of our tracks at other speeds, and so at other pitches, for ``benchmarks/teach.py`` and ``base.py``.

    python benchmarks/speeds.py --data DATA --output COPIES

A teacher's ear cannot be learned from so few tracks: to it, and to a network that learns what it says, a copy at
another speed is other music, of which there is no more here. COPIES/copies.csv names them, and what they are copies of.
Stopped at any moment, the same command goes on.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from pathlib import Path

import numpy as np
import soundfile

from models.atomic_write import replacing
from models.audio import Resampler, load
from train.progress import track_progress

SETS = ("emotify", "4q", "music_speech")
SPEEDS = (0.88, 1.14)
"""About two semitones down and up: which of them is drawn by the track's name."""
_RATE_HZ = 16_000
"""As all that hears them resamples to."""


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder of the copies")
    parser.add_argument("--both", action="store_true", help="two copies of each track, not one: faster and slower")
    arguments = parser.parse_args()
    rows: list[dict[str, Path]] = []
    for name in SETS:
        with (arguments.data / name / "tracks.csv").open(newline="", encoding="utf-8") as file:
            tracks = [Path(row["path"]) for row in csv.DictReader(file)]
        for track in track_progress(tracks, total=len(tracks), title=name):
            original = (arguments.data / name / track).resolve()
            drawn = SPEEDS[int(hashlib.sha256(original.name.encode()).hexdigest(), 16) % len(SPEEDS)]
            for speed in SPEEDS if arguments.both else (drawn,):
                copy = (Path(name) / track).with_name(f"{track.stem}-{speed}.flac")
                make_copy(original, arguments.output / copy, speed)
                rows.append({"path": copy, "copy_of": original})
    with (
        replacing(arguments.output / "copies.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, ["path", "copy_of"])
        writer.writeheader()
        writer.writerows(rows)


def make_copy(original: Path, copy: Path, speed: float) -> None:
    """Write ``original`` played at ``speed``, unless it is there."""
    if copy.exists():
        return
    resampler = Resampler(round(_RATE_HZ * speed), _RATE_HZ)
    played = np.concatenate([resampler.feed(load(original, _RATE_HZ)[:, np.newaxis]), resampler.flush()])
    copy.parent.mkdir(parents=True, exist_ok=True)
    with replacing(copy) as temporary:
        soundfile.write(temporary, played, _RATE_HZ, format="FLAC", subtype="PCM_16")


if __name__ == "__main__":
    main()
