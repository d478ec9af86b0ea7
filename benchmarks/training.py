"""How many windows a second training gets through, beside the plain loop that a user would write.

    python benchmarks/training.py [--recipe lidy-parallel] [--set KEY=VALUE] [--rounds 3]

Needs the [train] and [test] extras. Ours is one process as `genrescope train` runs it: cached features, the recipe's
batches and epochs through ``train.loop.fit``, its curves and checkpoints included. The plain loops are a torch Dataset
whose items are a clip through librosa (load, mel spectrogram, decibels, a random crop), a DataLoader with a worker for
each core, of one thread each, started before the clock and kept, and the same network, optimiser and batch size in 32
bits, eagerly. The second of them loads only the seconds that it needs. All hear the same 30-second clips, made here, in
turns, round by round; a ratio is of one round. Beside the time on the wall stands that of the processor, workers
included, which other work on the machine changes less.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import wave
from pathlib import Path
from typing import NamedTuple

import librosa
import numpy as np
import psutil
import torch
from machine import describe
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from models.architectures import build
from models.normalise import Normaliser
from models.spec import Head, LogMel, ModelCard, Provenance
from train.features import TrackFeatures, read_features
from train.loop import fit
from train.module import TrainingModule
from train.question import Question
from train.recipe import Recipe
from train.recipes import make_recipe
from train.segments import LabelledFrames
from train.track import Track

CLIPS, CLIP_S, CLASSES = 40, 30, 4
OUR_EPOCHS = 2
PLAIN_WINDOWS = 6
"""Of each clip in an epoch of the plain loops: their speed does not depend on it, how long one waits does."""


class Speed(NamedTuple):
    """Windows a second on the wall, and a second of the processor."""

    wall: float
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="lidy-parallel", help="one that hears mel bands")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(describe(), end="\n\n")
    settings = dict(text.split("=", 1) for text in options.set)
    recipe = make_recipe(options.recipe, {**settings, "epochs": OUR_EPOCHS})
    with tempfile.TemporaryDirectory() as folder:
        measure(recipe, Path(folder), options.rounds)


def measure(recipe: Recipe, folder: Path, rounds: int) -> None:
    """Print the windows a second of each loop and the ratios."""
    tracks = make_clips(folder / "clips", recipe.inputs[0].sample_rate_hz)
    card = recipe.card(
        name="benchmark",
        heads=(Head(name="tone", labels=tuple(map(str, range(CLASSES)))),),
        provenance=Provenance(data="none", protocol="none", epochs=0, seed=0, commit="none", licence="none"),
    )
    clock = Clock()
    features = read_features(
        recipe.inputs, recipe.window_spec, tracks, cache=folder / "cache", workers=os.cpu_count() or 1
    )
    extraction_s = clock.read().wall
    windows = len(tracks) * recipe.segments_per_file
    plain = {
        "plain, whole clips": PlainLoop(card, recipe, tracks, only_the_crop=False),
        "plain, only the crop": PlainLoop(card, recipe, tracks, only_the_crop=True),
    }
    speeds: dict[str, list[Speed]] = {"ours": [], **{name: [] for name in plain}}
    for number in range(rounds):
        speeds["ours"].append(ours(card, recipe, tracks, features, folder / str(number)))
        for name, loop in plain.items():
            speeds[name].append(loop.epoch())
    print(f"{recipe.architecture}, {recipe.precision}: {CLIPS} clips of {CLIP_S} s, {rounds} rounds in turns")
    print("median (least - greatest); ratio: ours over it, in one round")
    for clock_name in Speed._fields:
        print(f"windows a second, {clock_name}:")
        our = [getattr(speed, clock_name) for speed in speeds["ours"]]
        for name, measured in speeds.items():
            values = [getattr(speed, clock_name) for speed in measured]
            ratios = [mine / value for mine, value in zip(our, values, strict=True)]
            print(f"  {name:22} {spread(values, '7.0f')}   ratio {spread(ratios, '5.1f')}")
    first = [windows / (windows / speed.wall + extraction_s) for speed in speeds["ours"]]
    print(f"with the features made first ({extraction_s:.1f} s), one epoch of {windows} windows:")
    print(f"  {'ours, wall':22} {spread(first, '7.0f')}")


def spread(values: list[float], width: str) -> str:
    """Median, least and greatest."""
    return f"{statistics.median(values):{width}} ({min(values):{width}} - {max(values):{width}})"


class Clock:
    """Time on the wall and of the processor, here and in the processes begun from here, since it was made."""

    def __init__(self) -> None:
        self._start = self._now()

    @staticmethod
    def _now() -> tuple[float, float]:
        here = psutil.Process()
        used = [here.cpu_times(), *(child.cpu_times() for child in here.children(recursive=True))]
        gone = used[0].children_user + used[0].children_system
        return time.perf_counter(), gone + sum(times.user + times.system for times in used)

    def read(self) -> Speed:
        """The seconds."""
        wall, cpu = (now - then for now, then in zip(self._now(), self._start, strict=True))
        return Speed(wall, cpu)

    def speed(self, windows: int) -> Speed:
        """Of so many windows."""
        seconds = self.read()
        return Speed(windows / seconds.wall, windows / seconds.cpu)


def ours(card: ModelCard, recipe: Recipe, tracks: list[Track], features: TrackFeatures, folder: Path) -> Speed:
    """Of a whole training."""
    data = LabelledFrames.join([Question("tone", card.head.labels, tuple(tracks))], features.features)
    module = TrainingModule(card, recipe, training=data, validation=None, seed=0)
    clock = Clock()
    fit(module, folder=folder, resume=False)
    return clock.speed(OUR_EPOCHS * len(tracks) * recipe.segments_per_file)


class Crops(Dataset[tuple[Tensor, int]]):
    """A random window of a clip, as an item."""

    def __init__(self, spec: LogMel, frames: int, tracks: list[Track], each: int, *, only_the_crop: bool) -> None:
        self.spec, self.frames, self.each, self.only_the_crop = spec, frames, each, only_the_crop
        self.paths = [track.path for track in tracks]
        self.targets = [int(track.label) for track in tracks]

    def __len__(self) -> int:
        return len(self.paths) * self.each

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """A mel spectrogram (bands, frames) in decibels, and its class."""
        spec, track = self.spec, index // self.each
        offset_s, length_s = 0.0, None
        if self.only_the_crop:
            length_s = ((self.frames - 1) * spec.hop_samples + spec.n_fft) / spec.sample_rate_hz
            offset_s = torch.rand(()).item() * (CLIP_S - length_s)
        samples, _ = librosa.load(self.paths[track], sr=spec.sample_rate_hz, offset=offset_s, duration=length_s)
        power = librosa.feature.melspectrogram(
            y=samples,
            sr=spec.sample_rate_hz,
            n_fft=spec.n_fft,
            hop_length=spec.hop_samples,
            n_mels=spec.n_mels,
            fmin=spec.fmin_hz,
            fmax=spec.fmax_hz,
            center=spec.centred,
        )
        decibels = librosa.power_to_db(power)
        first = int(torch.randint(decibels.shape[1] - self.frames + 1, ()))
        return torch.from_numpy(decibels[:, first : first + self.frames].copy()), self.targets[track]


def _one_thread(_worker: int) -> None:
    """Without it the threads of librosa's matrix products in the workers wait for each other: it halves the speed."""
    threadpool_limits(1)


