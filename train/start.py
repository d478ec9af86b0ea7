"""Training that begins where another ended: all of a model but what its labels need."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import nn

from models.errors import ConfigError
from models.model_file import open_model
from models.spec import ModelCard
from models.torch_scorer import stored_network

_HEADS = "heads."


def require_fit(card: ModelCard, path: Path) -> ModelCard:
    """The card of the model file ``path``, that the network of ``card`` can start from.

    Raises:
        ModelFileError: no readable model file.
        ConfigError: another architecture, or other features or windows.
    """
    _, other = open_model(path)
    for what, ours, theirs in (
        ("network", card.architecture, other.architecture),
        ("features", card.inputs, other.inputs),
        ("window", card.window.frames, other.window.frames),
    ):
        if ours != theirs:
            raise ConfigError(f"{path}: expected a model to start from with the same {what}, {ours}, it has {theirs}")
    return other


def kept_heads(card: ModelCard, other: ModelCard) -> dict[str, int]:
    """The heads of ``card`` that are in the ``other`` too, with the same labels, and their places there."""
    places = {(head.name, head.labels): at for at, head in enumerate(other.heads)}
    return {head.name: places[head.name, head.labels] for head in card.heads if (head.name, head.labels) in places}


def start_from(network: nn.Module, card: ModelCard, path: Path) -> None:
    """Give ``network``, that ``card`` names, the weights and the normalisation of the model file ``path``; of its
    heads those of the same name and labels.

    Raises:
        ModelFileError, ConfigError: as ``require_fit``.
    """
    other = require_fit(card, path)
    given = stored_network(path, other).state_dict()
    weights = {name: values for name, values in given.items() if not name.startswith(_HEADS)}
    kept = kept_heads(card, other)
    for at, head in enumerate(card.heads):
        if head.name in kept:
            theirs = f"{_HEADS}{kept[head.name]}."
            ours = {name: values for name, values in given.items() if name.startswith(theirs)}
            weights |= {f"{_HEADS}{at}.{name.removeprefix(theirs)}": values for name, values in ours.items()}
    with torch.no_grad():
        network.load_state_dict({**network.state_dict(), **weights})


def describe(path: Path) -> str:
    """Changes with the weights, for checkpoints; not with the card, that figures and calibration come into later.

    Raises:
        ModelFileError: no readable model file.
    """
    _, card = open_model(path)
    digest = hashlib.sha256()
    for name, values in stored_network(path, card).state_dict().items():
        digest.update(f"{name}\0".encode())
        digest.update(values.numpy().tobytes())
    return f"{path.name} (digest: {digest.hexdigest()[:12]})"
