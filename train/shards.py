"""Large arrays of many files on disk, a few big files holding thousands of them.

A shard is two files: ``NAME.data``, raw rows one after another, and ``NAME.index``, one line for each array, written
once its rows have been handed to the operating system. Both only grow. Each writer makes shards of its own, so any
number of processes share a folder without a lock, and a writer that was killed leaves at worst rows or a line that
nobody takes for an array. A shard is mapped once, however many arrays it holds: the number of maps is limited too.
"""

from __future__ import annotations

import errno
import mmap
import shutil
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt

from models.errors import DatasetError
from train.wording import size_of

SHARD_BYTES = 1 << 30
"""A writer that has written so much begins another shard."""

AnyArray = npt.NDArray[Any]

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class NoRoomError(DatasetError):
    """The disk (or a quota) is full."""


@dataclass(frozen=True, slots=True)
class Record:
    """Where an array lies: shard name, first byte, rows, and the CRC-32 of its bytes."""

    shard: str
    offset: int
    rows: int
    crc32: int


def read_index(folder: Path) -> dict[str, Record]:
    """Every array of a folder by its key, the newest where there are several; what is torn or cut off is left out."""
    records: dict[str, Record] = {}
    for index in sorted(folder.glob("*.index"), key=lambda path: (path.stat().st_mtime_ns, path.name)):
        for line in index.read_text(encoding="ascii", errors="replace").splitlines(keepends=True):
            try:
                key, offset, rows, crc32 = line.split()
                record = Record(index.stem, int(offset), int(rows), int(crc32))
            except ValueError:
                continue
            # A line is whole once it ends: its last number could have lost digits.
            if line.endswith("\n") and min(record.offset, record.rows) >= 0:
                records[key] = record
    return records


class ShardWriter:
    """Appends arrays (rows, columns) to shards of its own in ``folder``; for one process and one thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = ""
        self._data: IO[bytes] | None = None
        self._index: IO[bytes] | None = None

    def write(self, key: str, pieces: Iterator[AnyArray]) -> Record:
        """Keep an array that comes in pieces, so that a long one never is in memory at once.

        What ``pieces`` raises is passed on, and nothing is left of what came before.

        Raises:
            NoRoomError: the disk is full.
        """
        try:
            data, index = self._open()
            start, line_start = data.tell(), index.tell()
        except OSError as error:
            raise self._refusal(error, 0) from error
        rows = crc32 = written = 0
        try:
            for piece in pieces:
                packed = np.ascontiguousarray(piece)
                try:
                    written += packed.nbytes
                    # Unbuffered, and a write may take only a part before the disk is full.
                    _write_all(data, packed.data)
                except OSError as error:
                    raise self._refusal(error, written) from error
                crc32 = zlib.crc32(packed.data, crc32)
                rows += len(packed)
            try:
                _write_all(index, f"{key} {start} {rows} {crc32}\n".encode("ascii"))
            except OSError as error:
                raise self._refusal(error, written) from error
        except BaseException:
            for file, end in ((index, line_start), (data, start)):
                file.truncate(end)
                file.seek(end)
            if not start:
                self._remove()
            raise
        record = Record(self._name, start, rows, crc32)
        if data.tell() >= SHARD_BYTES:
            self.close()
        return record

    def close(self) -> None:
        """Close the files. Safe to call twice; another ``write`` begins a new shard."""
        for file in (self._data, self._index):
            if file is not None:
                file.close()
        self._data = self._index = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> tuple[IO[bytes], IO[bytes]]:
        if self._data is None or self._index is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._name = uuid.uuid4().hex[:16]
            self._data = (self._folder / f"{self._name}.data").open("xb", buffering=0)
            self._index = (self._folder / f"{self._name}.index").open("xb", buffering=0)
        return self._data, self._index

    def _remove(self) -> None:
        self.close()
        for suffix in (".data", ".index"):
            (self._folder / f"{self._name}{suffix}").unlink(missing_ok=True)

    def _refusal(self, error: OSError, needed: int) -> DatasetError:
        if error.errno not in _NO_ROOM:
            return DatasetError(f"{self._folder}: cannot be written ({error.strerror})")
        free = shutil.disk_usage(self._folder).free
        return NoRoomError(
            f"{self._folder}: no room left, expected at least {size_of(needed)} for one file's features "
            f"and the disk has {size_of(free)} free (a quota or limit may be smaller)"
        )


class ShardReader:
    """Arrays of a folder as read-only views of mapped shards; picklable, the maps are opened where they are used."""

    def __init__(self, folder: Path, *, columns: int, dtype: npt.DTypeLike) -> None:
        self._folder = folder
        self._columns = columns
        self._dtype = np.dtype(dtype)
        self._maps: dict[str, mmap.mmap] = {}

    @property
    def itemsize(self) -> int:
        """Bytes of one number."""
        return self._dtype.itemsize

    def read(self, record: Record) -> AnyArray | None:
        """The array (rows, columns); None if the shard is missing or cut off."""
        size = record.rows * self._columns * self._dtype.itemsize
        shard = self._map(record.shard, record.offset + size) if size else b""
        if shard is None:
            return None
        count = record.rows * self._columns
        view = np.frombuffer(shard, self._dtype, count, record.offset if size else 0)
        return view.reshape(record.rows, self._columns)

    def is_whole(self, record: Record) -> bool:
        """Whether the bytes on the disk are those that were written."""
        array = self.read(record)
        return array is not None and zlib.crc32(array.data) == record.crc32

    def _map(self, name: str, end: int) -> mmap.mmap | None:
        shard = self._maps.get(name)
        if shard is None or len(shard) < end:
            # A shard that another process still writes has grown since it was mapped.
            try:
                with (self._folder / f"{name}.data").open("rb") as file:
                    shard = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (FileNotFoundError, ValueError):  # ValueError: it is empty
                return None
            self._maps[name] = shard
        return shard if len(shard) >= end else None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_maps": {}}


class StoredArrays(Mapping[Path, AnyArray]):
    """Arrays by audio file, mapped and not loaded: looking one up costs no memory that cannot be given back."""

    def __init__(self, reader: ShardReader, records: Mapping[Path, Record]) -> None:
        self._reader = reader
        self._records = dict(records)

    def __getitem__(self, path: Path) -> AnyArray:
        array = self._reader.read(self._records[path])
        if array is None:
            raise DatasetError(f"the features of {path} have vanished from the cache: run again, they are made anew")
        return array

    def __iter__(self) -> Iterator[Path]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def without(self, paths: Iterable[Path]) -> StoredArrays:
        """The others."""
        dropped = set(paths)
        return StoredArrays(
            self._reader, {path: record for path, record in self._records.items() if path not in dropped}
        )

    def rows(self, path: Path) -> int:
        """The length of an array, without touching its pages."""
        return self._records[path].rows


def _write_all(file: IO[bytes], data: memoryview | bytes) -> None:
    rest = memoryview(data)
    # An empty array of several columns cannot be cast.
    rest = rest.cast("B") if rest.nbytes else memoryview(b"")
    while rest:
        rest = rest[file.write(rest) :]
