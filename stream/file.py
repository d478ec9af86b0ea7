"""Any file that FFmpeg decodes, played by the clock or as fast as it can be scored."""

from __future__ import annotations

import math
from collections.abc import Generator
from pathlib import Path

from models.audio import Decoder
from models.errors import AudioError, SourceAddressError, SourceError
from stream.pace import play
from stream.source import Chunk
from stream.threaded_source import Run, ThreadedSource


class AudioFile(ThreadedSource):
    """A file, once through. ``speed`` is a factor of real time, or ``MAX_SPEED``: then it is not live."""

    def __init__(self, path: Path | str, *, speed: float = 1.0) -> None:
        super().__init__(str(path), name=Path(path).name, live=math.isfinite(speed), finite=True)
        self._path = Path(path)
        self._speed = speed

    def _produce(self, run: Run) -> Generator[Chunk]:
        heard = False
        try:
            with Decoder(self._path) as decoder:
                self.sample_rate_hz = decoder.sample_rate_hz
                for chunk in play(decoder, run, sample_rate_hz=decoder.sample_rate_hz, speed=self._speed):
                    heard = True
                    yield chunk
        except AudioError as error:
            raise (SourceError if heard else SourceAddressError)(str(error)) from error
