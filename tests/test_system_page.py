"""What the page shows in a real Chromium, fed by an engine that is not one through the real link and server."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from daemons import wait_until
from fake_engine import CARD, CHANNEL
from page_windows import OPEN_MS, Show, Watched, pixels, spread
from playwright.sync_api import Browser
from verdicts import make_verdict

from models.spec import Given, Head
from stream.events import (
    HeadVerdict,
    Health,
    HealthState,
    Hello,
    SetHalfLife,
    SetSource,
    SourceChoice,
    VerdictState,
)

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_it_draws_the_label_and_the_spectrogram_moves(
    show: Show, watch: Callable[..., Watched], tmp_path: Path, scheme: str
) -> None:
    watched = watch(color_scheme=scheme)
    window = watched.open(show.url, verdicts=4)
    assert window.locator(".page").get_attribute("data-dark") == str(scheme == "dark").lower()
    assert window.locator(".label").inner_text().strip()
    assert window.locator(".bars li").count() == 10
    assert "Demo programme" in window.locator(".source").inner_text()
    assert window.locator(".synthetic").is_visible()
    assert spread(window, ".spectrogram canvas") > 100
    before = pixels(window, ".spectrogram canvas")
    wait_until(lambda: pixels(window, ".spectrogram canvas") != before, "a spectrogram that moves")
    assert spread(window, ".strip canvas") > 5
    assert "jazz" in (window.locator(".strip canvas").get_attribute("aria-label") or "")
    window.screenshot(path=tmp_path / f"{scheme}.png")
    assert watched.complaints == []
    assert watched.foreign == []


def test_drawn_verdicts_are_reported_in_order_and_the_report_is_bounded(
    show: Show, watch: Callable[..., Watched]
) -> None:
    watched = watch()
    window = watched.open(show.url, verdicts=4)
    drawn = window.evaluate("window.__genrescope.drawn")
    samples = [each["sample"] for each in drawn]
    assert samples == sorted(set(samples))
    kept = 600
    window.evaluate(
        "(count) => { const { drawn } = window.__genrescope;"
        " while (drawn.length < count) drawn.unshift({ sample: 0 }); }",
        kept,
    )
    watched.drawn(2)
    assert window.evaluate("window.__genrescope.drawn.length") == kept


def test_three_windows_see_the_same_and_share_the_settings(show: Show, watch: Callable[..., Watched]) -> None:
    windows = [watch().open(show.url) for _ in range(3)]
    slider = windows[0].get_by_role("slider")
    slider.focus()
    slider.press("ArrowRight")
    wait_until(lambda: show.engine.commands, "the half-life's command at the engine")
    assert show.engine.commands[-1] == SetHalfLife(3.0)
    for window in windows:
        window.locator(".model-name", has_text="half-life 3 s").wait_for(timeout=OPEN_MS)
        # The other viewers' controls follow with their next rerun.
        window.get_by_text("follows within 6.6\N{NO-BREAK SPACE}s, on top of").wait_for(timeout=OPEN_MS)
    slider.press("ArrowLeft")
    wait_until(lambda: show.engine.commands[-1] == SetHalfLife(2.0), "the second command")


def test_the_source_picker_reaches_the_engine(show: Show, watch: Callable[..., Watched]) -> None:
    window = watch().open(show.url)
    choice = window.get_by_role("option", name="Microphone")

    def opened() -> bool:
        # A click while the page is still being laid out may miss.
        window.get_by_role("combobox").click()
        window.wait_for_timeout(1000)
        return choice.is_visible()

    wait_until(opened, "the picker's choices")
    choice.click()
    wait_until(lambda: SetSource("mic") in show.engine.commands, "the source's command at the engine")
    window.locator(".source-name", has_text="Microphone").wait_for(timeout=OPEN_MS)
    window.locator(".synthetic").wait_for(state="hidden", timeout=OPEN_MS)
    show.engine.submit(SetSource("demo"))
    window.locator(".synthetic").wait_for(timeout=OPEN_MS)


def test_trouble_is_said_with_its_reason(show: Show, watch: Callable[..., Watched]) -> None:
    window = watch().open(show.url)
    show.engine.warnings = ("clipped: the input is too loud",)
    window.get_by_text("clipped: the input is too loud").wait_for(timeout=OPEN_MS)
    show.engine.warnings = ()
    show.engine.health_state, show.engine.reason = HealthState.RECONNECTING, "the station hung up"
    window.locator(".label", has_text="Reconnecting…").wait_for(timeout=OPEN_MS)
    assert window.locator(".detail").inner_text() == "the station hung up"
    assert window.locator(".health").inner_text() == "Reconnecting"
    show.engine.health_state, show.engine.reason = HealthState.LIVE, ""
    window.locator(".label", has_not_text="Reconnecting…").wait_for(timeout=OPEN_MS)


def test_a_refusal_is_told_and_goes_with_the_next_change(show: Show, watch: Callable[..., Watched]) -> None:
    window = watch().open(show.url)
    show.engine.refuses = {"mic"}
    try:
        show.engine.submit(SetSource("mic"))
        window.locator(".said", has_text="'mic' is not among the sources offered").wait_for(timeout=OPEN_MS)
    finally:
        show.engine.refuses = set()
    show.engine.submit(SetHalfLife(2.0))
    window.locator(".said").wait_for(state="hidden", timeout=OPEN_MS)


def test_the_end_of_a_file_is_no_alarm_and_it_can_be_heard_again(show: Show, watch: Callable[..., Watched]) -> None:
    window = watch().open(show.url)
    show.engine.health_state, show.engine.reason = HealthState.ENDED, "the file has been heard to its end"
    try:
        window.locator(".said", has_text="heard to its end").wait_for(timeout=OPEN_MS)
        assert "warning" not in (window.locator(".said").get_attribute("class") or "")
        told = len(show.engine.commands)
        window.get_by_role("button", name="Play again").click(timeout=OPEN_MS)
        wait_until(lambda: show.engine.commands[told:] == [SetSource("demo")], "the source's command at the engine")
    finally:
        show.engine.health_state, show.engine.reason = HealthState.LIVE, ""


def test_a_notice_does_not_move_the_page_of_a_phone(show: Show, watch: Callable[..., Watched]) -> None:
    show.engine.submit(SetSource("mic"))
    try:
        window = watch(viewport={"width": 390, "height": 844}).open(show.url)
        window.locator(".synthetic").wait_for(state="hidden", timeout=OPEN_MS)
        before = window.locator(".hero").bounding_box()
        show.engine.warnings = ("clipped: the input is too loud",)
        window.locator(".said").wait_for(timeout=OPEN_MS)
        assert window.locator(".hero").bounding_box() == before
    finally:
        show.engine.warnings = ()
        show.engine.submit(SetSource("demo"))


def test_of_many_labels_the_likeliest_are_shown_and_foreign_names_are_mere_text(
    browser: Browser, watch: Callable[..., Watched]
) -> None:
    show = Show(playing=False)
    try:
        labels = tuple(f"a label with a long name, number {number}" for number in range(40))
        name = "![x](http://192.0.2.1/x.png) :red[loud] **song**"
        genre = Head(
            name="genre", labels=labels, titles={labels[39]: "R&B <i>"}, given=Given(head="kind", label="music")
        )
        kind = Head(name="kind", labels=("music", "other", "speech"))
        card = CARD.model_copy(update={"name": name, "heads": (genre, kind)})
        choices = (SourceChoice("demo", name),)
        show.link.publish(Hello("many", CHANNEL, card, "fake", "demo", 2.0, 0.35, choices))
        smoothed = np.full(len(labels), 0.005, np.float32)
        smoothed[39] = 0.8
        now = time.time()
        show.link.publish(Health(CHANNEL, HealthState.LIVE, now, now + 3600, "demo", name))
        verdict = make_verdict(
            VerdictState.DECIDED,
            labels[39],
            labels=labels,
            channel=CHANNEL,
            sample=1,
            time=now,
            since=now,
            raw=smoothed,
            smoothed=smoothed,
        )
        others = (
            HeadVerdict("mood", ("calm", "wild"), "calm", 0.7, None, None),
            HeadVerdict("kind", kind.labels, None, 0.5, None, None),
        )
        show.link.publish(replace(verdict, heads=(*verdict.heads, *others)))
        watched = watch()
        window = watched.open(show.url, verdicts=0)
        window.locator(".label", has_text="R&B <i>").wait_for(timeout=OPEN_MS)
        assert window.locator(".bars li:visible").count() == 12
        assert window.locator(".bars .leader").is_visible()
        assert window.locator(".bars .leader .value").inner_text() == "80\N{NO-BREAK SPACE}%".replace(
            "\N{NO-BREAK SPACE}", " "
        )
        assert window.locator(".others").inner_text() == "mood: calm 70 % · kind: not sure"
        assert "12 likeliest of 40" in window.locator(".key-more").inner_text()
        assert window.locator(".source-name").inner_text() == name
        window.get_by_role("combobox").and_(window.locator(f"[value='{name}'], [aria-label*='{name}']")).wait_for(
            timeout=OPEN_MS
        )
        window.get_by_text("The model", exact=True).click()
        window.locator(".rows td", has_text=name).wait_for(timeout=OPEN_MS)
        # Likely enough, but not yet far enough ahead of the label shown last.
        doubted = replace(verdict.head, label=None)
        show.link.publish(replace(verdict, sample=2, state=VerdictState.UNSURE, heads=(doubted, *others)))
        window.locator(".detail", has_text="waiting for a clearer lead").wait_for(timeout=OPEN_MS)
        talk = replace(verdict.head, label=None, instead="speech")
        show.link.publish(replace(verdict, sample=3, state=VerdictState.UNSURE, heads=(talk, *others)))
        window.locator(".label", has_text="speech").wait_for(timeout=OPEN_MS)
        assert window.locator(".lead").inner_text() == "It sounds like"
        # The strip says the same, in a grey of its own.
        window.locator(".legend li", has_text="speech").wait_for(timeout=OPEN_MS)
        noise = replace(talk, instead="other")
        show.link.publish(replace(verdict, sample=4, time=now + 1, state=VerdictState.UNSURE, heads=(noise, *others)))
        window.locator(".legend li", has_text="other").wait_for(timeout=OPEN_MS)
        marks = [window.locator(".legend li", has_text=each).locator(".mark.instead") for each in ("speech", "other")]
        assert len({each.evaluate("(mark) => getComputedStyle(mark).opacity") for each in marks}) == 2
        # Of what has ended it is said in the past.
        show.link.publish(Health(CHANNEL, HealthState.ENDED, now, now + 3600, "demo", name))
        window.locator(".lead", has_text="The last thing it heard").wait_for(timeout=OPEN_MS)
        assert watched.foreign == []
    finally:
        show.stop()


@pytest.mark.parametrize(("width", "height"), [(320, 640), (390, 844), (900, 700), (1920, 1080)])
def test_nothing_hangs_over_the_edge(show: Show, watch: Callable[..., Watched], width: int, height: int) -> None:
    window = watch(viewport={"width": width, "height": height}).open(show.url)
    assert window.evaluate("document.documentElement.scrollWidth") <= width
    main = window.get_by_test_id("stMain")
    assert main.evaluate("(main) => main.scrollWidth - main.clientWidth") <= 0
    over = window.locator(".page").evaluate(
        """(page) => [...page.querySelectorAll("*")]
             .filter((each) => each.getBoundingClientRect().right > innerWidth + 0.5 && !each.closest(".unseen"))
             .map((each) => each.className)"""
    )
    assert over == []


def test_the_live_part_fits_a_kiosk_without_scrolling(show: Show, watch: Callable[..., Watched]) -> None:
    window = watch(viewport={"width": 1920, "height": 1080}).open(
        f"{show.url}/?embed=true&embed_options=dark_theme&embed_options=hide_loading_screen"
    )
    box = window.locator(".page").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= 1080
    label = window.locator(".label").bounding_box()
    assert label is not None
    assert label["height"] >= 100


@pytest.mark.parametrize(("motion", "lasts"), [("reduce", "0s"), ("no-preference", "0.25s")])
def test_less_motion_is_shown_to_those_who_ask_for_it(
    show: Show, watch: Callable[..., Watched], motion: str, lasts: str
) -> None:
    window = watch(reduced_motion=motion).open(show.url)
    fill = window.locator(".fill").first
    assert fill.evaluate("(fill) => getComputedStyle(fill).transitionDuration") == lasts
