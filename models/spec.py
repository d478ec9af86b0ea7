"""What a model is: its features, its window, its labels and how far to trust it.

The card travels inside the model file, so that training and live audio cannot disagree about the input. All arithmetic
between seconds, samples and frames is here and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.errors import ModelFileError

FORMAT_VERSION: Final = 6
"""Version of the card's layout; a reader refuses a card with a higher number. Each adds to the one before: format 2
kinds of features other than log-mel, a second input, short windows, the decision on files; 3 what a head is given; 4
what people are shown of labels; 5 a temperature for whole files; 6 how to tell another piece (5 had a number for it in
each head, which is not read any more)."""

_WITH_SPREADS: Final = 5

Positive = Annotated[int, Field(gt=0)]
AboveZero = Annotated[float, Field(gt=0.0)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class _Spec(BaseModel):
    # Unknown keys are an error: a misspelt key must never silently mean "the default".
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FeatureSpec(_Spec):
    """How samples become frames; its subclasses say of what kind. Periodic Hann where there is a spectrum.

    Not centred, frame ``i`` covers samples ``[i * hop_samples, i * hop_samples + n_fft)``. Centred, it covers
    ``n_fft`` samples around ``i * hop_samples``, with zeros before the first sample and after the last.
    """

    kind: str
    sample_rate_hz: Annotated[int, Field(ge=8_000, le=192_000)]
    n_fft: Annotated[int, Field(ge=16)]
    hop_samples: Positive
    centred: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.hop_samples > self.n_fft:
            raise ValueError(f"expected hop_samples <= n_fft, got {self.hop_samples} and {self.n_fft}")
        if self.centred and self.hop_samples > self.n_fft // 2:
            # The first frame would be there before the first hop is.
            raise ValueError(
                f"expected hop_samples <= n_fft / 2 for centred frames, got {self.hop_samples} and {self.n_fft}"
            )
        return self

    @property
    def bands(self) -> int:
        """Numbers in one frame: the height of the network's input."""
        raise NotImplementedError

    @property
    def words(self) -> str:
        """What the numbers of a frame are, for people."""
        raise NotImplementedError

    @property
    def lead_samples(self) -> int:
        """Zeros that stand before the first sample."""
        return self.n_fft // 2 if self.centred else 0

    @property
    def seconds_per_frame(self) -> float:
        """Distance between two frames, in seconds."""
        return self.hop_samples / self.sample_rate_hz

    def frames_in(self, samples: int) -> int:
        """Number of frames that the first ``samples`` samples of a stream complete."""
        return max(0, (self.lead_samples + samples - self.n_fft) // self.hop_samples + 1)

    def samples_for(self, frames: int) -> int:
        """Number of samples from the start of a stream that complete its first ``frames`` frames."""
        return (frames - 1) * self.hop_samples + self.n_fft - self.lead_samples

    def frames_nearest(self, seconds: float) -> int:
        """``seconds`` as a number of frame hops, at least one."""
        return max(1, round(seconds / self.seconds_per_frame))


class _MelSpec(FeatureSpec):
    """Power spectrum, Slaney mel, logarithm of ``max(mel, floor)``."""

    n_mels: Positive
    fmin_hz: Annotated[float, Field(ge=0.0)] = 0.0
    fmax_hz: AboveZero
    floor: AboveZero = 1e-10

    @model_validator(mode="after")
    def _within_the_spectrum(self) -> Self:
        if not self.fmin_hz < self.fmax_hz <= self.sample_rate_hz / 2:
            raise ValueError(
                f"expected fmin_hz < fmax_hz <= sample_rate_hz / 2 = {self.sample_rate_hz / 2:g}, "
                f"got {self.fmin_hz:g} and {self.fmax_hz:g}"
            )
        return self


class LogMel(_MelSpec):
    """Mel bands of power, as ``log10`` or as decibels (ten times that; reference 1, nothing cut off at the bottom)."""

    kind: Literal["log-mel"] = "log-mel"
    unit: Literal["log10", "dB"] = "log10"

    @property
    def bands(self) -> int:
        """The mel bands."""
        return self.n_mels

    @property
    def words(self) -> str:
        """The bands and their range."""
        return f"{self.n_mels} mel bands from {self.fmin_hz:,g} to {self.fmax_hz:,g} Hz"

    @property
    def per_decibel(self) -> float:
        """What one decibel is in the frames' unit."""
        return 1.0 if self.unit == "dB" else 0.1


class Mfcc(_MelSpec):
    """The first ``n_mfcc`` coefficients of the orthonormal DCT-II over mel bands in decibels."""

    kind: Literal["mfcc"] = "mfcc"
    n_mfcc: Positive

    @model_validator(mode="after")
    def _no_more_than_bands(self) -> Self:
        if self.n_mfcc > self.n_mels:
            raise ValueError(f"expected n_mfcc <= n_mels, got {self.n_mfcc} and {self.n_mels}")
        return self

    @property
    def bands(self) -> int:
        """The coefficients."""
        return self.n_mfcc

    @property
    def words(self) -> str:
        """The coefficients and what they sum up."""
        return f"{self.n_mfcc} cepstral coefficients of {self.n_mels} mel bands"


class Magnitude(FeatureSpec):
    """Magnitude of the short-time Fourier transform."""

    kind: Literal["stft"] = "stft"

    @property
    def bands(self) -> int:
        """The bins from 0 Hz to half the rate."""
        return self.n_fft // 2 + 1

    @property
    def words(self) -> str:
        """The bins."""
        return f"{self.bands:,} spectral magnitudes"


class Raw(FeatureSpec):
    """The samples themselves: frame ``i`` is the ``i``-th run of ``hop_samples`` samples."""

    kind: Literal["raw"] = "raw"

    @model_validator(mode="after")
    def _side_by_side(self) -> Self:
        if self.n_fft != self.hop_samples or self.centred:
            raise ValueError(
                f"expected raw frames side by side (n_fft == hop_samples, not centred), "
                f"got {self.n_fft}, {self.hop_samples} and centred={self.centred}"
            )
        return self

    @property
    def bands(self) -> int:
        """The samples of a frame."""
        return self.hop_samples

    @property
    def words(self) -> str:
        """The samples."""
        return f"{self.bands:,} samples"


AnyFeatureSpec = Annotated[LogMel | Mfcc | Magnitude | Raw, Field(discriminator="kind")]


class WindowSpec(_Spec):
    """How many frames of each input the network sees at once, and how many pass between two looks.

    ``short`` says what becomes of audio that does not fill a window: ``wait`` until it does, or ``tile`` what there is
    over and over, as the network's training did.
    """

    frames: Positive
    hop_frames: Positive
    short: Literal["wait", "tile"] = "wait"


class FileDecision(_Spec):
    """How a whole recording is judged: from which windows, and by which rule.

    ``windows``: one every hop as live audio is heard (``hop``); the ``first`` alone; side by side from the beginning,
    or overlapping by the share ``overlap`` (``consecutive``); at ``random`` places, each made of ``slices`` equal
    pieces from different places. ``count`` windows at most, 0 for all there are; random ones need a number.
    ``rule``: the label of the greatest ``mean`` or ``sum`` of the windows' probabilities (one label, two scales), or
    the ``majority`` of the windows' labels, ties broken by the mean.
    """

    windows: Literal["hop", "first", "consecutive", "random"] = "hop"
    count: Annotated[int, Field(ge=0)] = 0
    overlap: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    slices: Positive = 1
    rule: Literal["mean", "sum", "majority"] = "mean"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.windows == "random" and not self.count:
            raise ValueError("expected a count of random windows, got 0")
        if self.overlap and self.windows != "consecutive":
            raise ValueError("overlap goes with consecutive windows")
        if self.slices > 1 and self.windows != "random":
            raise ValueError("slices go with random windows")
        return self


class Given(_Spec):
    """What must be so for a question to mean anything: that another ``head`` answers ``label``."""

    head: str
    label: str


def _shown(label: str, titles: Mapping[str, str]) -> str:
    """Without a title, with blanks for underscores."""
    return titles.get(label, label.replace("_", " "))


class Head(_Spec):
    """One question the network answers, with how its answers are to be read.

    ``temperature`` divides the logits before the softmax (Guo et al. 2017); ``file_temperature`` does so once more with
    the mean of a whole file's windows, whose averaging takes confidence away. ``enter`` and ``leave`` are the smoothed
    probabilities at which a label becomes decided and at which it is given up. ``given`` says of which sound the
    question is: of speech no genre is asked. ``titles`` are what people are shown of labels: R&B of ``rnb``.
    """

    name: Annotated[str, Field(min_length=1)]
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    titles: dict[str, Annotated[str, Field(min_length=1)]] = {}
    temperature: AboveZero = 1.0
    file_temperature: AboveZero = 1.0
    enter: Probability = 0.5
    leave: Probability = 0.35
    given: Given | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError(f"expected distinct labels, got {list(self.labels)}")
        if self.leave > self.enter:
            raise ValueError(f"expected leave <= enter, got leave {self.leave:g} and enter {self.enter:g}")
        if unknown := sorted(set(self.titles) - set(self.labels)):
            raise ValueError(f"expected titles of {', '.join(self.labels)}, got one of {', '.join(unknown)}")
        shown = [self.shown(label) for label in self.labels]
        if self.titles and len(set(shown)) != len(shown):
            raise ValueError(f"expected labels to be shown by different words, got {shown}")
        return self

    def shown(self, label: str) -> str:
        """A label as people are shown it."""
        return _shown(label, self.titles)


class NoveltySpec(_Spec):
    """How to tell another piece from the same one, by how far the answers of ``heads`` have moved.

    Of a difference ``d`` between their scores (``models.novelty``), one head's after the other's, the logarithm of how
    much likelier it is between two pieces than within one is ``(d @ weights @ d - bias) / 2``: of two normal
    distributions about nothing.
    """

    heads: Annotated[tuple[str, ...], Field(min_length=1)]
    weights: tuple[tuple[float, ...], ...]
    bias: float


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

    ``inputs`` has one FeatureSpec for each input of the network; their frames keep step, so that one count of frames is
    the window of all. ``heads[0]`` is the question whose answer is the verdict. ``metrics`` are figures measured under
    ``provenance.protocol``; ``decision`` is how the recipe judges a file. Without ``novelty`` the running vote forgets
    by its half-life alone.
    """

    format_version: Literal[6] = FORMAT_VERSION
    name: Annotated[str, Field(min_length=1)]
    description: str
    architecture: Architecture
    inputs: Annotated[tuple[AnyFeatureSpec, ...], Field(min_length=1, max_length=2)]
    normalisation: str
    window: WindowSpec
    heads: Annotated[tuple[Head, ...], Field(min_length=1)]
    novelty: NoveltySpec | None = None
    decision: FileDecision = FileDecision()
    provenance: Provenance
    metrics: dict[str, float] = {}

    @model_validator(mode="after")
    def _one_of_a_name(self) -> Self:
        names = [head.name for head in self.heads]
        if len(set(names)) != len(names):
            raise ValueError(f"expected heads of different names, got {names}")
        return self

    @model_validator(mode="after")
    def _shown_alike(self) -> Self:
        for head in self.heads:
            for label in head.labels:
                words = {other.shown(label) for other in self.heads if label in other.labels}
                if len(words) > 1:
                    raise ValueError(f"expected {label} to be shown alike by all heads, got {sorted(words)}")
        return self

    @model_validator(mode="after")
    def _given_by_others(self) -> Self:
        labels = {head.name: head.labels for head in self.heads if head.given is None}
        for head in self.heads:
            if head.given is not None and head.given.label not in labels.get(head.given.head, ()):
                raise ValueError(
                    f"expected {head.name} to be given a label of a head that is asked of all sound, {labels}, "
                    f"got {head.given.head}={head.given.label}"
                )
        return self

    @model_validator(mode="after")
    def _new_to_its_heads(self) -> Self:
        if self.novelty is None:
            return self
        labels = {head.name: len(head.labels) for head in self.heads}
        if unknown := [name for name in self.novelty.heads if name not in labels]:
            raise ValueError(f"expected novelty by heads of the model ({', '.join(labels)}), got {', '.join(unknown)}")
        scores = sum(labels[name] for name in self.novelty.heads)
        shape = (len(self.novelty.weights), *{len(row) for row in self.novelty.weights})
        if shape != (scores, scores):
            raise ValueError(f"expected novelty with {scores} x {scores} weights for its heads' labels, got {shape}")
        return self

    @model_validator(mode="after")
    def _in_step(self) -> Self:
        grids = {(spec.sample_rate_hz, spec.hop_samples, spec.samples_for(1)) for spec in self.inputs}
        if len(grids) > 1:
            raise ValueError(
                "expected inputs whose frames keep step (the same rate, hop and end of the first frame), "
                f"got (Hz, samples, samples) {sorted(grids)}"
            )
        return self

    @property
    def clock(self) -> FeatureSpec:
        """The input that answers for rate, hop and frame count: they are the same for all inputs."""
        return self.inputs[0]

    @property
    def head(self) -> Head:
        """The head whose answer is the verdict."""
        return self.heads[0]

    @property
    def instead(self) -> tuple[str, ...]:
        """What may be heard in place of the sound that the first head is for: speech, where it is for music."""
        given = self.head.given
        if given is None:
            return ()
        (labels,) = (head.labels for head in self.heads if head.name == given.head)
        return tuple(label for label in labels if label != given.label)

    @property
    def titles(self) -> dict[str, str]:
        """What people are shown of labels of all heads, where it is another word."""
        return {label: title for head in self.heads for label, title in head.titles.items()}

    def shown(self, label: str) -> str:
        """A label of any head as people are shown it."""
        return _shown(label, self.titles)

    @property
    def input_shapes(self) -> tuple[tuple[int, int], ...]:
        """Shape of one window of each input: ``(bands, frames)``, frequency x time."""
        return tuple((spec.bands, self.window.frames) for spec in self.inputs)

    @property
    def hears(self) -> str:
        """The inputs in words: ``40 mel bands from 0 to 11,025 Hz x 80 frames of 22,050 Hz audio``."""
        inputs = " and ".join(f"{spec.words} x {self.window.frames} frames" for spec in self.inputs)
        return f"{inputs} of {self.clock.sample_rate_hz:,} Hz audio"

    @property
    def window_samples(self) -> int:
        """Samples that must have been heard for one whole window."""
        return self.clock.samples_for(self.window.frames)

    @property
    def window_seconds(self) -> float:
        """Seconds that must have been heard for one whole window."""
        return self.window_samples / self.clock.sample_rate_hz

    @property
    def hop_seconds(self) -> float:
        """Seconds between two looks, if the user says nothing else."""
        return self.window.hop_frames * self.clock.seconds_per_frame

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
        if not 1 <= version <= FORMAT_VERSION:
            raise ModelFileError(
                f"the model's card has format {version}, this genrescope reads 1 to {FORMAT_VERSION}: "
                "upgrade genrescope or export the model again"
            )
        if version == _WITH_SPREADS and isinstance(fields.get("heads"), list):
            fields["heads"] = [_without_spread(head) for head in fields["heads"]]
        try:
            return cls.model_validate_json(json.dumps({**fields, "format_version": FORMAT_VERSION}))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "card"
            raise ModelFileError(f"the model's card is not valid at {where!r}: {first['msg']}") from error


def _without_spread(head: Any) -> Any:
    return {key: value for key, value in head.items() if key != "spread"} if isinstance(head, dict) else head
