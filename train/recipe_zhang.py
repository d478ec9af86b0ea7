"""Zhang, music classification by one- and two-dimensional networks; they are in ``models.zhang``."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from models.spec import FileDecision, LogMel, WindowSpec
from train.recipe import LIBROSA_LOG_MEL, Optimiser, Paper, Places, Recipe

FRAMES = 130


class ZhangRecipe(Recipe):
    """The paper's: a mel spectrogram of the beginning of each song, scaled to [0, 1] (section IV.B); the learning rates
    5e-4 and 4e-3 over 100 and 300 epochs (section IV.C); 75/15/10 % for training, validation and test.

    Ours: 128 bands x 130 frames, 3.0 s, which is what the paper's slice ``[:384, :130]`` of librosa's 128 bands gives
    without a word; decibels without a cut at the bottom, and the scale from the training tracks' least and greatest
    value, so that it can be heard live; Adam, batches of 32; a hop of 22 frames (0.5 s) between two live windows.
    """

    paper: ClassVar = Paper(
        citation='Zhang, "A study on music classification based on convolutional neural network"',
        reported="1-D 39 %, 2-D 61 %",
        protocol="GTZAN, random 75/15/10 split: artists and duplicates on both sides",
    )

    architecture: Literal["zhang-1d", "zhang-2d"]
    hop_frames: PositiveInt = 22
    segments: Places = "first"
    segments_per_file: NonNegativeInt = 1
    optimiser: Optimiser = "adam"
    learning_rate: PositiveFloat = 5e-4
    batch_size: PositiveInt = 32
    epochs: PositiveInt = 100

    @model_validator(mode="before")
    @classmethod
    def _papers_rate(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("architecture") == "zhang-2d":
            values = {"learning_rate": 4e-3, "epochs": 300, **values}
        return values

    @property
    def inputs(self) -> tuple[LogMel]:
        """Mel bands in decibels."""
        return (LIBROSA_LOG_MEL,)

    @property
    def window_spec(self) -> WindowSpec:
        """The first 130 frames of a song in training."""
        return WindowSpec(frames=FRAMES, hop_frames=self.hop_frames, short="tile")

    @property
    def window_s(self) -> float:
        """3.0 s."""
        return FRAMES * LIBROSA_LOG_MEL.seconds_per_frame

    @property
    def normalisation(self) -> str:
        """The paper's [0, 1], by a scale of ours."""
        return "scaled to [0, 1] by the least and the greatest value of the training tracks, inside the network"

    @property
    def decision(self) -> FileDecision:
        """The window is the song."""
        return FileDecision(windows="first")
