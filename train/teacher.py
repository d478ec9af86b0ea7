"""What another model says of the sounds that ours learns from, as further targets (Hinton, Vinyals & Dean, "Distilling
the knowledge in a neural network", 2015): a teacher that heard more music than there are labels here."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib.npyio import NpzFile
from torch import Tensor

from models.errors import DatasetError
from train.wording import counted

FloatArray = npt.NDArray[np.float32]

ARRAYS: Final = ("path", "start_s", "embedding", "tag_probability")
_LEAST_PROBABILITY = 1e-4
_LEAST_SPREAD = 1e-3


@dataclass(frozen=True, slots=True)
class Teacher:
    """By file: where the teacher listened, seconds (places,), ascending, and what it said, (places, outputs).
    ``origin`` tells one that was made of another from those made in another way."""

    said: Mapping[Path, tuple[FloatArray, FloatArray]]
    outputs: int
    seconds_per_frame: float
    origin: str = ""

    def lessons(self, paths: Sequence[Path], offsets: Sequence[int]) -> Tensor:
        """Of the windows of ``paths`` that begin ``offsets`` frames after the beginning: (n, outputs), between what
        was said before and after; not numbers where nothing was."""
        lessons = np.full((len(paths), self.outputs), np.nan, dtype=np.float32)
        for row, (path, offset) in enumerate(zip(paths, offsets, strict=True)):
            if path not in self.said:
                continue
            starts, said = self.said[path]
            place = np.interp(offset * self.seconds_per_frame, starts, np.arange(len(starts)))
            before = int(place)
            after = min(before + 1, len(said) - 1)
            lessons[row] = said[before] + (place - before) * (said[after] - said[before])
        return torch.from_numpy(lessons)

    def describe(self) -> str:
        """How much it says, and a digest that changes with what it says."""
        digest = hashlib.sha256()
        for path in sorted(self.said):
            digest.update(f"{path}\0".encode(errors="surrogateescape"))
            for values in self.said[path]:
                digest.update(values.tobytes())
        about = f"{counted(self.outputs, 'output')} on {counted(len(self.said), 'file')}"
        return f"{about} (digest: {digest.hexdigest()[:12]})"

    def standardised(self, paths: Collection[Path]) -> Self:
        """Each output with mean 0 and deviation 1 over what was said of ``paths``.

        Raises:
            DatasetError: nothing was.
        """
        heard = [self.said[path][1] for path in paths if path in self.said]
        if not heard:
            raise DatasetError(f"the teacher says nothing of the {counted(len(paths), 'track')} to learn from")
        flat = np.concatenate(heard)
        mean, deviation = flat.mean(0), np.maximum(flat.std(0), _LEAST_SPREAD)
        said = {path: (starts, (values - mean) / deviation) for path, (starts, values) in self.said.items()}
        return replace(self, said=said)


def read_teacher(file: Path, tracks: Collection[Path], *, seconds_per_frame: float) -> Teacher:
    """What ``file`` says of ``tracks``: an .npz of ``path`` (files,), relative to a folder that the file lies below,
    ``start_s`` (files, places; not a number beyond the end of a shorter file) and, at each place, ``embedding`` and
    ``tag_probability``.

    Raises:
        DatasetError: it cannot be read, lacks an array, or is about none of the tracks.
    """
    try:
        loaded = np.load(file, allow_pickle=False)
        if not isinstance(loaded, NpzFile):
            raise DatasetError(f"{file}: expected an .npz of arrays, it is a single array")
        with loaded as arrays:
            missing = [name for name in ARRAYS if name not in arrays.files]
            if missing:
                raise DatasetError(f"{file}: expected the arrays {', '.join(ARRAYS)}, there is no {', '.join(missing)}")
            names, starts, embeddings, tags = (arrays[name] for name in ARRAYS)
    except OSError as error:
        raise DatasetError(f"{file}: cannot be read ({error.strerror or error})") from error
    except (ValueError, EOFError, BadZipFile) as error:
        raise DatasetError(f"{file}: expected an .npz of arrays, cannot read it: {error}") from error
    if names.ndim != 1 or names.dtype.kind != "U":
        raise DatasetError(f"{file}, path: expected texts, got {names.dtype} of shape {names.shape}")
    places = (len(names), *starts.shape[1:2])
    heard = np.isfinite(starts) if starts.dtype.kind == "f" else np.ones(starts.shape, dtype=np.bool_)
    for name, array, dimensions in (
        ("start_s", starts, 2),
        ("embedding", embeddings, 3),
        ("tag_probability", tags, 3),
    ):
        numbers = array.dtype.kind == "f" and (array.shape[:2] != places or bool(np.isfinite(array[heard]).all()))
        if array.ndim != dimensions or array.shape[:2] != places or not numbers:
            raise DatasetError(
                f"{file}, {name}: expected numbers in {dimensions} dimensions, the first two of them {places} (files, "
                f"places), got {array.dtype} of shape {array.shape}{'' if numbers else ', not all of them numbers'}"
            )
    # Places that are no number come last: compared with them, nothing is greater.
    if not heard[:, :1].all() or (heard[:, 1:] & ~(np.diff(starts, axis=1) > 0)).any():
        raise DatasetError(
            f"{file}, start_s: expected places in order, one after the other, in each file, and nothing (not a number) "
            "but after the last"
        )
    tags = np.clip(tags.astype(np.float32), _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    said = np.concatenate([embeddings.astype(np.float32), np.log(tags / (1 - tags))], axis=2)
    by_path = {path.resolve(): path for path in tracks}
    known: dict[Path, tuple[FloatArray, FloatArray]] = {}
    for row, name in enumerate(names.tolist()):
        for folder in file.resolve().parents:
            if (folder / name) in by_path:
                known[by_path[folder / name]] = starts[row, heard[row]].astype(np.float32), said[row, heard[row]]
                break
    if not known:
        raise DatasetError(
            f"{file}: expected lessons on some of {counted(len(tracks), 'track')}, it is about others "
            f"({names[0] if len(names) else 'none'}); its paths are relative to a folder above it"
        )
    return Teacher(known, said.shape[2], seconds_per_frame)
