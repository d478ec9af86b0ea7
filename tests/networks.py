"""A real network with random weights and its card, for tests that need torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from models.architectures import build
from models.spec import Head, ModelCard, Provenance
from train.export import export
from train.recipes import make_recipe

LABELS = ("a", "b", "c")


def random_network(recipe_name: str = "lidy-timbral") -> tuple[nn.Module, ModelCard]:
    recipe = make_recipe(recipe_name)
    card = ModelCard(
        name="random",
        description="random weights",
        architecture=recipe.architecture_spec,
        inputs=(recipe.feature_spec,),
        normalisation="per band",
        window=recipe.window_spec,
        heads=(Head(name="genre", labels=LABELS, temperature=1.7),),
        provenance=Provenance(data="none", protocol="none", epochs=0, seed=0, commit="none", licence="Apache-2.0"),
    )
    torch.manual_seed(0)
    network = build(card)
    network.standardise.fit(torch.randn(1000, recipe.feature_spec.n_mels) * 1.5 - 2)
    return network, card


def random_windows(card: ModelCard, n: int) -> np.ndarray:
    return np.random.default_rng(0).normal(-2.0, 1.5, (n, *card.input_shape)).astype(np.float32)


def export_random(path: Path, recipe_name: str = "lidy-timbral") -> Path:
    network, card = random_network(recipe_name)
    export(network, card, path, windows=random_windows(card, 4))
    return path
