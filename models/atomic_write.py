"""Files that appear whole or not at all, and whether they can be written, asked before hours of work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from models.errors import ConfigError, GenrescopeError


class WriteError(GenrescopeError):
    """A file cannot be written; its cause is the OSError."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place at the end, so that nobody ever sees half a file.

    Raises:
        WriteError: there is no room, no right to write, or something else stands there; the old file is untouched.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise WriteError(
            f"cannot write {path} ({error.strerror or error}): make room, or give another place"
        ) from error


def require_writable_folder(folder: Path, *, option: str) -> None:
    """Refuse a folder that cannot be written to, or made; nothing is made yet.

    Raises:
        ConfigError: with the ``option`` that named it.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    try:
        with TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise ConfigError(
            f"{option} {folder}: expected a folder to write to, {there} is none ({error.strerror}): give another"
        ) from error


def require_writable_file(path: Path, *, option: str) -> None:
    """Refuse a file that could not be written; nothing is made yet.

    Raises:
        ConfigError: as ``require_writable_folder``, or a folder stands there.
    """
    if path.is_dir():
        raise ConfigError(f"{option} {path}: expected a file to write, this is a folder: give a name in it")
    require_writable_folder(path.parent, option=option)
