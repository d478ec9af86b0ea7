"""genrescope-base, our own network; it is in ``models.base``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from models.spec import Architecture, FileDecision, LogMel, WindowSpec
from train.recipe import Optimiser, Places, Portion, Recipe, Schedule, Share


class BaseRecipe(Recipe):
    """Settings chosen by one fold of our data, see ``benchmarks/base.py``.

    16 kHz, because above 8 kHz a recording tells more of its codec than of its music; frames of 64 ms every 20 ms.
    """

    paper: ClassVar = None

    architecture: Literal["base"]
    width: Annotated[int, Field(ge=4, le=64)] = 16
    """Maps of the first layer, see ``models.base``."""
    embedding: Annotated[int, Field(ge=16, le=1024)] = 512
    dropout: Share = 0.3
    n_mels: Annotated[int, Field(ge=16, le=128)] = 80
    hop_frames: PositiveInt = 17
    segments: Places = "random"
    segments_per_file: NonNegativeInt = 8
    random_gain_db: Annotated[float, Field(ge=0.0, le=60.0)] = 10.0
    equaliser_db: Annotated[float, Field(ge=0.0, le=20.0)] = 3.0
    room: Portion = 0.25
    behind: Portion = 0.2
    noise: Portion = 0.2
    bandwidth: Portion = 0.2
    small_speaker: Portion = 0.25
    teacher: Annotated[float, Field(ge=0.0)] = 16.0
    soft_targets: Portion = 0.5
    balance: Portion = 0.65
    optimiser: Optimiser = "adamw"
    learning_rate: PositiveFloat = 3e-3
    weight_decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.05
    schedule: Schedule = "one-cycle"
    batch_size: PositiveInt = 64
    epochs: PositiveInt = 24

    @property
    def inputs(self) -> tuple[LogMel]:
        """Log10 mel bands up to 8 kHz."""
        return (
            LogMel(sample_rate_hz=16_000, n_fft=1024, hop_samples=320, n_mels=self.n_mels, fmax_hz=8_000, floor=1e-6),
        )

    @property
    def window_spec(self) -> WindowSpec:
        """2.8 seconds."""
        return WindowSpec(frames=138, hop_frames=self.hop_frames)

    @property
    def window_s(self) -> float:
        """From the first sample of a window to its last."""
        (spec,) = self.inputs
        return spec.samples_for(self.window_spec.frames) / spec.sample_rate_hz

    @property
    def architecture_spec(self) -> Architecture:
        """With its sizes."""
        return Architecture(
            name=self.architecture,
            settings={"width": self.width, "embedding": self.embedding, "dropout": self.dropout},
        )

    @property
    def normalisation(self) -> str:
        """As of the other networks over mel bands."""
        return "mean and deviation of each mel band over the training tracks, inside the network"

    @property
    def decision(self) -> FileDecision:
        """As live audio is judged."""
        return FileDecision()