class PlainLoop:
    """Dataset, DataLoader and an eager step."""

    def __init__(self, card: ModelCard, recipe: Recipe, tracks: list[Track], *, only_the_crop: bool) -> None:
        (spec,) = recipe.inputs
        assert isinstance(spec, LogMel)
        crops = Crops(spec, recipe.window_spec.frames, tracks, PLAIN_WINDOWS, only_the_crop=only_the_crop)
        self.loader = DataLoader(
            crops,
            recipe.batch_size,
            shuffle=True,
            num_workers=os.cpu_count() or 1,
            persistent_workers=True,
            worker_init_fn=_one_thread,
        )
        torch.manual_seed(0)
        self.head = card.head.name
        self.network = build(card).train()
        if isinstance(normaliser := getattr(self.network, "normalise", None), Normaliser):
            normaliser.fit(crops[index][0].T for index in range(0, len(crops), PLAIN_WINDOWS))
        parameters = self.network.parameters()
        self.optimiser: torch.optim.Optimizer = (
            torch.optim.Adam(parameters, lr=recipe.learning_rate)
            if recipe.optimiser == "adam"
            else torch.optim.SGD(parameters, lr=recipe.learning_rate)
        )
        next(iter(self.loader))  # starts the workers, which then stay

    def epoch(self) -> Speed:
        """Of one epoch."""
        clock = Clock()
        for windows, targets in self.loader:
            self.optimiser.zero_grad()
            loss = functional.cross_entropy(self.network(windows)[self.head], targets)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
        return clock.speed(len(self.loader.dataset))  # type: ignore[arg-type]


def make_clips(folder: Path, rate_hz: int) -> list[Track]:
    """Clips of one tone each in noise, 16 bits, as WAV."""
    folder.mkdir()
    tracks = []
    for number in range(CLIPS):
        random, label = np.random.default_rng(number), number % CLASSES
        at = np.arange(CLIP_S * rate_hz) / rate_hz
        samples = 0.3 * np.sin(2 * np.pi * 200.0 * 2**label * at) + 0.02 * random.standard_normal(len(at))
        path = folder / f"{number}.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate_hz)
            file.writeframes((samples * 32767).astype("<i2").tobytes())
        tracks.append(Track(path, str(label), fold=0))
    return tracks


if __name__ == "__main__":
    main()
