"""Learning-rate schedules, stepped batch by batch: the rate depends on the batches done and nothing else, so that a
checkpoint between two epochs holds all of it."""

from __future__ import annotations

import math

import torch
from torch.optim.lr_scheduler import CyclicLR, LambdaLR, LRScheduler, OneCycleLR

from train.recipe import Recipe

HALF_CYCLE_EPOCHS = 2
"""Epochs from the least to the greatest rate of the cyclical schedule; Smith 2017, section 3.2, says 2 to 10."""
CYCLE_DEPTH = 10.0
"""The greatest rate of the cyclical schedule over its least."""


def schedule(
    optimiser: torch.optim.Optimizer, recipe: Recipe, *, learning_rate: float, batches: int
) -> LRScheduler | None:
    """The recipe's schedule for epochs of so many ``batches``; None: the rate stays.

    ``cyclical`` is Smith, "Cyclical Learning Rates for Training Neural Networks", 2017 (triangular); ``one-cycle`` is
    Smith & Topin, "Super-Convergence", 2018, over all epochs of the recipe, with torch's defaults.
    """
    if recipe.schedule == "exponential":
        return LambdaLR(optimiser, lambda step: math.pow(recipe.decay, step // batches))
    if recipe.schedule == "cyclical":
        return CyclicLR(
            optimiser,
            base_lr=learning_rate / CYCLE_DEPTH,
            max_lr=learning_rate,
            step_size_up=HALF_CYCLE_EPOCHS * batches,
            cycle_momentum=False,
        )
    if recipe.schedule == "one-cycle":
        return OneCycleLR(
            optimiser,
            max_lr=learning_rate,
            total_steps=recipe.epochs * batches,
            # Plain SGD has no momentum to move the other way.
            cycle_momentum=recipe.optimiser != "sgd",
        )
    return None
