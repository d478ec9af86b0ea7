"""What a model is: its features, its window, its labels and how far to trust it.

The card travels inside the model file, so that training and live audio cannot disagree about the input. All arithmetic
between seconds, samples and frames is here and nowhere else.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.errors import ModelFileError

FORMAT_VERSION: Final = 1
"""Version of the card's layout; a reader refuses a card with a higher number."""

Positive = Annotated[int, Field(gt=0)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class _Spec(BaseModel):
    # Unknown keys are an error: a misspelt key must never silently mean "the default".
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FeatureSpec(_Spec):
    """How samples become frames. No centring, periodic Hann, power spectrum, Slaney mel, ``log10(max(mel, floor))``.

    A frame ``i`` covers samples ``[i * hop_samples, i * hop_samples + n_fft)``.
    """

    kind: Literal["log-mel"] = "log-mel"
    sample_rate_hz: Annotated[int, Field(ge=8_000, le=192_000)]
    n_fft: Annotated[int, Field(ge=16)]
    hop_samples: Positive
    n_mels: Positive
    fmin_hz: Annotated[float, Field(ge=0.0)] = 0.0
    fmax_hz: Annotated[float, Field(gt=0.0)]
    floor: Annotated[float, Field(gt=0.0)] = 1e-10

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.fmin_hz < self.fmax_hz <= self.sample_rate_hz / 2:
            raise ValueError(
                f"expected fmin_hz < fmax_hz <= sample_rate_hz / 2 = {self.sample_rate_hz / 2:g}, "
                f"got {self.fmin_hz:g} and {self.fmax_hz:g}"
            )
        if self.hop_samples > self.n_fft:
            raise ValueError(f"expected hop_samples <= n_fft, got {self.hop_samples} and {self.n_fft}")
        return self

    @property
    def seconds_per_frame(self) -> float:
        """Distance between two frames, in seconds."""
        return self.hop_samples / self.sample_rate_hz

    def frames_in(self, samples: int) -> int:
        """Number of whole frames in ``samples`` samples."""
        return max(0, (samples - self.n_fft) // self.hop_samples + 1)

    def samples_for(self, frames: int) -> int:
        """Number of samples that ``frames`` consecutive frames cover."""
        return (frames - 1) * self.hop_samples + self.n_fft

    def frames_nearest(self, seconds: float) -> int:
        """``seconds`` as a number of frame hops, at least one."""
        return max(1, round(seconds / self.seconds_per_frame))


class WindowSpec(_Spec):
    """How many frames the network sees at once, and how many pass between two looks."""

    frames: Positive
    hop_frames: Positive


class Head(_Spec):
    """One question the network answers, with how its answers are to be read.

    ``temperature`` divides the logits before the softmax (Guo et al. 2017). ``enter`` and ``leave`` are the smoothed
    probabilities at which a label becomes decided and at which it is given up.
    """

    name: Annotated[str, Field(min_length=1)]
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    temperature: Annotated[float, Field(gt=0.0)] = 1.0
    enter: Probability = 0.5
    leave: Probability = 0.35

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError(f"expected distinct labels, got {list(self.labels)}")
        if self.leave > self.enter:
            raise ValueError(f"expected leave <= enter, got leave {self.leave:g} and enter {self.enter:g}")
        return self


class Architecture(_Spec):
    """Which network the weights belong to: a name known to ``models.architectures`` and its settings."""

    name: Annotated[str, Field(min_length=1)]
    settings: dict[str, int | float | str] = {}


class Provenance(_Spec):
    """Where the weights come from: enough to make them again, and to know what one may do with them."""

    data: str
    protocol: str
    epochs: Annotated[int, Field(ge=0)]
    seed: int
    commit: str
    licence: str


class ModelCard(_Spec):
    """The contract of one model file.

    ``inputs`` has one FeatureSpec for each input of the network (one, in format 1); ``heads[0]`` is the question whose
    answer is the verdict. ``metrics`` are figures measured under ``provenance.protocol``.
    """

    format_version: Literal[1] = FORMAT_VERSION
    name: Annotated[str, Field(min_length=1)]
    description: str
    architecture: Architecture
    inputs: Annotated[tuple[FeatureSpec, ...], Field(min_length=1, max_length=1)]
    normalisation: str
    window: WindowSpec
    heads: Annotated[tuple[Head, ...], Field(min_length=1)]
    provenance: Provenance
    metrics: dict[str, float] = {}

    @property
    def features(self) -> FeatureSpec:
        """The features of the network's input."""
        return self.inputs[0]

    @property
    def head(self) -> Head:
        """The head whose answer is the verdict."""
        return self.heads[0]

    @property
    def input_shape(self) -> tuple[int, int]:
        """Shape of one window: ``(n_mels, frames)``, frequency x time."""
        return (self.features.n_mels, self.window.frames)

    @property
    def window_samples(self) -> int:
        """Samples that one window covers."""
        return self.features.samples_for(self.window.frames)

    @property
    def window_seconds(self) -> float:
        """Seconds that one window covers."""
        return self.window_samples / self.features.sample_rate_hz

    def to_json(self) -> str:
        """The card as the JSON text stored in the model file."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a card.

        Raises:
            ModelFileError: not JSON, of a newer format, or with a missing, unknown or impossible value.
        """
        try:
            fields: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelFileError(f"the model's card is not JSON: {error}") from error
        version = fields.get("format_version") if isinstance(fields, dict) else None
        if not isinstance(version, int) or isinstance(version, bool):
            raise ModelFileError(
                f"the model's card has no format_version; expected a whole number up to {FORMAT_VERSION}"
            )
        if version > FORMAT_VERSION:
            raise ModelFileError(
                f"the model's card has format {version}, this genrescope reads up to {FORMAT_VERSION}: "
                "upgrade genrescope or export the model again"
            )
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "card"
            raise ModelFileError(f"the model's card is not valid at {where!r}: {first['msg']}") from error
