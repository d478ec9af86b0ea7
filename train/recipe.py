"""What a recipe is: every setting that makes a model out of tracks, in one checked and printable object.

Each paper's file ``train/recipe_*.py`` says which values are the paper's and which are ours.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt

from models.spec import AnyFeatureSpec, Architecture, FileDecision, Head, LogMel, ModelCard, Provenance, WindowSpec
from train.augment import Augmentation

Places = Literal["random", "consecutive", "first"]
Optimiser = Literal["sgd", "momentum", "adam", "adamw"]
Schedule = Literal["constant", "exponential", "cyclical", "one-cycle"]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Portion = Annotated[float, Field(ge=0.0, le=1.0)]

LIBROSA_LOG_MEL = LogMel(
    sample_rate_hz=22_050, n_fft=2048, hop_samples=512, centred=True, n_mels=128, fmax_hz=11_025, unit="dB"
)
"""librosa's defaults in decibels of power, but for what librosa cuts off at the bottom."""


AUGMENTATIONS: Final = (
    "random_gain_db",
    "equaliser_db",
    "room",
    "behind",
    "noise",
    "bandwidth",
    "small_speaker",
    "masks",
    "mixup",
)
"""Settings of a recipe that change its training windows."""


@dataclass(frozen=True, slots=True)
class Paper:
    """Where a recipe comes from, and what its authors reported under which protocol ("" where they did not)."""

    citation: str
    reported: str
    protocol: str


class Recipe(BaseModel):
    """Settings common to all recipes; every one can be replaced by ``--set KEY=VALUE``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    paper: ClassVar[Paper | None]
    """None of our own."""
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
    """Shifts the level of each random segment by up to so many decibels either way; off in every paper, as what
    follows is (see ``train.augment``)."""
    codecs: Portion = 0.0
    """Share of the random segments that are cut from what a lossy codec leaves of their track."""
    equaliser_db: Annotated[float, Field(ge=0.0, le=20.0)] = 0.0
    room: Portion = 0.0
    behind: Portion = 0.0
    noise: Portion = 0.0
    bandwidth: Portion = 0.0
    small_speaker: Portion = 0.0
    masks: Annotated[int, Field(ge=0, le=4)] = 0
    mixup: Annotated[float, Field(ge=0.0, le=4.0)] = 0.0

    other_heads: Annotated[float, Field(ge=0.0)] = 1.0
    """What the loss of questions other than the first counts for, beside the first's."""
    teacher: Annotated[float, Field(ge=0.0)] = 1.0
    """What the squared error from a teacher, if there is one, counts for, beside the first question's loss."""
    soft_targets: Portion = 0.0
    """Share of what a window's labels count for that goes to what the teacher, if there is one, would answer (see
    ``train.soft_targets``)."""
    balance: Portion = 0.0
    """How far a rare label counts for more, in the loss and in what soft targets are learned from: 0 not at all, 1 as
    much as a frequent one altogether. Shares of raters are learned as they are."""
    optimiser: Optimiser
    weight_decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Of adamw: weights shrink by this share, times the learning rate, at every step."""
    learning_rate: PositiveFloat
    schedule: Schedule = "constant"
    """``cyclical`` goes up and down between a tenth of the learning rate and the rate itself (Smith 2017)."""
    decay: Annotated[float, Field(gt=0.0, le=1.0)] = 0.98
    """With the exponential schedule, what the learning rate is multiplied by after each epoch."""
    batch_size: PositiveInt
    epochs: PositiveInt
    average: Share = 0.0
    """Of the weights over the steps, forgetting so slowly at each (0.999): what is tested and exported; 0: the last."""
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

    @property
    def augmentation(self) -> Augmentation | None:
        """What is done to training windows; None: nothing."""
        (spec, *_) = self.inputs
        settings: dict[str, Any] = {name: getattr(self, name) for name in AUGMENTATIONS}
        if not any(settings.values()) or not isinstance(spec, LogMel):
            return None
        return Augmentation(spec, gain_db=settings.pop("random_gain_db"), **settings)

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
        if self.codecs and self.segments != "random":
            raise ValueError("codecs goes with random segments")
        asked = [name for name in AUGMENTATIONS if getattr(self, name)]
        if self.segments != "random" and (asked or self.slices > 1):
            raise ValueError(f"{', '.join(asked) or 'slices'}: goes with random segments")
        if asked and not (len(self.inputs) == 1 and isinstance(self.inputs[0], LogMel)):
            raise ValueError(f"{', '.join(asked)}: goes with mel bands as the one input")
        if self.weight_decay and self.optimiser != "adamw":
            raise ValueError(f"weight_decay goes with optimiser=adamw, not {self.optimiser}")
        if self.overlap and self.segments != "consecutive":
            raise ValueError("overlap goes with consecutive segments")
        if self.window_spec.frames % self.slices:
            raise ValueError(f"a window of {self.window_spec.frames} frames cannot be made of {self.slices} slices")
