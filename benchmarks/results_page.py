"""docs/results.md from docs/results.json."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_lowercase
from typing import Any

import numpy as np

from train.recipes import RECIPES
from train.statistics import spread

_WHYS = {"all epochs": "all", "early": "early", "time": "time"}

_INTRODUCTION = """# Results

Made, and gone on with, by one command, which trains what is missing here:

    python benchmarks/results.py --data DATA --runs RUNS

Every network is trained on the folds that are neither tested nor watched, and stops when the loss on the watched fold
(the one before the tested one) has not become less for ten epochs (zhang-2d: fifty, of seven batches each), at the
published number of epochs, or at the time limit; the epoch with the least loss is what is tested. zhang-1d alone is
trained as published, to its last epoch, which takes a minute. So are rows with *patience=0*, and those learn from all
folds but the tested one. Nothing is chosen on the tested fold. Folds are
artist-disjoint (emotify, genre-10, quadrants; of a recording that is there twice, one is left out), source-disjoint
(esc10) or as given (music_speech). emotify is Aljanaki, Wiering & Veltkamp 2015, four genres of Magnatune; quadrants
those of mood of Panda, Malheiro & Paiva 2018 (4Q); genre-10 the genres of both, joined; music_speech Tzanetakis's;
esc10 Piczak 2015. The time limit was mostly 6 to 14 minutes, so rows that say *time* are of networks that would have
gone on: some of lidy-parallel-frequency and xu, most of them within two epochs of their stop. All else is the
recipe's, as published where the paper says it; bf16 mixed precision. Accuracy is per file, by the recipe's own
decision; *live* is by the mean over windows one hop apart, as live
audio is judged. One seed. Minutes are those of a machine that did other work too, some of it much of the time.

