"""Benito Calvino & Pacheco Garcia, which input a network should have; the networks are in ``models.benito``."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from models.spec import AnyFeatureSpec, Architecture, FileDecision, Magnitude, Raw, WindowSpec
from train.recipe import Optimiser, Paper, Places, Recipe, Share

RATE_HZ = 44_100
HOP_SAMPLES = 1024
SEGMENT_SAMPLES = 131_072
WHOLE_FRAMES = 977
"""Centred frames of a sample of 10^6 samples, as the paper's (1025, 977)."""

_MAGNITUDE = Magnitude(sample_rate_hz=RATE_HZ, n_fft=2048, hop_samples=HOP_SAMPLES, centred=True)
_RAW = Raw(sample_rate_hz=RATE_HZ, n_fft=HOP_SAMPLES, hop_samples=HOP_SAMPLES)
_INPUTS: dict[str, tuple[AnyFeatureSpec, ...]] = {
    "benito-raw": (_RAW,),
    "benito-spectrogram": (_MAGNITUDE,),
    "benito-both": (_MAGNITUDE, _RAW),
}


class BenitoRecipe(Recipe):
    """The paper's: samples, the magnitudes of their short-time Fourier transform (2048 samples with half overlap,
    1025 x 977 for 10^6 samples) or both; segments of 131,072 samples (3.0 s) with half overlap, or the whole sample;
    Adam at 5e-4, 15 epochs, 80/10/10 %; the loss of each segment in training, the sum of the segments' probabilities
    for a file; dropout 0.2 as an experiment.

    Ours, where it is silent: batches of 50; the whole sample is the first 22.7 s, repeated where a file is shorter; a
    hop of 22 frames (0.5 s) between two live windows.
    """

    paper: ClassVar = Paper(
        citation='Benito Calvino & Pacheco Garcia, "Data Input Approaches for CNNs towards Music Genre Recognition"',
        reported="segmented: raw 31.4 %, spectrogram 42.9 %, both 42.8 %; whole: 26.4 / 39.5 / 37.6 %",
        protocol="FMA-small, 8 genres, random 80/10/10 split",
    )
    variants: ClassVar = ({"sample": "segments"}, {"sample": "whole"})

    architecture: Literal["benito-raw", "benito-spectrogram", "benito-both"]
    sample: Literal["segments", "whole"] = "segments"
    dropout: Share = 0.0
    hop_frames: PositiveInt = 22
    segments: Places = "consecutive"
    segments_per_file: NonNegativeInt = 0
    overlap: Share = 0.5
    optimiser: Optimiser = "adam"
    learning_rate: PositiveFloat = 5e-4
    batch_size: PositiveInt = 50
    epochs: PositiveInt = 15

    @model_validator(mode="before")
    @classmethod
    def _whole_samples_have_no_segments(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("sample") == "whole":
            values = {"segments": "first", "segments_per_file": 1, "overlap": 0.0, **values}
        return values

    @property
    def inputs(self) -> tuple[AnyFeatureSpec, ...]:
        """Magnitudes, samples or both."""
        return _INPUTS[self.architecture]

    @property
    def window_spec(self) -> WindowSpec:
        """A segment: 128 frames of samples, or the 129 centred frames that they give; or the whole sample."""
        frames = SEGMENT_SAMPLES // HOP_SAMPLES if self.sample == "segments" else WHOLE_FRAMES - 1
        if self.architecture != "benito-raw":
            frames += 1
        return WindowSpec(frames=frames, hop_frames=self.hop_frames, short="tile")

    @property
    def window_s(self) -> float:
        """2.97 s, or 22.7 s."""
        return (SEGMENT_SAMPLES if self.sample == "segments" else 10**6) / RATE_HZ

    @property
    def architecture_spec(self) -> Architecture:
        """With its dropout."""
        return Architecture(name=self.architecture, settings={"dropout": self.dropout})

    @property
    def normalisation(self) -> str:
        """None but the network's own batch normalisation."""
        return "none"

    @property
    def decision(self) -> FileDecision:
        """Sum of the segments' probabilities."""
        if self.sample == "whole":
            return FileDecision(windows="first", rule="sum")
        return FileDecision(windows="consecutive", overlap=self.overlap, rule="sum")
