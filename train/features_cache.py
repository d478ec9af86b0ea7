"""Features of every track, computed once and kept on disk.

They come from ``models.audio`` and ``models.frontend``, the very code that live audio runs. Values stay float32, as the
network gets them live; half precision would halve the disk and cost a second, slightly different truth.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models import audio, frontend
from models import recode as recode_module
from models.errors import DatasetError
from models.recode import Recoding, recode
from models.spec import FeatureSpec
from train.array_cache import ArrayCache

FloatArray = npt.NDArray[np.float32]

_SAMPLES_AT_ONCE = 1 << 18
"""Samples through the front end at once: 1 MB, and 8 MB of STFT magnitudes."""


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """Features (frames, bands) by file, read-only views of what lies on disk, and why each other file is not used."""

    features: Mapping[Path, FloatArray]
    skipped: dict[Path, str]


@dataclass(frozen=True, slots=True)
class Features:
    """Makes the features of a file, or of what is left of it after a ``recoding``, as ``train.array_cache.Maker``."""

    spec: FeatureSpec
    recoding: Recoding | None = None

    @property
    def identity(self) -> str:
        """The spec, our code and, if there is one, the recoding."""
        original = f"{self.spec.model_dump_json()}\n{_code_version()}"
        if self.recoding is None:
            return original
        recoder = hashlib.sha256(Path(str(recode_module.__file__)).read_bytes()).hexdigest()
        return f"{original}\n{self.recoding}\n{recoder}"

    @property
    def columns(self) -> int:
        """Bands of a frame."""
        return self.spec.bands

    @property
    def dtype(self) -> npt.DTypeLike:
        """As the network gets them."""
        return np.float32

    def pieces(self, path: Path) -> Iterator[FloatArray]:
        """Frames (n, bands), some at a time.

        Raises:
            AudioError: the file does not decode.
        """
        front_end = frontend.FrontEnd(self.spec)
        rate_hz = self.spec.sample_rate_hz
        pieces = mono_pieces(path, rate_hz, at_least=_SAMPLES_AT_ONCE)
        if self.recoding is not None:
            # A piece by itself would begin with the codec's delay.
            whole = np.concatenate(list(pieces))
            pieces = iter([recode(whole, rate_hz, codec=self.recoding.codec, kbit_s=self.recoding.kbit_s)])
        for samples in pieces:
            yield front_end.feed(samples)
        yield front_end.finish()


class FeatureCache:
    """A folder of features for one ``FeatureSpec``, perhaps after a ``recoding``; safe to share between runs that go on
    at once, and to delete."""

    def __init__(self, folder: Path, spec: FeatureSpec, recoding: Recoding | None = None) -> None:
        self.spec = spec
        self._arrays = ArrayCache(folder, Features(spec, recoding))
        self._title = f"features ({recoding.codec}, {recoding.kbit_s} kbit/s)" if recoding else "features"

    @property
    def folder(self) -> Path:
        """Where the features of this spec are: another folder once the spec or our code changes."""
        return self._arrays.folder

    def load_all(self, paths: Sequence[Path], *, min_frames: int, workers: int = 2) -> FeatureSet:
        """Features of all files, from disk or computed by ``workers`` processes (0: in this one).

        Files that do not decode or are shorter than ``min_frames`` are skipped, with the reason.

        Raises:
            DatasetError: no file at all could be used, the disk is full, or a worker was killed.
        """
        arrays, skipped = self._arrays.load_all(paths, workers=workers, title=self._title)
        seconds = self.spec.samples_for(min_frames) / self.spec.sample_rate_hz
        short = {path for path in arrays if arrays.rows(path) < min_frames}
        skipped |= {path: f"{path}: shorter than {seconds:.2f} s, the least that is used" for path in sorted(short)}
        arrays = arrays.without(short)
        if not arrays:
            raise DatasetError(
                f"none of {len(paths)} audio files can be used: {next(iter(skipped.values()), 'no file')}"
            )
        return FeatureSet(arrays, skipped)


def mono_pieces(path: Path, sample_rate_hz: int, *, at_least: int) -> Iterator[FloatArray]:
    """A file as ``audio.load`` gives it, ``at_least`` so many samples at a time (the last piece may be shorter).

    Raises:
        AudioError: the file does not decode.
    """
    with audio.Decoder(path) as decoder:
        resampler = audio.Resampler(decoder.sample_rate_hz, sample_rate_hz)
        waiting: list[FloatArray] = []
        count = 0
        for samples, _ in decoder:
            waiting.append(resampler.feed(samples))
            count += len(waiting[-1])
            if count >= at_least:
                yield np.concatenate(waiting)
                waiting, count = [], 0
        yield np.concatenate([*waiting, resampler.flush()])


@cache
def _code_version() -> str:
    """Changes with the code that makes features, so that no run trains on what live audio no longer computes."""
    sources = (Path(str(module.__file__)).read_bytes() for module in (audio, frontend))
    return hashlib.sha256(b"".join(sources)).hexdigest()