In each cell: accuracy, then epochs run, why it stopped (*all* published epochs, *early*, *time*), minutes, and the
hardware by its letter:
"""


def render(store: dict[str, Any], *, order: Sequence[str], claims: Sequence[str]) -> str:
    """The page: every recipe on one split, what the papers claim, and the folds of the small recipes."""
    cells: dict[str, dict[str, Any]] = store["cells"]
    letters = {name: ascii_lowercase[at] for at, name in enumerate(sorted({c["hardware"] for c in cells.values()}))}
    lines = [_INTRODUCTION]
    lines += [f"- {letter}: {hardware}" for hardware, letter in letters.items()]
    lines += ["", f"{sum(name in cells for name in order)} of {len(order)} networks have been trained.", ""]
    lines += _summary(cells, order)
    lines += _one_split(cells, order, letters)
    lines += _claims(store["claims"], claims)
    for dataset in dict.fromkeys(name.split("/")[0] for name in order):
        lines += _folds(dataset, cells, order, letters)
    return "\n".join(lines).rstrip() + "\n"


def _summary(cells: dict[str, Any], order: Sequence[str]) -> list[str]:
    """The recipes that are tested on every fold of several sets, side by side."""
    folds: dict[tuple[str, str], list[str]] = {}
    for name in order:
        dataset, recipe, _ = name.split("/")
        folds.setdefault((recipe, dataset), []).append(name)
    whole = {key: names for key, names in folds.items() if len(names) > 1}
    datasets = list(dict.fromkeys(dataset for _, dataset in whole))
    recipes = [each for each in dict.fromkeys(recipe for recipe, _ in whole) if (each, datasets[-1]) in whole]
    lines = [
        "## Which is worth using",
        "",
        "Share of all files of a set named rightly, each by the network that has not heard its fold, and the minutes "
        "that a network took on the average. In the last row: what always saying the same label would come to, were "
        "all labels as frequent.",
        "",
        f"| recipe | parameters | minutes a network | {' | '.join(datasets)} |",
        f"|---|---:|---:{'|---:' * len(datasets)}|",
    ]
    for recipe in recipes:
        done = {dataset: [cells[n] for n in whole[recipe, dataset] if n in cells] for dataset in datasets}
        every = [cell for each in done.values() for cell in each]
        if not every:
            continue
        shares = [_pooled(each) if len(each) == len(whole[recipe, d]) else "not run yet" for d, each in done.items()]
        minutes = sum(cell["minutes"] for cell in every) / len(every)
        sizes = {f"{cell['parameters']:,}" for cell in every}
        size = sizes.pop() if len(sizes) == 1 else f"about {max(cell['parameters'] for cell in every):,}"
        lines.append(f"| {recipe.replace(',', ', ')} | {size} | {minutes:.1f} | {' | '.join(shares)} |")
    classes = {d: next((cells[n]["classes"] for r in recipes for n in whole[r, d] if n in cells), 0) for d in datasets}
    chance = [f"{1 / count:.3f}" if count else "" for count in classes.values()]
    return [*lines, f"| *chance* | | | {' | '.join(chance)} |", ""]


def _pooled(done: Sequence[dict[str, Any]]) -> str:
    right = sum(_right(cell) for cell in done)
    return f"{right / sum(cell['figures']['files'] for cell in done):.3f}"


def _right(cell: dict[str, Any], name: str = "published_accuracy") -> int:
    """Files named rightly: the store has their share, rounded, which would be rounded a second time."""
    return round(cell["figures"][name] * cell["figures"]["files"])


def _one_split(cells: dict[str, Any], order: Sequence[str], letters: dict[str, str]) -> list[str]:
    lines = [
        "## Every recipe on one split: emotify, four genres, tested on fold 4",
        "",
        "| recipe | parameters | accuracy, epochs, minutes | macro-F1 | live | windows |",
        "|---|---:|---|---:|---:|---:|",
    ]
    for name in order:
        dataset, recipe, fold = name.split("/")
        if (dataset, fold) != ("emotify", "fold-4"):
            continue
        shown = recipe.replace(",", ", ")
        if name not in cells:
            lines.append(f"| {shown} | | not run yet | | | |")
            continue
        cell, figures = cells[name], cells[name]["figures"]
        lines.append(
            f"| {shown} | {cell['parameters']:,} | {_cell(cell, letters)} | {figures['published_macro_f1']:.3f} | "
            f"{_right(cell, 'file_accuracy') / figures['files']:.3f} | {figures['window_accuracy']:.3f} |"
        )
    tested = next((c["figures"]["files"] for name, c in cells.items() if _is(name, "emotify", "fold-4")), None)
    if tested:
        # Of a proportion near one half, by the normal approximation: how wide every figure above is, in a word.
        reach = 1.96 * 0.5 / np.sqrt(tested)
        lines += ["", f"{tested:.0f} files are tested: each accuracy is within about ±{reach:.2f} (95 %)."]
    lines += ["", "What the papers report, by protocols of their own, which are not to be mixed with this one:", ""]
    trained = dict.fromkeys(name.split("/")[1].split(",")[0] for name in order)
    for paper in dict.fromkeys(RECIPES[recipe].paper for recipe in trained):
        assert paper is not None
        reported = f"{paper.reported} ({paper.protocol})" if paper.reported else "no figures"
        lines.append(f"- {paper.citation}: {reported}.")
    return [*lines, ""]


def _claims(found: dict[str, Any], claims: Sequence[str]) -> list[str]:
    lines = [
        "## What the papers claim",
        "",
        "On that split or, where the row says so, over all folds. Paired over the files (bootstrap interval that draws "
        "an artist's together, McNemar's exact test: `genrescope compare`). A claim *holds*, or *the opposite* does, "
        "where both say that chance does not explain the difference. One seed and few files: only large "
        "differences can show. A network that the time limit stopped had less training than its paper's.",
        "",
        "| claim | said to be worse | said to be better | points (95 % interval) | p | on this data |",
        "|---|---:|---:|---|---:|---|",
    ]
    for claim in claims:
        if claim not in found:
            lines.append(f"| {claim} | | | | | not run yet |")
            continue
        result = found[claim]
        accuracy = result["accuracy"]
        points = 100 * accuracy["difference"]
        interval = accuracy["interval"]
        reach = f" ({100 * interval[0]:+.0f} to {100 * interval[1]:+.0f})" if interval else ""
        verdict = ("holds" if points > 0 else "the opposite") if result["real"] else "not shown"
        lines.append(
            f"| {claim} | {accuracy['a']:.3f} | {accuracy['b']:.3f} | {points:+.1f}{reach} | {result['p']:.3f} | "
            f"{verdict} |"
        )
    return [*lines, ""]


def _folds(dataset: str, cells: dict[str, Any], order: Sequence[str], letters: dict[str, str]) -> list[str]:
    names = [name for name in order if name.split("/")[0] == dataset]
    folds = sorted({name.split("/")[2] for name in names})
    recipes = [
        recipe
        for recipe in dict.fromkeys(name.split("/")[1] for name in names)
        if all(f"{dataset}/{recipe}/{fold}" in names for fold in folds)
    ]
    lines = [
        f"## {dataset}: every fold tested in turn",
        "",
        f"| recipe | {' | '.join(fold.replace('-', ' ') for fold in folds)} | mean (95 % over folds) | macro-F1 |",
        "|---|" + "---|" * len(folds) + "---|---:|",
    ]
    for recipe in recipes:
        done = [cells.get(f"{dataset}/{recipe}/{fold}") for fold in folds]
        row = [_cell(cell, letters) if cell else "not run yet" for cell in done]
        lines.append(
            f"| {recipe.replace(',', ', ')} | {' | '.join(row)} | {_mean([c for c in done if c], len(folds))} |"
        )
    return [*lines, ""]


def _mean(done: Sequence[dict[str, Any]], folds: int) -> str:
    if not done:
        return " | "
    files = np.array([cell["figures"]["files"] for cell in done])
    pooled = float(np.average([cell["figures"]["published_accuracy"] for cell in done], weights=files))
    found = spread([cell["figures"]["published_accuracy"] for cell in done], shared=1 / (folds - 2))
    reach = f" ({found.interval.low:.3f} to {found.interval.high:.3f})" if found.interval else ""
    some = "" if len(done) == folds else f", {len(done)} of {folds} folds"
    macro = float(np.mean([cell["figures"]["published_macro_f1"] for cell in done]))
    return f"**{pooled:.3f}** of {files.sum():.0f} files{reach}{some} | {macro:.3f}"


def _cell(cell: dict[str, Any], letters: dict[str, str]) -> str:
    run = f"{cell['epochs']:.0f} of {cell['published_epochs']}, {_WHYS[cell['stopped']]}"
    return (
        f"{_right(cell) / cell['figures']['files']:.3f} ({run}; {cell['minutes']:g} min, {letters[cell['hardware']]})"
    )


def _is(name: str, dataset: str, fold: str) -> bool:
    return name.startswith(f"{dataset}/") and name.endswith(f"/{fold}")
