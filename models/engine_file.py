"""A TensorRT engine as one file: the plan, the model that it was built from, and what the model says of some windows.

A zip archive whose checksums tell damage. The model inside is an ONNX model with its card, in the engine's precision,
so that a plan which another TensorRT or another card refuses can be built again, and windows with ONNX Runtime's
answers, so that an engine which answers otherwise is refused before it names anything.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.atomic_write import replacing
from models.errors import ModelFileError
from models.precision_kind import Precision
from models.scorer import FloatArray, WindowBatch

_ABOUT, _MODEL, _PLAN, _WINDOWS = "about.json", "model.onnx", "engine.plan", "windows.npz"
_MOST_BYTES = 2 << 30
"""Of one part: more is no engine of ours, and would fill the memory."""

Count = Annotated[int, Field(ge=1)]


class Target(BaseModel):
    """What an engine is built for.

    ``batch`` is the smallest number of windows at once, the one it is tuned for, and the greatest. ``sms`` are compute
    capabilities, ``"89"`` for 8.9; empty for the card in this machine.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    product: Literal["tensorrt", "tensorrt-rtx"]
    precision: Precision = Precision.FP32
    batch: tuple[Count, Count, Count] = (1, 16, 1024)
    sms: tuple[str, ...] = ()


class About(BaseModel):
    """Where a plan comes from. ``gpu`` is the card it was built on, if it was built for that one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    target: Target
    version: str
    gpu: str = ""


@dataclass(frozen=True, slots=True)
class EngineFile:
    """The parts: ``model`` a serialised ONNX model, ``plan`` the engine, ``windows`` (n, bands, frames) of each input
    and ``answers``, ONNX Runtime's probabilities of them by head, (n, classes)."""

    about: About
    model: bytes
    plan: bytes
    windows: WindowBatch
    answers: Mapping[str, FloatArray]

    def write(self, path: Path) -> None:
        """Whole or not at all.

        Raises:
            WriteError: there is no room, or no right to write.
        """
        arrays = {f"input {at}": each for at, each in enumerate(self.windows)}
        arrays |= {f"head {name}": values for name, values in self.answers.items()}
        packed = io.BytesIO()
        np.savez(packed, allow_pickle=False, **arrays)
        parts = {
            _ABOUT: self.about.model_dump_json().encode(),
            _MODEL: self.model,
            _PLAN: self.plan,
            _WINDOWS: packed.getvalue(),
        }
        with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for name, data in parts.items():
                # With no time of day, so that the same engine is the same file.
                archive.writestr(zipfile.ZipInfo(name), data)

    @classmethod
    def read(cls, path: Path) -> EngineFile:
        """Read one.

        Raises:
            ModelFileError: missing, damaged, or no engine of ours.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                about, model, plan, windows = (_part(archive, name) for name in (_ABOUT, _MODEL, _PLAN, _WINDOWS))
        except OSError as error:
            raise ModelFileError(f"engine {path}: cannot be read ({error.strerror or error})") from error
        except (zipfile.BadZipFile, KeyError, ValueError, EOFError, NotImplementedError) as error:
            raise ModelFileError(
                f"engine {path}: expected a file that `genrescope export --engine` wrote, this one is damaged or of "
                f"another program ({error}); make it again"
            ) from error
        try:
            arrays = np.load(io.BytesIO(windows), allow_pickle=False)
            inputs = [arrays[name] for name in sorted(arrays) if name.startswith("input ")]
            answers = {name.removeprefix("head "): arrays[name] for name in arrays if name.startswith("head ")}
            return cls(About.model_validate(json.loads(about)), model, plan, tuple(inputs), answers)
        except (ValidationError, ValueError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise ModelFileError(
                f"engine {path}: not one that this genrescope reads ({reason}); make it again with `genrescope export`"
            ) from error


def _part(archive: zipfile.ZipFile, name: str) -> bytes:
    size = archive.getinfo(name).file_size
    if size > _MOST_BYTES:
        raise ValueError(f"{name} says that it has {size:,} bytes")
    return archive.read(name)
