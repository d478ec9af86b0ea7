"""Xu, Lv & Jia, MIREX 2017; the network is in ``models.xu``."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from models.spec import FileDecision, LogMel, WindowSpec
from train.recipe import LIBROSA_LOG_MEL, Optimiser, Paper, Recipe, Schedule

SLICE_FRAMES = 120


class XuRecipe(Recipe):
    """The paper's: librosa's mel spectrogram in decibels (section 2.1); samples of several slices of 120 frames from
    random places of one song, joined in time (section 2.2); a learning rate of 2e-4 that decays exponentially
    (section 2.3); 15 random samples a song, the majority decides (section 2.4).

    Ours, where it is silent: librosa's defaults (22,050 Hz, 2048 samples moving by 512, 128 bands, centred) with the
    reference 1 and nothing cut off at the bottom, so that it can be heard live; two slices (one works, with half the
    delay); Adam, batches of 40, 15 samples a song in each epoch, decay 0.98 an epoch, 150 epochs; ties broken by the
    mean probability; a hop of 15 frames (0.35 s) between two live windows.
    """

    paper: ClassVar = Paper(
        citation='Xu, Lv & Jia, "Convolutional Neural Networks System for the MIREX 2017 Audio Classification Tasks", '
        "MIREX 2017",
        reported="",
        protocol="",
    )
    variants: ClassVar = ({"slices": 2}, {"slices": 1})

    architecture: Literal["xu"] = "xu"
    hop_frames: PositiveInt = 15
    segments: Literal["random"] = "random"
    segments_per_file: NonNegativeInt = 15
    slices: PositiveInt = 2
    optimiser: Optimiser = "adam"
    learning_rate: PositiveFloat = 2e-4
    schedule: Schedule = "exponential"
    batch_size: PositiveInt = 40
    epochs: PositiveInt = 150

    @property
    def inputs(self) -> tuple[LogMel]:
        """Mel bands in decibels."""
        return (LIBROSA_LOG_MEL,)

    @property
    def window_spec(self) -> WindowSpec:
        """The joined slices; live, they are the newest so many frames."""
        return WindowSpec(frames=SLICE_FRAMES * self.slices, hop_frames=self.hop_frames, short="tile")

    @property
    def window_s(self) -> float:
        """2.79 s a slice."""
        return self.slices * SLICE_FRAMES * LIBROSA_LOG_MEL.seconds_per_frame

    @property
    def normalisation(self) -> str:
        """Ours."""
        return "mean and deviation of each mel band over the training tracks, inside the network"

    @property
    def decision(self) -> FileDecision:
        """Majority of 15 random samples."""
        return FileDecision(windows="random", count=15, slices=self.slices, rule="majority")
