"""Lidy & Schindler, MIREX 2016; the networks are in ``models.lidy``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, NonNegativeInt, PositiveFloat, PositiveInt

from models.spec import FileDecision, LogMel, WindowSpec
from train.recipe import Optimiser, Paper, Places, Recipe

SEGMENT_SAMPLES = 124_416
"""Samples of a segment at 44.1 kHz (section 2.1)."""


class LidyRecipe(Recipe):
    """The paper's: Hann window of 3072 samples at 44.1 kHz with half overlap, scaled in proportion at other rates
    (section 2.1); log10 mel, 40 bands x 80 frames in the text, 80 x 82 to fit the maps that its figures quote (82 is
    what a segment gives with centred frames); 30 random segments a file, or 10 consecutive ones (section 2.1); SGD at a
    constant 0.02, batches of 40, 150 epochs (section 2.4).

    Ours: 22,050 Hz, because much music ends at 11-16 kHz and a network at 44.1 kHz would learn which half it hears;
    bands up to half that rate; floor 1e-10; frames not centred at 40x80; random segments drawn anew in each epoch, not
    once; a file's label by the mean over as many segments as training takes; a hop of 10 frames (0.35 s) between two
    live windows.
    """

    paper: ClassVar = Paper(
        citation='Lidy & Schindler, "Parallel Convolutional Neural Networks for Music Genre and Mood Classification", '
        "MIREX 2016",
        reported="Latin genre 69.54 %, mixed popular genre 73.14 %; music/speech 99.73 % (MIREX 2015, earlier model)",
        protocol="MIREX train/test tasks, artist-filtered folds",
    )
    variants: ClassVar = ({"input_size": "40x80"}, {"input_size": "80x82"})

    architecture: Literal["lidy-timbral", "lidy-parallel", "lidy-parallel-frequency"]
    # Pydantic reads no number out of a text where it expects one of a few values.
    sample_rate_hz: Annotated[Literal[22_050, 44_100], BeforeValidator(int)] = 22_050
    input_size: Literal["40x80", "80x82"] = "40x80"
    """Mel bands x frames: the size in the paper's text, or the one that its figures' feature maps fit."""
    hop_frames: PositiveInt = 10
    segments: Places = "random"
    segments_per_file: NonNegativeInt = 30
    optimiser: Optimiser = "sgd"
    learning_rate: PositiveFloat = 0.02
    batch_size: PositiveInt = 40
    epochs: PositiveInt = 150

    @property
    def inputs(self) -> tuple[LogMel]:
        """Log10 mel bands."""
        scale = self.sample_rate_hz / 44_100
        return (
            LogMel(
                sample_rate_hz=self.sample_rate_hz,
                n_fft=round(3072 * scale),
                hop_samples=round(1536 * scale),
                centred=self.input_size == "80x82",
                n_mels=int(self.input_size.split("x")[0]),
                fmax_hz=self.sample_rate_hz / 2,
            ),
        )

    @property
    def window_spec(self) -> WindowSpec:
        """One segment."""
        return WindowSpec(frames=int(self.input_size.split("x")[1]), hop_frames=self.hop_frames)

    @property
    def window_s(self) -> float:
        """2.82 s at either size."""
        return SEGMENT_SAMPLES / 44_100

    @property
    def normalisation(self) -> str:
        """Ours; the paper is silent, its authors' tutorial standardises."""
        return "mean and deviation of each mel band over the training tracks, inside the network"

    @property
    def decision(self) -> FileDecision:
        """Mean of the segments' probabilities."""
        return FileDecision(
            windows="random" if self.segments == "random" else "consecutive", count=self.segments_per_file
        )
