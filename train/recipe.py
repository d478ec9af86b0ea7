"""What a recipe is: every setting that makes a model out of tracks, in one checked and printable object.

Each paper's file ``train/recipe_*.py`` says which values are the paper's and which are ours.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt

from models.spec import AnyFeatureSpec, Architecture, FileDecision, Head, LogMel, ModelCard, Provenance, WindowSpec

Places = Literal["random", "consecutive", "first"]
Optimiser = Literal["sgd", "momentum", "adam"]
Schedule = Literal["constant", "exponential", "cyclical", "one-cycle"]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]

LIBROSA_LOG_MEL = LogMel(
    sample_rate_hz=22_050, n_fft=2048, hop_samples=512, centred=True, n_mels=128, fmax_hz=11_025, unit="dB"
)
"""librosa's defaults in decibels of power, but for what librosa cuts off at the bottom."""


@dataclass(frozen=True, slots=True)
class Paper:
    """Where a recipe comes from, and what its authors reported under which protocol ("" where they did not)."""

    citation: str
    reported: str
    protocol: str


class Recipe(BaseModel):
    """Settings common to all recipes; every one can be replaced by ``--set KEY=VALUE``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    paper: ClassVar[Paper]
    variants: ClassVar[tuple[Mapping[str, str | int | float], ...]] = ({},)
    """Settings worth a line of their own in the list of recipes; the first are the recipe's defaults."""

    architecture: str
    hop_frames: PositiveInt
    """Frames between two live windows."""
    segments: Places
    """Where training windows come from: random places, drawn anew in each epoch; one after the other; the first."""
    segments_per_file: NonNegativeInt
    """Training windows of a file in each epoch; 0: as many as there are (not for random ones)."""
    overlap: Share = 0.0
    """Share that consecutive windows have in common with the one before."""
    slices: PositiveInt = 1
    """Pieces, from random places of one file, that are joined in time to make a window."""
    random_gain_db: Annotated[float, Field(ge=0.0, le=60.0)] = 0.0
    """Shifts the level of each random segment by up to so many decibels either way; off in every paper."""

    other_heads: Annotated[float, Field(ge=0.0)] = 1.0
    """What the loss of questions other than the first counts for, beside the first's."""
    optimiser: Optimiser
    learning_rate: PositiveFloat
    schedule: Schedule = "constant"
    """``cyclical`` goes up and down between a tenth of the learning rate and the rate itself (Smith 2017)."""
    decay: Annotated[float, Field(gt=0.0, le=1.0)] = 0.98
    """With the exponential schedule, what the learning rate is multiplied by after each epoch."""
    batch_size: PositiveInt
    epochs: PositiveInt
    patience: NonNegativeInt = 0
    """Stop after so many epochs in which the loss of the validation files has not become less; 0: train to the end."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """bf16-mixed rounds inside the layers and is up to twice as fast where the processor has it; 16-mixed: GPUs."""

    @property
    @abstractmethod
    def inputs(self) -> tuple[AnyFeatureSpec, ...]:
        """The features that the network takes, one spec an input."""

    @property
    @abstractmethod
    def window_spec(self) -> WindowSpec:
        """The frames that the network sees at once."""

    @property
    @abstractmethod
    def window_s(self) -> float:
        """Length of a window as the paper counts it, in seconds."""

    @property
    def architecture_spec(self) -> Architecture:
        """The network as a model card names it."""
        return Architecture(name=self.architecture)

    @property
    @abstractmethod
    def normalisation(self) -> str:
        """What the network does to its features first, in words."""

    @property
    @abstractmethod
    def decision(self) -> FileDecision:
        """How a file is judged."""

    def card(self, *, name: str, heads: tuple[Head, ...], provenance: Provenance, description: str = "") -> ModelCard:
        """The card of the recipe's network, not measured yet."""
        return ModelCard(
            name=name,
            description=description,
            architecture=self.architecture_spec,
            inputs=self.inputs,
            normalisation=self.normalisation,
            window=self.window_spec,
            heads=heads,
            decision=self.decision,
            provenance=provenance,
        )

    def check(self) -> None:
        """Refuse settings that contradict each other.

        Raises:
            ValueError: with the reason.
        """
        if self.segments == "random" and not self.segments_per_file:
            raise ValueError("random segments need a number of segments_per_file, got 0")
        if self.segments != "random" and (self.random_gain_db or self.slices > 1):
            raise ValueError("random_gain_db and slices go with random segments")
        if self.random_gain_db and not all(isinstance(spec, LogMel) for spec in self.inputs):
            raise ValueError("random_gain_db goes with mel bands")
        if self.overlap and self.segments != "consecutive":
            raise ValueError("overlap goes with consecutive segments")
        if self.window_spec.frames % self.slices:
            raise ValueError(f"a window of {self.window_spec.frames} frames cannot be made of {self.slices} slices")
