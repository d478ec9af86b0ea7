"""An evaluation for people: a Markdown page and a picture of the confusion matrix."""

from __future__ import annotations

import math
from pathlib import Path

from models.smoothing import DEFAULT_HALF_LIFE_S
from train.atomic_write import replacing
from train.evaluate import Evaluation

_MEANINGS = {
    "files": "files tested",
    "file_accuracy": "files named rightly",
    "file_balanced_accuracy": "mean of the classes' recalls",
    "window_accuracy": "single windows named rightly",
    "ece_windows_before": "calibration error of windows at temperature 1",
    "ece_windows_after": "calibration error of windows, calibrated",
    "ece_vote_before": f"calibration error of the running vote ({DEFAULT_HALF_LIFE_S:g} s half-life) at temperature 1",
    "ece_vote_after": "calibration error of the running vote, calibrated",
    "vote_accuracy": "time at which the running vote's leader is right",
    "decided_share": "time at which the vote is sure enough for a label to enter",
    "decided_accuracy": "of that time, share named rightly",
}


def write_report(evaluation: Evaluation, folder: Path) -> Path:
    """Write ``folder/NAME.md`` and ``folder/NAME-confusion.png`` for the model called NAME; return the page."""
    name = evaluation.card.name
    picture = folder / f"{name}-confusion.png"
    draw_confusion(evaluation, picture)
    page = folder / f"{name}.md"
    with replacing(page) as temporary:
        temporary.write_text(markdown(evaluation, picture=picture.name), encoding="utf-8")
    return page


def markdown(evaluation: Evaluation, *, picture: str) -> str:
    """The page: what the model is, its figures, each class, and how it fares on each source of audio."""
    card, confusion = evaluation.card, evaluation.confusion
    lines = [
        f"# {card.name}",
        "",
        card.description,
        "",
        f"- Network: {card.architecture.name}, {card.window_seconds:.2f} s: {card.hears}",
        f"- Data: {card.provenance.data}",
        f"- Protocol: {card.provenance.protocol}; {card.provenance.epochs} epochs, seed {card.provenance.seed}",
        f"- Calibration: temperature {card.head.temperature:g}; a label enters at {card.head.enter:g} and leaves below "
        f"{card.head.leave:g}",
        f"- Code: commit {card.provenance.commit}",
        f"- Licence: {card.provenance.licence}",
        "",
        "| figure | value | |",
        "|---|---:|---|",
        *(f"| {key} | {value:g} | {_MEANINGS[key]} |" for key, value in evaluation.metrics().items()),
        "",
        f"![Confusion matrix]({picture})",
        "",
        "| class | files | recall | precision | most often taken for |",
        "|---|---:|---:|---:|---|",
    ]
    for index, label in enumerate(card.head.labels):
        row = confusion[index].copy()
        row[index] = 0
        mistaken = f"{card.head.labels[row.argmax()]} ({row.max()})" if row.any() else ""
        recall, precision = _figure(evaluation.recall[index]), _figure(evaluation.precision[index])
        lines.append(f"| {label} | {confusion[index].sum()} | {recall} | {precision} | {mistaken} |")
    sources = evaluation.recall_by_source()
    if sources:
        lines += ["", "Classes with more than one source of audio:", "", "| class | source | files | recall |"]
        lines += ["|---|---|---:|---:|"]
        for label, by_source in sources.items():
            for source, (right, files) in sorted(by_source.items()):
                lines.append(f"| {label} | {source} | {files} | {right / files:.2f} |")
    return "\n".join(lines) + "\n"


def draw_confusion(evaluation: Evaluation, path: Path) -> None:
    """Draw the confusion matrix: colour is the share of a row, numbers are files."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    confusion, labels = evaluation.confusion, evaluation.card.head.labels
    shares = confusion / confusion.sum(axis=1, keepdims=True).clip(min=1)
    side = 2.6 + 0.62 * len(labels)
    figure = Figure(figsize=(side, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="cividis", vmin=0.0, vmax=1.0)
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("heard as")
    axes.set_ylabel("is")
    accuracy = evaluation.metrics()["file_accuracy"]
    axes.set_title(f"{evaluation.card.name}: {len(evaluation.tracks)} files, {accuracy:.1%} right", fontsize=11)
    for row in range(len(labels)):
        for column in range(len(labels)):
            if confusion[row, column]:
                colour = "black" if shares[row, column] > 0.5 else "white"
                axes.text(column, row, str(confusion[row, column]), ha="center", va="center", color=colour)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130)


def _figure(share: float) -> str:
    return "" if math.isnan(share) else f"{share:.2f}"  # nan: there was nothing to divide by
