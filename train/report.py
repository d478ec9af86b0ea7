"""An evaluation for people: one HTML page that needs nothing else, and the same as Markdown with pictures beside it."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jinja2

from models.atomic_write import replacing
from models.spec import ModelCard
from train.figures import DARK, LIGHT, Format, Palette, draw_confusion, draw_coverage, draw_curves, draw_reliability
from train.findings import Findings

_TEMPLATES = Path(__file__).parent / "templates"


class Picture(NamedTuple):
    """A picture by the end of its file's name, what it shows, and who draws it."""

    name: str
    alt: str
    draw: Callable[..., bytes]

    def embedded(self, palette: Palette) -> str:
        """As an address that holds the picture itself."""
        return "data:image/svg+xml;base64," + base64.b64encode(self._drawn(palette, "svg")).decode()

    def png(self) -> bytes:
        """For a page on light paper."""
        return self._drawn(LIGHT, "png")

    def _drawn(self, palette: Palette, format: Format) -> bytes:
        return self.draw(palette=palette, format=format)


def write_report(findings: Findings, folder: Path) -> Path:
    """Write ``NAME.html``, ``NAME.md`` and its pictures for the model called NAME; return the HTML page."""
    name = file_name(findings.first.card)
    pictures = _pictures(findings)
    for picture in pictures:
        with replacing(folder / f"{name}-{picture.name}.png") as temporary:
            temporary.write_bytes(picture.png())
    page = folder / f"{name}.html"
    for path in (page, folder / f"{name}.md"):
        with replacing(path) as temporary:
            temporary.write_text(_render(path.suffix, findings, pictures, name), encoding="utf-8")
    return page


def file_name(card: ModelCard) -> str:
    """A model's name as the name of a file; of one with several heads, with that of the first: what is measured."""
    name = card.name if len(card.heads) == 1 else f"{card.name}-{card.head.name}"
    return re.sub(r"[^\w.+-]+", "-", name).strip("-.") or "model"


def _pictures(findings: Findings) -> list[Picture]:
    labels, trust = findings.first.labels, findings.trust
    matrix = partial(draw_confusion, findings.confusion, labels)
    reliability = {"running vote": trust.vote_after, "windows": trust.windows_after}
    pictures = [
        Picture("confusion", "Confusion matrix, numbers of files", partial(matrix, shares=False)),
        Picture("confusion-normalised", "Confusion matrix, per cent of each class", partial(matrix, shares=True)),
        Picture("reliability", "Reliability diagram", partial(draw_reliability, reliability)),
        Picture("coverage", "Accuracy of the most confident answers", partial(draw_coverage, findings.coverage)),
    ]
    curves = [record.training.curves for record in findings.records if record.training.curves]
    if curves:
        pictures.append(Picture("curves", "Loss and accuracy in training", partial(draw_curves, curves)))
    return pictures


def _render(suffix: str, findings: Findings, pictures: Sequence[Picture], name: str) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=suffix == ".html",
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(percent=_percent, span=_span, cell=_cell)
    by_name = {picture.name: picture for picture in pictures}
    return environment.get_template(f"report{suffix}").render(
        findings=findings, pictures=by_name, name=name, light=LIGHT, dark=DARK
    )


def _percent(share: float) -> str:
    """``59.3 %``; a dash where there was nothing to divide by."""
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"


def _span(interval: tuple[float, float] | None) -> str:
    """``52.2 to 66.5 %``; empty without an interval."""
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f} %" if interval else ""


def _cell(text: object) -> str:
    """Text that stays in its cell of a Markdown table, and is no HTML there."""
    escaped = re.sub(r"([\\`*\[\]<>|])", r"\\\1", str(text))
    return " ".join(escaped.split())
