"""Pictures of an evaluation, drawn for light or dark pages."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from train.coverage import Coverage
from train.reliability import BINS, Reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Format = Literal["png", "svg"]
Curves = Mapping[str, Sequence[float | None]]


class Palette(NamedTuple):
    """Colours; ``map`` goes from none to all, ``accents`` tell curves apart and are told apart by
    people who see no red or no green (Okabe & Ito)."""

    background: str
    ink: str
    faint: str
    map: tuple[str, str]
    accents: tuple[str, str]


LIGHT = Palette("#ffffff", "#1c2430", "#d5dae1", ("#f4f7fb", "#0b5394"), ("#0b6fb8", "#c4570a"))
DARK = Palette("#161b22", "#dfe5ec", "#333c48", ("#1b222c", "#7cc0ff"), ("#6cb6f5", "#f0a35e"))

_DPI = 130


def draw_confusion(
    confusion: npt.NDArray[np.int64], labels: Sequence[str], *, shares: bool, palette: Palette, format: Format
) -> bytes:
    """The confusion matrix, true labels down, given labels across: numbers of files, or shares of each row.

    Colour is the share of a row in both.
    """
    from matplotlib.colors import LinearSegmentedColormap

    rows = confusion.sum(axis=1, keepdims=True)
    share = confusion / rows.clip(min=1)
    side = 2.2 + 0.42 * len(labels)
    with _picture((side + 0.4, side), palette) as (figure, (axes,)):
        axes.imshow(share, cmap=LinearSegmentedColormap.from_list("share", palette.map), vmin=0.0, vmax=1.0)
        axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(labels)), [f"{label}  {n}" for label, n in zip(labels, rows[:, 0], strict=True)])
        axes.set_xticks(np.arange(len(labels) + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(len(labels) + 1) - 0.5, minor=True)
        axes.grid(which="minor", color=palette.background, linewidth=1.5)
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("heard as")
        axes.set_ylabel("is (files)")
        for row, column in zip(*np.nonzero(confusion), strict=True):
            value = f"{100 * share[row, column]:.0f}" if shares else str(confusion[row, column])
            ink = palette.background if share[row, column] > 0.5 else palette.ink
            axes.text(column, row, value, ha="center", va="center", color=ink, fontsize=9)
        return _saved(figure, format)


def draw_reliability(after: Mapping[str, Reliability], *, palette: Palette, format: Format) -> bytes:
    """Accuracy by confidence, a line each; the size of a point is the share of the answers that are so confident."""
    with _picture((5.2, 5.2), palette) as (figure, (axes,)):
        axes.plot([0, 1], [0, 1], color=palette.ink, linewidth=1, linestyle=(0, (2, 3)), label="as confident as right")
        for (name, reliability), colour, marker in zip(after.items(), palette.accents, "os", strict=False):
            answers = np.array(reliability.answers)
            filled = answers > 0
            confidence = np.array(reliability.confidence)[filled] / answers[filled]
            right = np.array(reliability.right)[filled] / answers[filled]
            sizes = 12 + 260 * answers[filled] / max(1, answers.sum())
            label = f"{name}: calibration error {reliability.error:.3f}"
            axes.plot(confidence, right, color=colour, linewidth=1.6, label=label)
            axes.scatter(confidence, right, s=sizes, color=colour, marker=marker, zorder=3, alpha=0.85, linewidths=0)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel=f"confidence ({BINS} bins)", ylabel="accuracy", aspect="equal")
        axes.grid(color=palette.faint, linewidth=0.7)
        # Above the square: inside it, curves may run anywhere.
        _legend(axes, palette, loc="lower left", bbox_to_anchor=(0, 1.01), borderaxespad=0)
        return _saved(figure, format)


def draw_coverage(coverage: Coverage, *, palette: Palette, format: Format) -> bytes:
    """Accuracy of the most confident answers, by which share of all they are."""
    with _picture((5.2, 3.9), palette) as (figure, (axes,)):
        answers = len(coverage.accuracy)
        shares = np.arange(1, answers + 1) / answers
        axes.plot(shares, coverage.accuracy, color=palette.accents[0], linewidth=1.6)
        axes.axhline(coverage.at(1.0), color=palette.ink, linewidth=1, linestyle=(0, (2, 3)))
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="share of the files that is answered", ylabel="accuracy of those")
        axes.grid(color=palette.faint, linewidth=0.7)
        return _saved(figure, format)


def draw_curves(runs: Sequence[Curves], *, palette: Palette, format: Format) -> bytes:
    """Loss and accuracy over the epochs, training and validation: a faint line a network, a strong one their mean."""
    from matplotlib.ticker import MaxNLocator

    with _picture((8.6, 3.5), palette, columns=2) as (figure, both):
        for axes, figure_name in zip(both, ("loss", "accuracy"), strict=True):
            for name, colour in zip(("train", "validation"), palette.accents, strict=True):
                curves = [_values(run[f"{name}_{figure_name}"]) for run in runs if run.get(f"{name}_{figure_name}")]
                if not curves:
                    continue
                for curve in curves if len(curves) > 1 else []:
                    _plot(axes, curve, color=colour, linewidth=0.8, alpha=0.3)
                _plot(axes, _mean_curve(curves), color=colour, linewidth=1.8, label=_LEARNING[name])
            axes.set_xlabel("epoch")
            axes.set_title(f"{figure_name} of windows", fontsize=10, loc="left", color=palette.ink)
            axes.grid(color=palette.faint, linewidth=0.7)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            if max((np.size(line.get_xdata()) for line in axes.lines), default=0) == 1:
                axes.set_xlim(0, 2)  # one epoch is a point, with its number in the middle
            if figure_name == "accuracy":
                axes.set_ylim(0, 1.02)
            if axes.has_data():
                _legend(axes, palette, loc="best")
        return _saved(figure, format)


def draw_decisions(
    curves: Mapping[str, Sequence[tuple[float, float, float]]],
    chosen: Mapping[str, tuple[float, float, float]],
    *,
    reference: str,
    palette: Palette,
    format: Format,
) -> bytes:
    """How soon against how steady, and how right against how steady; a curve for each rule through its settings.

    Points are (false switches a minute, median seconds to the right label, accuracy); ``chosen`` are marked and named.
    The rule ``reference`` is no rival of the others: dotted.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    colours = {reference: palette.ink}
    colours |= zip((rule for rule in curves if rule != reference), [*palette.accents, *_MORE_ACCENTS], strict=True)
    with _picture((9.6, 4.2), palette, columns=2) as (figure, both):
        for axes, at, title in zip(both, (1, 2), ("seconds to the right label (median)", "accuracy"), strict=True):
            for rule, points in curves.items():
                colour = colours[rule]
                axes.plot(
                    [point[0] for point in points],
                    [point[at] if np.isfinite(point[at]) else np.nan for point in points],
                    color=colour,
                    linewidth=1.6,
                    linestyle=(0, (1, 2)) if rule == reference else "-",
                    marker="o",
                    markersize=3.5,
                    label=rule,
                )
                if rule in chosen and np.isfinite(chosen[rule][at]):
                    axes.scatter([chosen[rule][0]], [chosen[rule][at]], s=70, color=colour, zorder=3)
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xlabel("false switches a minute")
            axes.set_title(title, fontsize=10, loc="left", color=palette.ink)
            axes.grid(color=palette.faint, linewidth=0.7)
        both[0].set_ylim(bottom=0)
        _legend(both[0], palette, loc="best")
        return _saved(figure, format)


