"""A TensorRT engine as one file: the plan, the model that it was built from, and what the model says of some windows.

A zip archive whose checksums tell damage. The model inside is an ONNX model with its card, in the engine's precision,
so that a plan which another TensorRT or another card refuses can be built again, and windows with ONNX Runtime's
answers, so that an engine which answers otherwise is refused before it names anything. A plan is code for the graphics
card: take one from people whom you trust.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.atomic_write import replacing
from models.errors import ConfigError, ModelFileError
from models.model_file import open_model
from models.precision_kind import Precision
from models.scorer import FeatureShapeError, FloatArray, WindowBatch, check_windows
from models.spec import ModelCard

SMS: Final = ("80", "86", "89", "120", "121")
"""Compute capabilities that an engine of TensorRT-RTX may be built for on any machine."""

_ABOUT, _MODEL, _PLAN = "about.json", "model.onnx", "engine.plan"
_MOST_BYTES = 2 << 30
"""Of a file: more is no engine of ours, and would fill the memory."""
_MOST_WINDOWS = 65_536

Windows = Annotated[int, Field(ge=1, le=_MOST_WINDOWS)]


class Target(BaseModel):
    """What an engine is built for.

    ``batch`` is the number of windows at once that it is tuned for, and the greatest. ``sms`` are compute capabilities,
    ``"89"`` for 8.9, of TensorRT-RTX alone; empty for all that it knows, and for the card in this machine otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    product: Literal["tensorrt", "tensorrt-rtx"]
    precision: Precision = Precision.FP32
    batch: tuple[Windows, Windows]
    sms: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        usual, most = self.batch
        if usual > most:
            raise ValueError(f"expected the usual batch and then the greatest, got {usual} and {most}")
        if self.sms and self.product == "tensorrt":
            raise ValueError("tensorrt is built on the card that will run it: leave --sm out, or take tensorrt-rtx")
        if unknown := [sm for sm in self.sms if sm not in SMS]:
            raise ValueError(f"expected compute capabilities of {', '.join(SMS)}, got {', '.join(unknown)}")
        if len(set(self.sms)) < len(self.sms):
            raise ValueError(f"expected different compute capabilities, got {', '.join(self.sms)}")
        return self

    @classmethod
    def of(cls, **given: Any) -> Self:
        """Make one of what a person asked for.

        Raises:
            ConfigError: it contradicts itself.
        """
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            where, words = ".".join(str(part) for part in first["loc"]), first["msg"].removeprefix("Value error, ")
            raise ConfigError(f"{where}: {words}" if where else words) from error


class About(BaseModel):
    """Where a plan comes from. ``gpu`` is the card it was built on, if it was built for that one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    target: Target
    version: str
    gpu: str = ""

    @property
    def words(self) -> str:
        """What the engine is for, for people."""
        sms = ", ".join(self.target.sms)
        cards = f"compute capability {sms}" if sms else self.gpu or "any RTX card"
        _, most = self.target.batch
        made = f"{self.target.product} {self.version}, {self.target.precision}"
        return f"{made}, for {cards}, up to {most:,} {'window' if most == 1 else 'windows'} at once"


@dataclass(frozen=True)
class EngineFile:
    """The parts: ``model`` a serialised ONNX model, ``plan`` the engine, ``windows`` (n, bands, frames) of each input
    and ``answers``, ONNX Runtime's probabilities of them by head, (n, classes)."""

    about: About
    model: bytes
    plan: bytes
    windows: WindowBatch
    answers: Mapping[str, FloatArray]

    @cached_property
    def card(self) -> ModelCard:
        """Of the model inside.

        Raises:
            ModelFileError: it is damaged.
        """
        return open_model(self.model)[1]

    def write(self, path: Path) -> None:
        """Whole or not at all.

        Raises:
            WriteError: there is no room, or no right to write.
        """
        parts = {_ABOUT: self.about.model_dump_json().encode(), _MODEL: self.model, _PLAN: self.plan}
        parts |= {f"input {at}.npy": _packed(each) for at, each in enumerate(self.windows)}
        parts |= {f"head {name}.npy": _packed(values) for name, values in self.answers.items()}
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
            engine = cls._of(_members(path))
            engine._check()
        except OSError as error:
            raise ModelFileError(f"engine {path}: cannot be read ({error.strerror or error})") from error
        except (
            # What zipfile, numpy, json and pydantic have to say of bytes that are not ours.
            *(zipfile.BadZipFile, KeyError, ValueError, EOFError, RuntimeError, RecursionError, NotImplementedError),
            *(ModelFileError, FeatureShapeError),
        ) as error:
            reason = str(error).splitlines()[0]
            raise ModelFileError(
                f"engine {path}: expected a file that `genrescope export --engine` wrote, this one is damaged or of "
                f"another program ({reason}); make it again"
            ) from error
        return engine

    @classmethod
    def _of(cls, members: Mapping[str, bytes]) -> EngineFile:
        arrays = {name: _unpacked(data) for name, data in members.items() if name.endswith(".npy")}
        inputs = sorted(name for name in arrays if name.startswith("input "))
        heads = [name for name in arrays if name.startswith("head ")]
        return cls(
            About.model_validate(json.loads(members[_ABOUT])),
            members[_MODEL],
            members[_PLAN],
            tuple(arrays[name] for name in inputs),
            {name.removeprefix("head ").removesuffix(".npy"): arrays[name] for name in heads},
        )

    def _check(self) -> None:
        """Refuse windows and answers that are not the card's."""
        card = self.card
        check_windows(self.windows, card)
        count = len(self.windows[0])
        expected = {head.name: (count, len(head.labels)) for head in card.heads}
        if (found := {name: values.shape for name, values in self.answers.items()}) != expected or not count:
            raise ModelFileError(f"expected answers of the shapes {expected}, got {found}")


def _members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        # Not packed: what it says that it holds is what lies on the disk, and no small file fills the memory.
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("its parts are packed")
        if (size := sum(member.file_size for member in members)) > _MOST_BYTES:
            raise ValueError(f"it says that it has {size:,} bytes")
        return {member.filename: archive.read(member) for member in members}


def _packed(values: FloatArray) -> bytes:
    data = io.BytesIO()
    np.save(data, np.ascontiguousarray(values, dtype=np.float32), allow_pickle=False)
    return data.getvalue()


def _unpacked(data: bytes) -> FloatArray:
    values = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    if values.dtype != np.float32:
        raise ValueError(f"expected numbers in float32, got {values.dtype}")
    return np.asarray(values, dtype=np.float32)
