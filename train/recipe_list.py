"""The recipes as a list for people and programs: what each is, what it hears, how large it is."""

from __future__ import annotations

from typing import Any

from models.architectures import count_parameters
from models.spec import Head, Provenance
from train.recipes import RECIPES, make_recipe

CLASSES = 10
"""Classes at which parameters are counted: those of the seed papers' largest common task."""


def list_recipes() -> list[dict[str, Any]]:
    """One entry for each recipe and each variant of it that has another shape, the recipe's defaults first."""
    return [_entry(name, dict(variant)) for name, kind in RECIPES.items() for variant in kind.variants]


def _entry(name: str, settings: dict[str, str | int | float]) -> dict[str, Any]:
    recipe = make_recipe(name, settings)
    card = recipe.card(
        name=name,
        heads=(Head(name="class", labels=tuple(map(str, range(CLASSES)))),),
        provenance=Provenance(data="", protocol="", epochs=0, seed=0, commit="", licence=""),
    )
    return {
        "name": name,
        "settings": settings,
        "paper": recipe.paper.citation if recipe.paper else "none: genrescope's own",
        "input_shapes": [list(shape) for shape in card.input_shapes],
        "input": card.hears,
        "features": [spec.kind for spec in card.inputs],
        "parameters": count_parameters(card),
        "classes": CLASSES,
        "window_s": round(recipe.window_s, 4),
        "reported": recipe.paper.reported if recipe.paper else "",
        "protocol": recipe.paper.protocol if recipe.paper else "",
    }
