"""Recipes: all settings that make a model out of tracks. Each says which values are its paper's and which are ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from models.errors import ConfigError
from models.spec import Architecture, LogMel, WindowSpec


class LidyRecipe(BaseModel):
    """Lidy & Schindler, MIREX 2016 (see ``models.lidy`` for the network).

    The paper's: Hann window of 3072 samples at 44.1 kHz with half overlap, scaled in proportion at other rates
    (section 2.1); log10 mel, 40 bands x 80 frames; 30 random segments a file, or 10 consecutive ones; SGD at a constant
    0.02, batches of 40, 150 epochs (section 2.4).

    Ours: 22,050 Hz, because half of the music we have ends at 11-16 kHz and a network at 44.1 kHz would learn which
    half it hears; bands up to half that rate; no centring of frames; random segments drawn anew in each epoch, not
    once; a hop of 10 frames (0.35 s) between two live windows; ``random_gain_db``, off in the paper, which shifts the
    level of each segment by up to so many decibels either way.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    architecture: Literal["lidy-timbral", "lidy-parallel", "lidy-parallel-frequency"]
    # Pydantic reads no number out of a text where it expects one of a few values.
    sample_rate_hz: Annotated[Literal[22_050, 44_100], BeforeValidator(int)] = 22_050
    input_size: Literal["40x80", "80x82"] = "40x80"
    """Mel bands x frames: the size in the paper's text, or the one that its figures' feature maps fit."""
    hop_frames: Annotated[int, Field(gt=0)] = 10
    segments: Literal["random", "consecutive"] = "random"
    segments_per_file: Annotated[int, Field(gt=0)] = 30
    random_gain_db: Annotated[float, Field(ge=0.0, le=60.0)] = 0.0
    learning_rate: Annotated[float, Field(gt=0.0)] = 0.02
    batch_size: Annotated[int, Field(gt=0)] = 40
    epochs: Annotated[int, Field(gt=0)] = 150
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """bf16-mixed rounds inside the convolutions and is up to twice as fast where the processor has it."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.segments == "consecutive" and self.random_gain_db:
            raise ValueError("random_gain_db goes with random segments")
        return self

    @property
    def feature_spec(self) -> LogMel:
        """The features that the recipe's network takes."""
        scale = self.sample_rate_hz / 44_100
        return LogMel(
            sample_rate_hz=self.sample_rate_hz,
            n_fft=round(3072 * scale),
            hop_samples=round(1536 * scale),
            n_mels=int(self.input_size.split("x")[0]),
            fmax_hz=self.sample_rate_hz / 2,
        )

    @property
    def window_spec(self) -> WindowSpec:
        """The frames that the network sees at once: 2.82 s for 40x80."""
        return WindowSpec(frames=int(self.input_size.split("x")[1]), hop_frames=self.hop_frames)

    @property
    def architecture_spec(self) -> Architecture:
        """The network as a model card names it."""
        return Architecture(name=self.architecture)


RECIPES = dict.fromkeys(("lidy-timbral", "lidy-parallel", "lidy-parallel-frequency"), LidyRecipe)


def make_recipe(name: str, settings: Mapping[str, object] | None = None) -> LidyRecipe:
    """The recipe of that name, with some of its settings replaced; texts are read as numbers where one is expected.

    Raises:
        ConfigError: an unknown recipe or setting, or a value out of range.
    """
    if name not in RECIPES:
        raise ConfigError(f"expected a recipe among {', '.join(RECIPES)}, got {name!r}")
    recipe = RECIPES[name]
    try:
        return recipe.model_validate({**(settings or {}), "architecture": name})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "settings"
        known = f"; the settings are {', '.join(recipe.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise ConfigError(f"recipe {name}, {key}: {first['msg']}, got {first['input']!r}{known}") from error
