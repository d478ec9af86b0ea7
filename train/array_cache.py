"""Arrays computed once from audio files and kept on disk: which are there, which are to be made, and making them.

Keys name the file (path, size, time of change) and what made the array, so a changed file or program never finds an old
one. Memory does not grow with the audio: files are decoded and written in pieces, and what is read is mapped.
"""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Protocol

import numpy.typing as npt

from models.audio import check_readable
from models.errors import AudioError, DatasetError
from train.progress import track_progress
from train.shards import AnyArray, NoRoomError, Record, ShardReader, ShardWriter, StoredArrays, read_index
from train.wording import size_of

_WAITING_PER_WORKER = 4
"""Files handed out ahead of time, so that no worker idles and no list of futures grows with the collection."""


class Maker(Protocol):
    """What turns an audio file into an array of ``dtype`` and ``columns``; picklable, for the workers."""

    @property
    def identity(self) -> str:
        """Another text whenever the arrays would be others."""
        ...

    @property
    def columns(self) -> int:
        """Numbers in a row."""
        ...

    @property
    def dtype(self) -> npt.DTypeLike:
        """Type of the numbers."""
        ...

    def pieces(self, path: Path) -> Iterator[AnyArray]:
        """The array of a file, some rows (n, columns) at a time. Raises AudioError: the file does not decode."""
        ...


class ArrayCache:
    """The arrays that one ``maker`` makes, in a sub-folder of ``folder`` that bears its identity."""

    def __init__(self, folder: Path, maker: Maker) -> None:
        self.folder = folder / hashlib.sha256(maker.identity.encode()).hexdigest()[:16]
        self._maker = maker

    def load_all(self, paths: Iterable[Path], *, workers: int, title: str) -> tuple[StoredArrays, dict[Path, str]]:
        """Arrays of all files, found whole on disk or made by ``workers`` processes (0: in this one).

        Returns the arrays, and the reason for each file that does not decode. What is made stays even if the run is
        stopped before its end.

        Raises:
            DatasetError: the disk is full, the folder cannot be written, or a worker was killed.
        """
        reader = ShardReader(self.folder, columns=self._maker.columns, dtype=self._maker.dtype)
        kept = read_index(self.folder)
        records: dict[Path, Record] = {}
        skipped: dict[Path, str] = {}
        todo: list[Path] = []
        for path in dict.fromkeys(paths):
            try:
                record = kept.get(key_of(path))
            except AudioError as error:
                skipped[path] = str(error)
                continue
            if record is not None and reader.is_whole(record):
                records[path] = record
            else:
                todo.append(path)
        made_bytes = 0
        row_bytes = self._maker.columns * reader.itemsize
        try:
            for path, outcome in track_progress(self._outcomes(todo, workers), total=len(todo), title=title):
                if isinstance(outcome, str):
                    skipped[path] = outcome
                else:
                    records[path] = outcome
                    made_bytes += outcome.rows * row_bytes
        except NoRoomError as error:
            done = len(set(todo) & (records.keys() | skipped.keys()))
            rest = made_bytes / done * (len(todo) - done) if made_bytes else 0
            needs = f"; {done} of {len(todo)} files are done and kept"
            needs += f", the others need about {size_of(rest)} more" if rest else ""
            raise DatasetError(f"{error}{needs}: free some room, or give a --cache on another disk") from error
        return StoredArrays(reader, {path: records[path] for path in dict.fromkeys(paths) if path in records}), skipped

    def _outcomes(self, paths: Sequence[Path], workers: int) -> Iterator[tuple[Path, Record | str]]:
        if workers < 1 or len(paths) < 2:
            with ShardWriter(self.folder) as writer:
                for path in paths:
                    yield path, _make(self._maker, writer, path)
            return
        # Spawned, not forked: a fork of a process with torch's threads may hang.
        pool = ProcessPoolExecutor(
            max_workers=min(workers, len(paths)),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=(self._maker, self.folder),
        )
        waiting: dict[Future[Record | str], Path] = {}
        rest = iter(paths)
        try:
            while True:
                room = _WAITING_PER_WORKER * workers - len(waiting)
                waiting |= {pool.submit(_make_in_worker, path): path for path in itertools.islice(rest, room)}
                if not waiting:
                    return
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield waiting.pop(future), future.result()
        except BrokenProcessPool as error:
            raise DatasetError(
                "a process that decodes audio was killed, for want of memory perhaps: what is done is kept, "
                "run again with fewer --workers"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def key_of(path: Path) -> str:
    """Changes with a file's place, size and time of change.

    Raises:
        AudioError: there is no such readable file.
    """
    check_readable(path)
    stat = path.stat()
    key = f"{path.resolve()}\n{stat.st_size}\n{stat.st_mtime_ns}"
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()[:32]


def _make(maker: Maker, writer: ShardWriter, path: Path) -> Record | str:
    try:
        return writer.write(key_of(path), maker.pieces(path))
    except AudioError as error:
        return str(error)


class _Worker:
    """What a worker process keeps between files: a writer, so that its arrays follow each other in one shard."""

    maker: Maker
    writer: ShardWriter


def _start_worker(maker: Maker, folder: Path) -> None:
    _Worker.maker, _Worker.writer = maker, ShardWriter(folder)


def _make_in_worker(path: Path) -> Record | str:
    # Only where the array lies goes back: pickling megabytes for every file would cost more than some features.
    return _make(_Worker.maker, _Worker.writer, path)
