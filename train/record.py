"""What one evaluation found, file by file: kept as JSON; reports and comparisons then need no audio and no network."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.atomic_write import replacing
from models.errors import GenrescopeError, ModelFileError
from models.spec import ModelCard, Probability
from train.reliability import Reliability
from train.run_folder import CURVES_NAME, FINAL, HELD_OUT, RECORDS_NAME, fold_name
from train.track import some

FORMAT_VERSION: Final = 1

Whole = Annotated[int, Field(ge=0)]
Decision = Literal["live", "published"]
"""How files are judged: every window as live audio is heard, or as the card's recipe publishes it."""


class RecordError(GenrescopeError):
    """A record of an evaluation is missing, damaged, empty, or does not go with another."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FileAnswer(_Part):
    """The index of the label that a file is given, and its probabilities (or shares of windows) by label."""

    given: Whole
    probabilities: tuple[Probability, ...]


class FileResult(_Part):
    """One file. ``windows[i]`` of its live windows were named label ``i``; ``group`` (its artist) and ``source`` are
    empty where unknown."""

    name: Annotated[str, Field(min_length=1)]
    label: str
    source: str = ""
    group: str = ""
    live: FileAnswer
    published: FileAnswer
    windows: tuple[Whole, ...]

    def answer(self, decision: Decision) -> FileAnswer:
        """The answer by one of the two decisions."""
        return self.live if decision == "live" else self.published


class Trust(_Part):
    """Confidence against accuracy of single windows and of the running vote, at temperature 1 (before) and at the
    card's (after); and how often the vote shows a label, and a right one."""

    windows_before: Reliability = Reliability()
    windows_after: Reliability = Reliability()
    vote_before: Reliability = Reliability()
    vote_after: Reliability = Reliability()
    decided: Whole = 0
    decided_right: Whole = 0

    def __add__(self, other: Trust) -> Trust:
        """Of the windows of both."""
        return Trust(**{name: getattr(self, name) + getattr(other, name) for name in Trust.model_fields})


class Training(_Part):
    """How the network was trained: ``curves`` has a value an epoch for each column of the run's curves.csv. If
    ``held_out``, their validation columns are those of the network that calibration was fitted to. Empty where unknown.
    """

    hardware: str = ""
    curves: dict[str, tuple[float | None, ...]] = {}
    held_out: bool = False

    @property
    def minutes(self) -> float | None:
        """How long the epochs took; None where unknown."""
        seconds = self.curves.get("seconds", ())
        return sum(value or 0.0 for value in seconds) / 60 if seconds else None


