"""Features of every track, computed once and kept on disk.

They come from ``models.audio`` and ``models.frontend``, the very code that live audio runs. An entry is an .npz file,
because its zip container carries a checksum: a damaged entry is noticed and made again. Values stay float32, as the
network gets them live; half precision would save 100 MB a thousand tracks and cost a second, slightly different truth.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models import audio, frontend
from models.errors import AudioError, DatasetError
from models.spec import FeatureSpec
from train.atomic_write import replacing
from train.progress import track_progress

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """Features (frames, n_mels) by file, and the sentence on each file that could not be used."""

    features: dict[Path, FloatArray]
    skipped: dict[Path, str]


class FeatureCache:
    """A folder of features for one ``FeatureSpec``; safe to share between runs and to delete."""

    def __init__(self, folder: Path, spec: FeatureSpec) -> None:
        self.folder = folder
        self.spec = spec

    def entry(self, path: Path) -> Path:
        """Where the features of an audio file are kept: another name once the file, the spec or our code changes."""
        stat = path.stat()
        key = "\n".join(
            (
                str(path.resolve()),
                str(stat.st_size),
                str(stat.st_mtime_ns),
                self.spec.model_dump_json(),
                _code_version(),
            )
        )
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"

    def read(self, path: Path) -> FloatArray | None:
        """The kept features (frames, n_mels); None if there are none, or only a damaged entry."""
        try:
            with np.load(self.entry(path), allow_pickle=False) as archive:
                features: FloatArray = archive["features"]
        except (FileNotFoundError, zipfile.BadZipFile, KeyError, ValueError, EOFError):
            return None
        whole = features.dtype == np.float32 and features.ndim == 2 and features.shape[1] == self.spec.bands
        return features if whole else None

    def compute(self, path: Path) -> FloatArray:
        """Decode a file, compute its features (frames, n_mels) and keep them.

        Raises:
            AudioError: the file does not decode.
        """
        features = frontend.features(audio.load(path, self.spec.sample_rate_hz), self.spec)
        with replacing(self.entry(path)) as temporary, temporary.open("wb") as file:
            np.savez(file, features=features)
        return features

    def load_all(self, paths: Sequence[Path], *, min_frames: int, workers: int = 2) -> FeatureSet:
        """Features of all files, from disk or computed by ``workers`` processes (0: in this one).

        Files that do not decode or are shorter than ``min_frames`` are skipped, with the reason.

        Raises:
            DatasetError: no file at all could be used.
        """
        found = {path: self.read(path) for path in paths}
        features = {path: values for path, values in found.items() if values is not None}
        skipped: dict[Path, str] = {}
        todo = [path for path, values in found.items() if values is None]
        for path, outcome in track_progress(self._outcomes(todo, workers), total=len(todo), title="features"):
            if isinstance(outcome, str):
                skipped[path] = outcome
            else:
                features[path] = outcome
        for path in [path for path, values in features.items() if len(values) < min_frames]:
            seconds = self.spec.samples_for(min_frames) / self.spec.sample_rate_hz
            skipped[path] = f"{path}: shorter than one window of {seconds:.2f} s"
            del features[path]
        if not features:
            raise DatasetError(
                f"none of {len(paths)} audio files can be used: {next(iter(skipped.values()), 'no file')}"
            )
        return FeatureSet(features, skipped)

    def _outcomes(self, paths: Sequence[Path], workers: int) -> Iterator[tuple[Path, FloatArray | str]]:
        if workers < 1 or len(paths) < 2:
            for path in paths:
                yield path, self._compute_or_reason(path)
            return
        # Spawned, not forked: a fork of a process with torch's threads may hang.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(max_workers=workers, mp_context=context) as pool:
            futures = {pool.submit(self._compute_or_reason, path): path for path in paths}
            try:
                for future in as_completed(futures):
                    yield futures.pop(future), future.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _compute_or_reason(self, path: Path) -> FloatArray | str:
        try:
            return self.compute(path)
        except AudioError as error:
            return str(error)


@cache
def _code_version() -> str:
    """Changes with the code that makes features, so that no run trains on what live audio no longer computes."""
    sources = (Path(str(module.__file__)).read_bytes() for module in (audio, frontend))
    return hashlib.sha256(b"".join(sources)).hexdigest()
