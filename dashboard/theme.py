"""The page's colours: Streamlit's theme for light and dark, and a colour per label for colour-blind eyes too."""

from __future__ import annotations

THEME: dict[str, str] = {
    "theme.light.primaryColor": "#0b6e6e",
    "theme.light.backgroundColor": "#fbfaf7",
    "theme.light.secondaryBackgroundColor": "#f0eee8",
    "theme.light.textColor": "#1b1d1f",
    "theme.light.borderColor": "#dcd8cf",
    "theme.dark.primaryColor": "#4cc9c0",
    "theme.dark.backgroundColor": "#0e1114",
    "theme.dark.secondaryBackgroundColor": "#191e23",
    "theme.dark.textColor": "#eceff1",
    "theme.dark.borderColor": "#2b3239",
}
"""Streamlit options; which of the two applies is the viewer's choice, by default that of the system."""

# After Paul Tol's "muted" and "bright" schemes, shifted in lightness until each colour stands out (3:1) on its ground.
LABEL_COLOURS: dict[str, tuple[str, ...]] = {
    "light": (
        "#332288",
        "#2a8fbd",
        "#2f8f7f",
        "#117733",
        "#7d7d1f",
        "#a8871a",
        "#c4505f",
        "#882255",
        "#aa4499",
        "#b3591b",
    ),
    "dark": (
        "#8f85f0",
        "#88ccee",
        "#44c2ab",
        "#4fb35f",
        "#b5b53c",
        "#ddcc77",
        "#f08a93",
        "#d0568f",
        "#d98ccf",
        "#f0a35e",
    ),
}
"""Colours of the labels, in the model's order; a model with more labels starts over, and text tells them apart."""

PAGE_CSS = """
<style>
[data-testid="stMainBlockContainer"] { padding: 1rem clamp(0.75rem, 2vw, 2rem) 2rem; max-width: 120rem; }
[data-testid="stHeader"] { height: 0; min-height: 0; background: transparent; }
[data-testid="stDialog"] { display: none; }
.rows { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
.rows :is(td, th) {
  padding: 0.35rem 0.75rem 0.35rem 0; border: 0 solid color-mix(in srgb, currentColor 15%, transparent);
  border-bottom-width: 1px; text-align: left; vertical-align: top; overflow-wrap: anywhere;
}
.rows th { font-size: 0.875em; font-weight: 400; opacity: 0.7; }
.rows td:first-child { white-space: nowrap; }
</style>
"""
"""Takes back the room that Streamlit keeps for a toolbar which this page does not show, and hides its dialog about a
lost connection, which would cover the page: the live part says the same, and that it is trying again. ``rows`` are the
tables of ``panels.table``."""
