"""Every network by the name that a model card gives it. Imports torch: only training and the torch scorer come here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import nn

from models import benito, lidy, veselinov
from models.base import BaseNetwork
from models.benito import BenitoNetwork
from models.errors import ConfigError, ModelFileError
from models.lidy import LidyNetwork
from models.spec import ModelCard
from models.veselinov import VeselinovNetwork
from models.xu import XuNetwork
from models.zhang import Zhang1d, Zhang2d


def _one_input(
    network: Callable[..., nn.Module],
    *parts: object,
    inputs: Sequence[tuple[int, int]],
    heads: Mapping[str, int],
    **settings: int | float | str,
) -> nn.Module:
    if len(inputs) != 1:
        raise ConfigError(f"expected one input, got {len(inputs)}, (bands, frames) {list(inputs)}")
    bands, frames = inputs[0]
    return network(*parts, bands=bands, frames=frames, heads=heads, **settings)


ARCHITECTURES: Mapping[str, Callable[..., nn.Module]] = {
    "base": partial(_one_input, BaseNetwork),
    "xu": partial(_one_input, XuNetwork),
    "lidy-timbral": partial(_one_input, LidyNetwork, lidy.TIMBRAL),
    "lidy-parallel": partial(_one_input, LidyNetwork, lidy.PARALLEL),
    "lidy-parallel-frequency": partial(_one_input, LidyNetwork, lidy.PARALLEL_FREQUENCY),
    "veselinov-simple": partial(_one_input, VeselinovNetwork, veselinov.SIMPLE),
    "veselinov-alexnet": partial(_one_input, VeselinovNetwork, veselinov.ALEXNET),
    "veselinov-vgg": partial(_one_input, VeselinovNetwork, veselinov.VGG),
    "veselinov-googlenet": partial(_one_input, VeselinovNetwork, veselinov.GOOGLENET),
    "zhang-1d": partial(_one_input, Zhang1d),
    "zhang-2d": partial(_one_input, Zhang2d),
    "benito-raw": partial(BenitoNetwork, (benito.RAW_KERNEL,)),
    "benito-spectrogram": partial(BenitoNetwork, (benito.SPECTROGRAM_KERNEL,)),
    "benito-both": partial(BenitoNetwork, (benito.SPECTROGRAM_KERNEL, benito.RAW_KERNEL)),
}
"""Builders taking ``inputs`` ((bands, frames) of each), ``heads`` (classes by head name) and the architecture's own
settings; they raise ConfigError if an input is too small. The networks work on torch's ``meta`` device too."""


def count_parameters(card: ModelCard) -> int:
    """Trainable parameters of the card's network; nothing is allocated for them.

    Raises:
        ModelFileError, ConfigError: as ``build``.
    """
    with torch.device("meta"):
        network = build(card)
    return sum(values.numel() for values in network.parameters() if values.requires_grad)


def build(card: ModelCard) -> nn.Module:
    """The card's network with fresh weights: takes (batch, bands, frames) for each input, returns a dict of logits by
    head name.

    Raises:
        ModelFileError: the card names an architecture or a setting that this version does not know.
        ConfigError: the card's inputs do not suit the architecture.
    """
    name, settings = card.architecture.name, card.architecture.settings
    if name not in ARCHITECTURES:
        raise ModelFileError(
            f"expected an architecture among {', '.join(ARCHITECTURES)}, the model's card says {name!r}"
        )
    heads = {head.name: len(head.labels) for head in card.heads}
    try:
        return ARCHITECTURES[name](inputs=card.input_shapes, heads=heads, **settings)
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"the architecture {name!r} does not take the settings {settings}: {error}") from error
