"""What makes a training step cheaper: the layout of the weights, half precision, torch.compile.

    python benchmarks/networks.py [--steps 4] [--compiled] [RECIPE ...]

Needs the [train] extra, and a C++ compiler for --compiled. Forward, backward and optimiser step on one batch of the
recipe's size, with one thread, in processor time: other work on the machine changes it little. The least of a few steps
counts, after the first, whose cost is given beside (for a compiled network, compiling).
"""

from __future__ import annotations

import argparse
import time

import torch
from machine import describe
from torch.nn import functional

from models.architectures import ARCHITECTURES
from train.recipe import Recipe
from train.recipes import make_recipe

RECIPES = ("lidy-parallel", "zhang-2d", "benito-spectrogram", "veselinov-vgg")
CLASSES = 10
LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", default=RECIPES, metavar="RECIPE")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--compiled", action="store_true", help="through torch.compile as well; takes minutes")
    parser.add_argument("--batch", type=int, default=0, help="windows in a batch  [default: the recipe's]")
    options = parser.parse_args()
    print(describe(), end="\n\n")
    torch.set_num_threads(1)
    print(f"{'':20} {'layout':14} {'precision':10} {'':9} windows a second of one core; the first step")
    for name in options.recipes:
        recipe = make_recipe(name)
        for compiled in (False, True) if options.compiled else (False,):
            for layout in LAYOUTS:
                for precision in ("float32", "bfloat16"):
                    measure(
                        recipe,
                        layout=layout,
                        precision=precision,
                        compiled=compiled,
                        steps=options.steps,
                        batch=options.batch or recipe.batch_size,
                    )


def measure(recipe: Recipe, *, layout: str, precision: str, compiled: bool, steps: int, batch: int) -> None:
    """Print one line."""
    shapes = [(spec.bands, recipe.window_spec.frames) for spec in recipe.inputs]
    torch.manual_seed(0)
    network = ARCHITECTURES[recipe.architecture](
        inputs=shapes, heads={"genre": CLASSES}, **recipe.architecture_spec.settings
    )
    network = network.to(memory_format=LAYOUTS[layout]).train()
    if compiled:
        network.compile()
    # As training's batches: the frames lie side by side in memory.
    windows = [torch.randn(batch, frames, bands).transpose(1, 2) for bands, frames in shapes]
    targets = torch.randint(0, CLASSES, (batch,))
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3)
    seconds = []
    for _ in range(1 + steps):
        started = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = network(*windows)["genre"].float()
        loss = functional.cross_entropy(logits, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad()
        seconds.append(time.process_time() - started)
    print(
        f"{recipe.architecture:20} {layout:14} {precision:10} {'compiled' if compiled else '':9} "
        f"{batch / min(seconds[1:]):7.1f}   {seconds[0]:6.1f} s",
        flush=True,
    )
    torch.compiler.reset()


if __name__ == "__main__":
    main()
