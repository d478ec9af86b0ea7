"""Every network by the name that a model card gives it. Imports torch: only training and the torch scorer come here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import nn

from models.errors import ModelFileError
from models.lidy import PARALLEL, PARALLEL_FREQUENCY, TIMBRAL, LidyNetwork
from models.spec import ModelCard

ARCHITECTURES: Mapping[str, Callable[..., nn.Module]] = {
    "lidy-timbral": partial(LidyNetwork, TIMBRAL),
    "lidy-parallel": partial(LidyNetwork, PARALLEL),
    "lidy-parallel-frequency": partial(LidyNetwork, PARALLEL_FREQUENCY),
}
"""Builders taking ``n_mels``, ``frames``, ``heads`` (classes by head name) and the architecture's own settings."""


def build(card: ModelCard) -> nn.Module:
    """The card's network with fresh weights: takes (batch, n_mels, frames), returns a dict of logits by head name.

    Raises:
        ModelFileError: the card names an architecture or a setting that this version does not know.
    """
    name, settings = card.architecture.name, card.architecture.settings
    if name not in ARCHITECTURES:
        raise ModelFileError(
            f"expected an architecture among {', '.join(ARCHITECTURES)}, the model's card says {name!r}"
        )
    n_mels, frames = card.input_shape
    heads = {head.name: len(head.labels) for head in card.heads}
    try:
        return ARCHITECTURES[name](n_mels=n_mels, frames=frames, heads=heads, **settings)
    except TypeError as error:
        raise ModelFileError(f"the architecture {name!r} does not take the settings {settings}: {error}") from error
