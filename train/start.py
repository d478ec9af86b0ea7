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


def start_from(network: nn.Module, card: ModelCard, path: Path) -> None:
    """Give ``network``, that ``card`` names, the weights and the normalisation of the model file ``path``; of its
    heads those of the same name and labels.

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
    given = stored_network(path, other).state_dict()
    weights = {name: values for name, values in given.items() if not name.startswith(_HEADS)}
    places = {head.name: (at, head.labels) for at, head in enumerate(other.heads)}
    for at, head in enumerate(card.heads):
        place, labels = places.get(head.name, (0, ()))
        if labels == head.labels:
            theirs_prefix = f"{_HEADS}{place}."
            weights |= {
                f"{_HEADS}{at}.{name.removeprefix(theirs_prefix)}": values
                for name, values in given.items()
                if name.startswith(theirs_prefix)
            }
    with torch.no_grad():
        network.load_state_dict({**network.state_dict(), **weights})


def describe(path: Path) -> str:
    """Changes with the file, for checkpoints."""
    return f"{path.name} (digest: {hashlib.sha256(path.read_bytes()).hexdigest()[:12]})"
