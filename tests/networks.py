"""A real network with random weights and its card, for tests that need torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from models.architectures import build
from models.normalise import Normaliser
from models.spec import Head, ModelCard, Provenance
from train.export import export
from train.recipes import make_recipe

LABELS = ("a", "b", "c")


def random_card(recipe_name: str = "lidy-timbral", **settings: object) -> ModelCard:
    return make_recipe(recipe_name, settings).card(
        name="random",
        description="random weights",
        heads=(Head(name="genre", labels=LABELS, temperature=1.7),),
        provenance=Provenance(data="none", protocol="none", epochs=0, seed=0, commit="none", licence="Apache-2.0"),
    )


def random_network(recipe_name: str = "lidy-timbral", **settings: object) -> tuple[nn.Module, ModelCard]:
    card = random_card(recipe_name, **settings)
    torch.manual_seed(0)
    network = build(card)
    if isinstance(normaliser := getattr(network, "normalise", None), Normaliser):
        normaliser.fit([torch.randn(1000, card.clock.bands) * 1.5 - 2])
    return network, card


def random_windows(card: ModelCard, n: int) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(0)
    return tuple(random.normal(-2.0, 1.5, (n, *shape)).astype(np.float32) for shape in card.input_shapes)


def export_random(path: Path, recipe_name: str = "lidy-timbral") -> Path:
    network, card = random_network(recipe_name)
    export(network, card, path, windows=random_windows(card, 4))
    return path
