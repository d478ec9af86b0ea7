"""Veselinov, music genres by TFLearn's networks on MFCC; the networks are in ``models.veselinov``."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from models.spec import Architecture, FileDecision, Mfcc, WindowSpec
from train.recipe import Optimiser, Paper, Places, Recipe


class VeselinovRecipe(Recipe):
    """The paper's: 13 MFCC x 1300 frames of a clip of 30 s, shorter clips repeated, as its code does; Adam for the
    simple network and VGG, momentum for AlexNet and GoogLeNet, at 1e-3, batches of 64, 100 epochs, 80 % for training.

    Ours, where it is silent: 44.1 kHz, 2048 samples moving by 1024, 128 bands, centred (what librosa takes by default,
    but for the hop); decibels are not cut off at the bottom; coefficients standardised over the training tracks
    (``normalise=0`` takes them as they are, as the paper did); longer clips are judged by the first 1300 frames; a hop
    of 43 frames (1 s) between two live windows.
    """

    paper: ClassVar = Paper(
        citation='Veselinov, "Music Genre Classification Using Convolutional Neural Networks"',
        reported="simple 17 %, AlexNet > 95 %, VGG 11 %, GoogLeNet about 50 % (training accuracy)",
        protocol="Ballroom, 8 dances, 698 clips, random 80/20; the split was drawn again for the evaluation, "
        "so it tested on training clips",
    )

    architecture: Literal["veselinov-simple", "veselinov-alexnet", "veselinov-vgg", "veselinov-googlenet"]
    normalise: Literal[0, 1] = 1
    hop_frames: PositiveInt = 43
    segments: Places = "first"
    segments_per_file: NonNegativeInt = 1
    optimiser: Optimiser = "adam"
    learning_rate: PositiveFloat = 1e-3
    batch_size: PositiveInt = 64
    epochs: PositiveInt = 100

    @model_validator(mode="before")
    @classmethod
    def _papers_optimiser(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("architecture") in ("veselinov-alexnet", "veselinov-googlenet"):
            values = {"optimiser": "momentum", **values}
        if isinstance(values, dict) and isinstance(values.get("normalise"), str):
            # Pydantic reads no number out of a text where it expects one of a few values.
            values = {**values, "normalise": {"0": 0, "1": 1}.get(values["normalise"], values["normalise"])}
        return values

    @property
    def inputs(self) -> tuple[Mfcc]:
        """13 cepstral coefficients."""
        return (
            Mfcc(
                sample_rate_hz=44_100,
                n_fft=2048,
                hop_samples=1024,
                centred=True,
                n_mels=128,
                fmax_hz=22_050,
                n_mfcc=13,
            ),
        )

    @property
    def window_spec(self) -> WindowSpec:
        """A whole clip."""
        return WindowSpec(frames=1300, hop_frames=self.hop_frames, short="tile")

    @property
    def window_s(self) -> float:
        """30.2 s."""
        return 1300 * 1024 / 44_100

    @property
    def architecture_spec(self) -> Architecture:
        """With or without the normalisation in front."""
        return Architecture(name=self.architecture, settings={"normalise": self.normalise})

    @property
    def normalisation(self) -> str:
        """Ours, or none as the paper."""
        each = "mean and deviation of each coefficient over the training tracks, inside the network"
        return each if self.normalise else "none"

    @property
    def decision(self) -> FileDecision:
        """One window is the clip."""
        return FileDecision(windows="first")
