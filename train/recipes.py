"""All recipes by name."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from pydantic import ValidationError

from models.errors import ConfigError
from train.recipe import Recipe
from train.recipe_base import BaseRecipe
from train.recipe_benito import BenitoRecipe
from train.recipe_lidy import LidyRecipe
from train.recipe_veselinov import VeselinovRecipe
from train.recipe_xu import XuRecipe
from train.recipe_zhang import ZhangRecipe

RECIPES: Mapping[str, type[Recipe]] = {
    "base": BaseRecipe,
    "xu": XuRecipe,
    "lidy-timbral": LidyRecipe,
    "lidy-parallel": LidyRecipe,
    "lidy-parallel-frequency": LidyRecipe,
    "veselinov-simple": VeselinovRecipe,
    "veselinov-alexnet": VeselinovRecipe,
    "veselinov-vgg": VeselinovRecipe,
    "veselinov-googlenet": VeselinovRecipe,
    "zhang-1d": ZhangRecipe,
    "zhang-2d": ZhangRecipe,
    "benito-raw": BenitoRecipe,
    "benito-spectrogram": BenitoRecipe,
    "benito-both": BenitoRecipe,
}


def make_recipe(name: str, settings: Mapping[str, object] | None = None) -> Recipe:
    """The recipe of that name, with some of its settings replaced; texts are read as numbers where one is expected.

    Raises:
        ConfigError: an unknown recipe or setting, a value out of range, or settings that contradict each other.
    """
    if name not in RECIPES:
        near = get_close_matches(name, RECIPES, n=3)
        meant = f" (perhaps {' or '.join(near)})" if near else ""
        raise ConfigError(f"expected a recipe among {', '.join(RECIPES)}, got {name!r}{meant}")
    kind = RECIPES[name]
    if "architecture" in (settings or {}):
        raise ConfigError(f"recipe {name}: its network is not a setting: give another --recipe")
    try:
        recipe = kind.model_validate({**(settings or {}), "architecture": name})
        recipe.check()
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "settings"
        if first["type"] == "extra_forbidden":
            known = ", ".join(key for key in kind.model_fields if key != "architecture")
            raise ConfigError(f"recipe {name} has no such setting as {key!r}: the settings are {known}") from error
        raise ConfigError(f"recipe {name}, {key}: {first['msg']}, got {first['input']!r}") from error
    except ValueError as error:
        raise ConfigError(f"recipe {name}: {error}") from error
    return recipe
