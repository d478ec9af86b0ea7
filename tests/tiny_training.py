"""Trainings of seconds: a small network on random frames, here and in processes that are killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import IO

import numpy as np
import torch
from networks import LABELS, random_network

from models.errors import TrainingError
from models.spec import ModelCard
from train.checkpoints import CHECKPOINT_NAME
from train.loop import Execution, fit
from train.module import TrainingModule
from train.question import Question
from train.recipes import make_recipe
from train.segments import LabelledFrames
from train.track import Track

SMALL = {"segments_per_file": 2, "batch_size": 6, "epochs": 3, "learning_rate": 0.02}


def frames(card: ModelCard, *, tracks: int, seed: int) -> LabelledFrames:
    """Noise whose level tells the label."""
    random = np.random.default_rng(seed)
    targets = torch.arange(tracks) % len(LABELS)
    length = card.window.frames + 10
    made = [Track(Path(f"{number}.wav"), LABELS[label], 0) for number, label in enumerate(targets.tolist())]
    features = {
        track.path: tuple(
            random.normal(0.4 * LABELS.index(track.label), 1.0, (length, spec.bands)).astype(np.float32)
            for spec in card.inputs
        )
        for track in made
    }
    return LabelledFrames.join([Question("genre", LABELS, tuple(made))], features)


def tiny(name: str = "lidy-timbral", *, seed: int = 0, validation: int = 6, **settings: object) -> TrainingModule:
    """Nine tracks to learn from, ``validation`` others."""
    recipe = make_recipe(name, {**SMALL, **settings})
    _, card = random_network(name)
    return TrainingModule(
        card,
        recipe,
        training=frames(card, tracks=9, seed=1),
        validation=frames(card, tracks=validation, seed=2) if validation else None,
        seed=seed,
    )


def without_dropout(module: TrainingModule) -> TrainingModule:
    for layer in module.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    return module


def weights(folder: Path, name: str = CHECKPOINT_NAME) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder / name, weights_only=True)["state_dict"]
    return state


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


class _Fuse:
    """Kills its own process, as the system would, when it has been touched so many times."""

    def __init__(self, touches: int) -> None:
        self.left = touches

    def touch(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class _FusedFile:
    def __init__(self, file: IO[bytes], fuse: _Fuse) -> None:
        self._file = file
        self._fuse = fuse

    def write(self, data: bytes) -> int:
        self._fuse.touch()
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def train_until_killed(folder: Path, *, batches: int, writes: int) -> None:
    """For a process of its own: killed at the given batch, or at the given write into a checkpoint (0: not)."""
    torch.set_num_threads(1)
    at_batch, at_write = _Fuse(batches), _Fuse(writes)
    save, cut = torch.save, LabelledFrames.cut

    def fused_cut(self: LabelledFrames, *arguments: object) -> object:
        at_batch.touch()
        return cut(self, *arguments)  # type: ignore[arg-type]

    torch.save = lambda values, file: save(values, _FusedFile(file, at_write))
    LabelledFrames.cut = fused_cut  # type: ignore[method-assign, assignment]
    fit(tiny(patience=2), folder=folder, resume=True, execution=Execution(accelerator="cpu"))


def train_without_room(folder: Path, said: Path) -> None:
    """For a process of its own: no file may become larger than a megabyte. What it says then is written to ``said``."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    try:
        fit(tiny(), folder=folder, resume=True, execution=Execution(accelerator="cpu"))
    except TrainingError as error:
        said.write_text(str(error), encoding="utf-8")
