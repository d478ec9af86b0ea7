"""The page's script: the live component, and below it the controls, the history and the model card."""

from __future__ import annotations

import time
from pathlib import Path

import streamlit as st

from dashboard import panels
from dashboard.live_view import live_view
from dashboard.page import Page, get_page
from dashboard.theme import PAGE_CSS
from models.card_words import figures_in_words
from models.errors import GenrescopeError
from stream.events import Command, SetHalfLife, SetSource

HISTORY_ROWS = 8


def wish(page: Page, key: str, command: type[SetSource] | type[SetHalfLife]) -> None:
    """A control was moved: send it to the engine, and remember it until the engine confirms."""
    value = st.session_state[key]
    st.session_state[f"{key}_wish"] = panels.Wish(value, time.time())
    send(page, command(value))


def send(page: Page, command: Command) -> None:
    """Tell the engine, or the viewer that it has gone."""
    try:
        page.submit(command)
    except GenrescopeError as error:
        st.error(str(error))


def follow(key: str, applied: object) -> None:
    """Make a control show what the engine has applied: another viewer may have changed it."""
    value = panels.settled(applied, st.session_state.get(f"{key}_wish"), now=time.time())
    if st.session_state.get(key) != value:
        st.session_state[key] = value


@st.fragment(run_every=5.0)
def controls_and_history(page: Page) -> None:
    """Everything below the live part; drawn again every few seconds and whenever a control moves."""
    board = page.board
    hello, source, half_life_s = board.hello, board.source, board.half_life_s
    if hello is None or source is None or half_life_s is None:
        st.caption("Waiting for the engine…")
        return

    left, right = st.columns(2, gap="large")
    with left:
        names = panels.source_names(board.choices, source)
        follow("source", source)
        st.selectbox(
            "Source",
            list(names),
            format_func=lambda address: names.get(address, address),
            key="source",
            on_change=wish,
            args=(page, "source", SetSource),
            help="Changes what everybody who watches this page hears of.",
        )
        if board.ended and source != "-":  # standard input cannot be heard again
            st.button("Play again", on_click=send, args=(page, SetSource(source)))
    with right:
        follow("half_life", half_life_s)
        st.select_slider(
            "Smoothing: half-life of the vote",
            panels.half_life_steps(half_life_s),
            format_func=lambda value: f"{value:g} s",
            key="half_life",
            on_change=wish,
            args=(page, "half_life", SetHalfLife),
        )
        st.caption(
            panels.delay_sentence(
                half_life_s=st.session_state["half_life"],
                enter=hello.card.head.enter,
                window_s=hello.card.window_seconds,
                hop_s=hello.hop_s,
                hears_changes=hello.card.novelty is not None,
            )
        )

    rows = panels.history_rows(board.moments(), hello.card, limit=HISTORY_ROWS, now=time.time())
    with left:
        st.markdown("###### What it heard")
        if rows:
            st.html(panels.table((row.values() for row in rows), head=rows[0]))
        else:
            st.caption("Nothing yet.")
    with right, st.expander("The model"):
        st.html(panels.table(panels.card_facts(hello.card).items()))
    figures = figures_in_words(hello.card)
    if figures:
        with right, st.expander("Its figures"):
            st.html(panels.table(figures.items()))


st.set_page_config(page_title="genrescope", page_icon=Path(__file__).parent / "component" / "icon.svg", layout="wide")
st.html(PAGE_CSS)
page = get_page()
live_view(socket_path=page.socket_path, token=page.mint.issue())
controls_and_history(page)