class Record(_Part):
    """One network, and its answers on files that it has not learned from.

    ``fold`` is the fold tested on, None if the files are not of one fold; protocol, epochs and seed stand in the card.
    ``parameters`` are the trainable ones, ``file_bytes`` is the size of the model file, None where unknown. Files that
    do not decode or are too short for a window were ``skipped``. ``level_db`` is by how much the audio was made louder.
    ``tested_on`` says what was tested, where that is not the card's own protocol.
    """

    format_version: Literal[1] = FORMAT_VERSION
    card: ModelCard
    fold: int | None = None
    parameters: Whole | None = None
    file_bytes: Whole | None = None
    level_db: float = 0.0
    tested_on: str = ""
    skipped: Whole = 0
    training: Training = Training()
    trust: Trust
    files: Annotated[tuple[FileResult, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        labels = self.labels
        for file in self.files:
            if file.label not in labels:
                raise ValueError(f"file {file.name!r} has the label {file.label!r}, not one of {list(labels)}")
            widths = {len(file.live.probabilities), len(file.published.probabilities), len(file.windows)}
            if widths != {len(labels)} or max(file.live.given, file.published.given) >= len(labels):
                raise ValueError(f"file {file.name!r}: expected figures of {len(labels)} labels")
        twice = [name for name, times in Counter(file.name for file in self.files).items() if times > 1]
        if twice:
            raise ValueError(f"expected each file once, {some(twice)} stand twice")
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of all probabilities."""
        return self.card.head.labels

    @property
    def calibrated(self) -> bool:
        """Whether its confidence was fitted to tracks: an untouched one stands at temperature 1."""
        return self.card.head.temperature != 1.0

    @property
    def seed(self) -> int:
        """The seed that the network was trained with."""
        return self.card.provenance.seed

    @property
    def name(self) -> str:
        """The record's name by what was tested: ``fold-3-seed-0``."""
        return f"seed-{self.seed}" if self.fold is None else fold_name(self.fold, self.seed)

    def write(self, path: Path) -> Path:
        """Write the record to ``path``, whole or not at all; return it."""
        with replacing(path) as temporary:
            temporary.write_text(self.model_dump_json() + "\n", encoding="utf-8")
        return path


def read_record(path: Path) -> Record:
    """Read one record.

    Raises:
        RecordError: missing, not JSON, of another format, or with a missing, unknown or impossible value.
    """
    if path.suffix == ".onnx":
        raise RecordError(
            f"record {path}: this is a model file; evaluate it with --report first, which writes a record"
        )
    try:
        fields: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecordError(f"record {path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f"record {path}: expected JSON written by an evaluation, it is damaged ({error})") from error
    if not isinstance(fields, dict) or "card" not in fields or "files" not in fields:
        raise RecordError(f"record {path}: expected the JSON of an evaluation, with a card and files")
    if fields.get("format_version") != FORMAT_VERSION:
        raise RecordError(
            f"record {path}: expected format {FORMAT_VERSION}, got {fields.get('format_version')!r}; evaluate again"
        )
    if not fields["files"]:
        raise RecordError(f"record {path}: expected files, it has none; evaluate again on labelled audio")
    try:
        card = ModelCard.from_json(json.dumps(fields["card"]))
        return Record.model_validate_json(json.dumps({**fields, "card": json.loads(card.to_json())}))
    except ModelFileError as error:
        raise RecordError(f"record {path}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "record"
        raise RecordError(f"record {path} is not valid at {where!r}: {first['msg']}") from error


def read_records(path: Path) -> list[Record]:
    """The record in a file, or all in a run's folder (``FOLDER/records``, or the folder itself), by fold and seed.

    Raises:
        RecordError: as ``read_record``; no record; records of different labels, or two of the same fold and seed.
    """
    if not path.is_dir():
        return [read_record(path)]
    folder = path / RECORDS_NAME if (path / RECORDS_NAME).is_dir() else path
    paths = sorted(folder.glob("*.json"))
    if folder is path and not any(each.name.startswith(("fold-", "seed-")) for each in paths):
        paths = []
    if not paths:
        raise RecordError(
            f"folder {path}: expected records of evaluations in {RECORDS_NAME}/*.json, there are none; "
            "`genrescope train` writes them"
        )
    records = [read_record(each) for each in paths]
    for each, record in zip(paths, records, strict=True):
        if record.labels != records[0].labels:
            raise RecordError(
                f"records {paths[0].name} and {each.name} in {folder} have different labels: "
                f"{list(records[0].labels)} and {list(record.labels)}"
            )
    seen: dict[tuple[int, str], str] = {}
    for each, record in zip(paths, records, strict=True):
        for file in record.files:
            earlier = seen.setdefault((record.seed, file.name), each.name)
            if earlier != each.name:
                raise RecordError(
                    f"records {earlier} and {each.name} in {folder} both test {file.name!r} with seed {record.seed}: "
                    "keep one of them"
                )
    return sorted(records, key=lambda record: (record.seed, -1 if record.fold is None else record.fold))


def read_curves(path: Path) -> dict[str, tuple[float | None, ...]]:
    """Columns of a run's curves.csv with a value an epoch (None where it is not a number); empty if there is no file.

    Raises:
        RecordError: the file cannot be read as the table of curves.
    """
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, strict=True))
        columns = [name for name in (rows[0] if rows else {}) if name is not None]
        return {name: tuple(_number(row[name]) for row in rows) for name in columns}
    except (OSError, UnicodeDecodeError, csv.Error, ValueError, TypeError) as error:
        raise RecordError(f"curves {path}: expected a table of numbers, one row an epoch ({error})") from error


def training_in(folder: Path, *, hardware: str = "") -> Training:
    """What the curves of a network tell of its training: ``folder`` is its own, or that of a whole run.

    Raises:
        RecordError: the curves cannot be read.
    """
    own = folder / FINAL if (folder / FINAL).is_dir() else folder
    curves = read_curves(own / CURVES_NAME)
    first = read_curves(own.parent / HELD_OUT / CURVES_NAME) if own.name == FINAL else {}
    validation = {name: values for name, values in first.items() if name.startswith("validation_")}
    held_out = bool(curves and validation)
    return Training(hardware=hardware, curves={**curves, **validation} if held_out else curves, held_out=held_out)


def _number(text: str) -> float | None:
    value = float(text) if text else math.nan
    return value if math.isfinite(value) else None
