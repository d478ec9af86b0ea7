"""The live component: one canvas page fed by the live socket, as a Streamlit component."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard.theme import LABEL_COLOURS

_FOLDER = Path(__file__).with_name("component")
_SCRIPTS = (
    "colour_map.js",
    "words.js",
    "standing.js",
    "link.js",
    "spectrogram.js",
    "strip.js",
    "verdict_view.js",
    "status_view.js",
    "live.js",
)
"""Joined in this order into one module, which is what Streamlit takes."""


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


# Registered once, when imported: registering again with every rerun would be a new component every time.
_component = st.components.v2.component(
    "genrescope_live",
    html=_read("live.html"),
    css=_read("live.css"),
    js="\n".join(_read(name) for name in _SCRIPTS),
)


def live_view(*, socket_path: str, token: str) -> None:
    """Draw the live part of the page. A new ``token`` reaches the component without mounting it again."""
    _component(
        key="live",
        data={"path": socket_path, "token": token, "colours": LABEL_COLOURS},
        # The component asks for a rerun, and so for a new token, when its own has grown too old.
        on_token_change=lambda: None,
    )