def draw_scorers(
    panels: Mapping[str, tuple[Mapping[str, Sequence[tuple[int, float]]], Sequence[tuple[int, float]]]],
    *,
    palette: Palette,
    format: Format,
) -> bytes:
    """Windows a second by how many are scored at once: for each model a curve a runtime, and what one thread can do.

    Points are (windows at once, windows a second).
    """
    from matplotlib.ticker import LogLocator, NullLocator

    colours = [*palette.accents, *_MORE_ACCENTS, palette.ink]
    with _picture((5.2 * len(panels), 4.2), palette, columns=len(panels)) as (figure, columns):
        for axes, (model, (curves, ceiling)) in zip(columns, panels.items(), strict=True):
            for (name, points), colour in zip(curves.items(), colours, strict=False):
                axes.plot(
                    *zip(*points, strict=True), color=colour, linewidth=1.6, marker="o", markersize=3.5, label=name
                )
            if ceiling:
                label = "the most that one thread can do"
                axes.plot(
                    *zip(*ceiling, strict=True), color=palette.ink, linewidth=1, linestyle=(0, (2, 3)), label=label
                )
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:,g}")
            axes.yaxis.set_minor_locator(NullLocator())
            axes.set_xlabel("windows at once")
            axes.set_title(f"{model}: windows a second", fontsize=10, loc="left", color=palette.ink)
            axes.grid(color=palette.faint, linewidth=0.7)
            _legend(axes, palette, loc="best")
        return _saved(figure, format)


_MORE_ACCENTS = ("#009e73", "#cc79a7", "#56b4e9")
"""For more than two curves, of the same palette."""
_LEARNING = {"train": "training", "validation": "validation"}


def _values(curve: Sequence[float | None]) -> npt.NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in curve])


def _mean_curve(curves: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Mean up to the end of the shortest: a run that stopped early must not bend the line."""
    epochs = min(len(curve) for curve in curves)
    return np.asarray(np.mean([curve[:epochs] for curve in curves], axis=0))


def _plot(axes: Axes, curve: npt.NDArray[np.float64], **style: Any) -> None:
    """A curve over the epochs, from the first; with points where a line would have no length."""
    lone = np.isfinite(curve).sum() == 1
    axes.plot(np.arange(1, len(curve) + 1), curve, marker="o" if lone else None, **style)


def _legend(axes: Axes, palette: Palette, *, loc: Literal["lower left", "best"], **place: Any) -> None:
    axes.legend(
        loc=loc,
        fontsize=8.5,
        frameon=True,
        facecolor=palette.background,
        edgecolor="none",
        labelcolor=palette.ink,
        **place,
    )


@contextmanager
def _picture(size: tuple[float, float], palette: Palette, *, columns: int = 1) -> Iterator[tuple[Figure, list[Axes]]]:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as NewFigure

    with mpl.rc_context(
        {
            "axes.edgecolor": palette.faint,
            "axes.facecolor": palette.background,
            "axes.labelcolor": palette.ink,
            "text.color": palette.ink,
            "xtick.color": palette.ink,
            "ytick.color": palette.ink,
            "text.parse_math": False,  # labels are names, also those with a dollar sign
            "svg.hashsalt": "genrescope",  # the same figures give the same bytes
        }
    ):
        figure = NewFigure(figsize=size, layout="constrained", facecolor=palette.background)
        FigureCanvasAgg(figure)
        axes = [figure.add_subplot(1, columns, column + 1) for column in range(columns)]
        for each in axes:
            each.spines[["top", "right"]].set_visible(False)
        yield figure, axes


def _saved(figure: Figure, format: Format) -> bytes:
    file = io.BytesIO()
    # No date: the same figures give the same bytes.
    figure.savefig(file, format=format, dpi=_DPI, metadata={"Date": None} if format == "svg" else None)
    return file.getvalue()
