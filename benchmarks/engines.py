"""Engines of TensorRT-RTX for every recipe's network, built on this machine: how large they are, and how long it takes.

    python benchmarks/engines.py --sm 80 --sm 89 --sm 120

Needs no card: an engine is built for cards that are elsewhere. Nothing is run. Weights are random, ten classes. Prints
a table in Markdown, and which graphs cannot be built and why.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import torch
from machine import describe

from models.architectures import build
from models.engine_file import Target
from models.errors import EngineError
from models.example_windows import noise_windows
from models.from_samples import from_samples
from models.model_file import open_model
from models.precision import in_precision
from models.precision_kind import Precision
from models.scorer import DEFAULT_MODEL, WindowBatch
from models.spec import Head, ModelCard, Provenance
from models.tensorrt_build import build_plan, make_logger, tensorrt_module
from train.export import to_onnx
from train.recipe_list import CLASSES, list_recipes
from train.recipes import make_recipe

PRODUCT = "tensorrt-rtx"


def models() -> Iterator[tuple[str, bytes, ModelCard]]:
    """Name, graph and card of each recipe and its variants, and of the model that ships, with its front end too."""
    _, card = open_model(DEFAULT_MODEL)
    shipped = DEFAULT_MODEL.read_bytes()
    yield f"**{card.name}**, shipped", shipped, card
    graph, card_of_whole = from_samples(shipped, card)
    yield f"**{card.name}**, from samples", graph.SerializeToString(), card_of_whole
    for entry in list_recipes():
        name = " ".join([entry["name"], *(f"{key}={value}" for key, value in entry["settings"].items())])
        card = make_recipe(entry["name"], entry["settings"]).card(
            name=name,
            description="",
            heads=(Head(name="class", labels=tuple(map(str, range(CLASSES)))),),
            provenance=Provenance(data="", protocol="", epochs=0, seed=0, commit="", licence=""),
        )
        torch.manual_seed(0)
        yield name, to_onnx(build(card), card).SerializeToString(), card


def measure(model: bytes, card: ModelCard, target: Target, windows: WindowBatch) -> str:
    """Megabytes and seconds, or why not."""
    try:
        typed = in_precision(model, card, target.precision, windows=windows).SerializeToString()
        trt = tensorrt_module(PRODUCT)
        started = time.perf_counter()
        plan, _ = build_plan(trt, make_logger(trt), typed, card, target)
    except EngineError as error:
        return str(error)
    return f"{len(plan) / 1e6:.1f} MB, {time.perf_counter() - started:.1f} s"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sm", action="append", required=True, help="compute capability, without the point")
    arguments = parser.parse_args()
    print(describe())
    print(
        f"{PRODUCT} {tensorrt_module(PRODUCT).__version__}, one plan for SM {', '.join(arguments.sm)}, "
        "up to 64 windows at once\n"
    )
    print("| network | weights | " + " | ".join(Precision) + " |")
    print("| --- | ---: |" + " ---: |" * len(Precision))
    for name, model, card in models():
        windows = noise_windows(card)
        cells = [
            measure(model, card, Target(product=PRODUCT, precision=precision, batch=(8, 64), sms=arguments.sm), windows)
            for precision in Precision
        ]
        print(f"| {name} | {len(model) / 1e6:.1f} MB | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
