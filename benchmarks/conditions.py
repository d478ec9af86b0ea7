"""How much of what a network knows is left when the sound is worse than what it is tested on: recoded, too loud, in
noise, in a room, out of a small speaker, through a telephone.

    python benchmarks/conditions.py --data DATA RUNS/base OTHER/RUNS/line-in

Genres of all files, each by the networks of ``benchmarks/base.py`` in these folders that have not heard the fold: all
on the same sound, a window every 1.36 seconds.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Final

import numpy as np
import numpy.typing as npt
from base import keep, write_table
from scipy import signal

from models.audio import Resampler, load
from models.frontend import features
from models.onnx_scorer import OnnxScorer
from models.recode import recode
from models.scorer import AskedFirst, Scorer
from models.spec import AnyFeatureSpec
from train.evaluate import evaluate
from train.progress import say, track_progress
from train.run_folder import MODEL_NAME, fold_name
from train.statistics import metrics
from train.tables import read_table

RATE_HZ: Final = 48_000
"""Of the files; the network's own is lower, and what a codec does not spend above it is left for below."""
FIGURES: Final = ("file_accuracy", "file_balanced_accuracy")

FloatArray = npt.NDArray[np.float32]
Condition = Callable[[FloatArray], FloatArray]


def filtered(samples: FloatArray, *, low_hz: float, high_hz: float, order: int) -> FloatArray:
    """What is left between two frequencies."""
    edges = (low_hz, high_hz)
    sections = signal.butter(order, edges, "bandpass", fs=RATE_HZ, output="sos")
    return np.asarray(signal.sosfilt(sections, samples), dtype=np.float32)


def in_a_room(samples: FloatArray, *, seconds: float, below_db: float) -> FloatArray:
    """With the tail of a room that falls by 60 dB in so many ``seconds``, all of it so far below the sound."""
    draw = np.random.default_rng(0)
    times = np.arange(round(RATE_HZ * seconds)) / RATE_HZ
    tail = draw.standard_normal(len(times)) * 10 ** (-3 * times / seconds)
    tail *= 10 ** (-below_db / 20) / np.sqrt(np.sum(tail**2))
    answer = np.concatenate([[1.0], np.zeros(round(0.005 * RATE_HZ)), tail])
    return np.asarray(signal.fftconvolve(samples, answer)[: len(samples)], dtype=np.float32)


def in_noise(samples: FloatArray, *, below_db: float) -> FloatArray:
    """With pink noise so far below it."""
    white = np.fft.rfft(np.random.default_rng(0).standard_normal(len(samples)))
    pink = np.fft.irfft(white / np.sqrt(np.maximum(np.arange(len(white)), 1)), len(samples))
    loud = np.sqrt(np.mean(samples**2) / np.mean(pink**2)) * 10 ** (-below_db / 20)
    return np.asarray(samples + loud * pink, dtype=np.float32)


def too_loud(samples: FloatArray, *, by_db: float) -> FloatArray:
    """With peaks so far above full scale, where they are cut off."""
    loud = samples / max(float(np.abs(samples).max()), 1e-6) * 10 ** (by_db / 20)
    return np.asarray(np.clip(loud, -1, 1), dtype=np.float32)


def phone_in_a_room(samples: FloatArray) -> FloatArray:
    """Music that a phone plays to the microphone of another device, in a room with some noise."""
    speaker = filtered(samples, low_hz=400, high_hz=10_000, order=2)
    return in_noise(in_a_room(speaker, seconds=0.4, below_db=6), below_db=20)


CONDITIONS: Final[Mapping[str, Condition]] = {
    "as it is": lambda samples: samples,
    "Opus, 24 kbit/s": partial(recode, sample_rate_hz=RATE_HZ, codec="opus", kbit_s=24),
    "12 dB too loud, cut off": partial(too_loud, by_db=12),
    "pink noise, 20 dB below": partial(in_noise, below_db=20),
    "pink noise, 10 dB below": partial(in_noise, below_db=10),
    "a room, 0.6 s, 3 dB below": partial(in_a_room, seconds=0.6, below_db=3),
    "a laptop's speaker (200 Hz to 10 kHz)": partial(filtered, low_hz=200, high_hz=10_000, order=2),
    "a phone's speaker (400 Hz to 10 kHz)": partial(filtered, low_hz=400, high_hz=10_000, order=2),
    "the phone in a room, in noise": phone_in_a_room,
    "a telephone call (300 Hz to 3.4 kHz)": partial(filtered, low_hz=300, high_hz=3_400, order=4),
}


class Seldom:
    """A scorer that looks a fourth as often."""

    def __init__(self, scorer: Scorer) -> None:
        window = scorer.card.window
        hop = window.model_copy(update={"hop_frames": 4 * window.hop_frames})
        self.card = scorer.card.model_copy(update={"window": hop})
        self.name = scorer.name
        self.score = scorer.score


def heard(audio: FloatArray, condition: Condition, inputs: Sequence[AnyFeatureSpec]) -> list[FloatArray]:
    """Features (frames, bands) of each input of what a condition leaves of the ``audio``."""
    resampler = Resampler(RATE_HZ, inputs[0].sample_rate_hz)
    changed = condition(audio)
    samples = np.concatenate([resampler.feed(changed[:, np.newaxis]), resampler.flush()])
    return [features(samples, spec) for spec in inputs]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", type=Path, nargs="+", help="folders of variants of benchmarks/base.py")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    arguments = parser.parse_args()
    if len({path.name for path in arguments.networks}) < len(arguments.networks):
        parser.error("variants are told apart by the names of their folders, two of these have the same")
    with tempfile.TemporaryDirectory() as folder:
        table, _ = write_table(arguments.data, Path(folder))
        tracks = read_table(table, label_column="genre")
    found: dict[str, dict[str, list[dict[str, float]]]] = {path.name: {} for path in arguments.networks}
    for fold in arguments.folds:
        scorers = {
            path.name: AskedFirst(Seldom(OnnxScorer(path / fold_name(fold, 0) / MODEL_NAME)), "genre")
            for path in arguments.networks
        }
        (inputs,) = {scorer.card.inputs for scorer in scorers.values()}
        asked = [track for track in tracks if track.fold == fold]
        audio = {track.path: load(track.path, RATE_HZ) for track in asked}
        for name, condition in track_progress(CONDITIONS.items(), total=len(CONDITIONS), title=f"fold {fold}"):
            sounds = {path: heard(samples, condition, inputs) for path, samples in audio.items()}
            for variant, scorer in scorers.items():
                measured = metrics(evaluate(scorer, asked, sounds))
                figures = {figure: measured[figure] for figure in FIGURES}
                found[variant].setdefault(name, []).append(figures)
                say(f"fold {fold}, {name}, {variant}: " + ", ".join(f"{value:.3f}" for value in figures.values()))
    for variant, conditions in found.items():
        means = [
            {"sound": name, **{figure: round(mean(each[figure] for each in folds), 4) for figure in FIGURES}}
            for name, folds in conditions.items()
        ]
        keep("conditions", variant, {"folds": arguments.folds, "figures": means})


if __name__ == "__main__":
    main()
