"""The link between engine and page: publish never waits, nothing grows, a new page is told what it missed."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pytest
from fake_engine import CARD, CHANNEL, CHOICES, LABELS
from hypothesis import given
from hypothesis import strategies as st
from verdicts import make_verdict

from models.errors import ConfigError, GenrescopeError
from stream import page_link
from stream.events import (
    Event,
    Frames,
    Gap,
    Health,
    HealthState,
    Hello,
    SetHalfLife,
    SetSource,
    Settings,
    Verdict,
    VerdictState,
)
from stream.page_link import EngineFeed, PageAlive, PageLink, Thinning

HELLO = Hello("boot", CHANNEL, CARD, "fake", "demo", 2.0, 0.35, CHOICES)
BAD = Settings("bad", 1.0, ())
"""An event that the page fails on."""


def frames(index: int, *, time: float | None = None, count: int = 1) -> Frames:
    """``count`` frames, numbered ``index``, one every 35 ms unless ``time`` is given."""
    return Frames(
        CHANNEL, index * 768, index * 0.035 if time is None else time, np.full((count, 40), index, np.float32)
    )


def verdict(
    time: float, label: str | None = "jazz", *, state: VerdictState = VerdictState.DECIDED, channel: str = CHANNEL
) -> Verdict:
    return make_verdict(state, label, labels=LABELS, channel=channel, sample=int(time * 100), time=time)


def health(time: float, *, channel: str = CHANNEL) -> Health:
    return Health(channel, HealthState.LIVE, 0.0, time, "demo", "Demo")


class Received:
    """What an EngineFeed was told, and a way to wait for it."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self.events: list[Event] = []
        self.closed = threading.Event()
        self._changed = threading.Condition()
        self.feed = EngineFeed(connection, on_event=self._take, on_close=self.closed.set)
        self.feed.start()

    def _take(self, event: Event) -> None:
        if event == BAD:
            raise ValueError("not to be shown")
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def wait(self, met: Callable[[list[Event]], object]) -> list[Event]:
        with self._changed:
            assert self._changed.wait_for(lambda: self.events and met(self.events), timeout=20), self.events[-3:]
        return self.events

    def end(self, connection: Connection[Any, Any]) -> None:
        """Close the page's end, once its thread has left it: another pipe may get the same number."""
        assert self.closed.wait(20)
        connection.close()

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@contextmanager
def attached(link: PageLink, on_message: Callable[[Any], None] = print) -> Iterator[Received]:
    ours, theirs = multiprocessing.Pipe()
    link.attach(ours, on_message=on_message)
    page = Received(theirs)
    try:
        yield page
    finally:
        link.close()
        page.end(theirs)


def test_events_arrive_in_their_order() -> None:
    link = PageLink()
    with attached(link) as page:
        link.publish(HELLO)
        for index in range(50):
            link.publish(frames(index))
        page.wait(lambda events: len(events) == 51)
    assert isinstance(page.events[0], Hello)
    assert [event.start // 768 for event in page.of(Frames)] == list(range(50))
    assert link.dropped == 0


def test_publish_never_waits_for_a_page_that_does_not_read_and_drops_the_oldest_frames(
    caplog: pytest.LogCaptureFixture,
) -> None:
    link = PageLink()
    ours, theirs = multiprocessing.Pipe()
    link.publish(HELLO)
    link.attach(ours, on_message=print)
    published = threading.Event()
    total = 20_000

    def engine() -> None:
        for index in range(total):
            link.publish(frames(index))
            if index % 10 == 0:
                link.publish(verdict(index * 0.035))
            if index == 15_000:
                link.publish(Settings("mic", 8.0, CHOICES))
                link.publish(health(1.0))
                link.publish(health(2.0))
        published.set()

    threading.Thread(target=engine, daemon=True).start()
    assert published.wait(30), "publish waited for a page that does not read"
    assert link.dropped > 0
    page = Received(theirs)
    page.wait(lambda events: isinstance(events[-1], Frames) and events[-1].start == (total - 1) * 768)
    starts = [event.start for event in page.of(Frames)]
    assert starts == sorted(set(starts))
    assert len(starts) < total
    assert len(starts) + len(page.of(Verdict)) + link.dropped == total + total // 10
    # What only counts in its latest state comes, however much else was lost, and nothing older of it.
    assert page.of(Settings) == [Settings("mic", 8.0, CHOICES)]
    assert page.of(Health) == [health(2.0)]
    assert caplog.text.count("the page is too slow") == 1
    link.close()
    page.end(theirs)


def test_closing_does_not_wait_for_a_page_that_does_not_read() -> None:
    link = PageLink()
    ours, theirs = multiprocessing.Pipe()
    link.attach(ours, on_message=print)
    for index in range(5_000):
        link.publish(frames(index))
    closer = threading.Thread(target=link.close, daemon=True)
    closer.start()
    closer.join(20)
    assert not closer.is_alive()
    assert not [thread for thread in threading.enumerate() if thread.name in ("page-sender", "page-receiver")]
    link.publish(frames(5_001))  # with nobody attached: only remembered
    theirs.close()


def test_a_restarted_page_gets_the_picture_first() -> None:
    link = PageLink()
    link.publish(HELLO)
    with attached(link) as page:
        page.wait(lambda events: events)
    link.publish(Settings("mic", 5.0, CHOICES))
    link.publish(Settings("mic", 8.0, CHOICES))
    link.publish(Gap(CHANNEL, 0, 5, 1.0, "overrun"))
    for index in range(3):
        link.publish(health(float(index)))
        link.publish(verdict(2.0 * index))
        link.publish(frames(index))
    link.publish(health(9.0, channel="other"))
    with attached(link) as page:
        page.wait(lambda events: len(events) >= 10)
    assert page.events[:2] == [HELLO, Settings("mic", 8.0, CHOICES)]
    assert [event.time for event in page.of(Verdict)] == [0.0, 2.0, 4.0]
    assert {event.channel: event.time for event in page.of(Health)} == {CHANNEL: 2.0, "other": 9.0}
    assert [event.start for event in page.of(Frames)] == [0, 768, 1536]


def test_the_memory_is_a_minute_of_frames_and_ten_minutes_of_verdicts() -> None:
    link = PageLink()
    link.publish(HELLO)
    for index in range(2000):  # 700 s
        link.publish(frames(index, time=index * 0.35))
        link.publish(verdict(index * 0.35))
    with attached(link) as page:
        page.wait(lambda events: events)
    end = 1999 * 0.35
    assert all(end - page_link.FRAMES_KEPT_S <= event.time <= end for event in page.of(Frames))
    times = [event.time for event in page.of(Verdict)]
    assert end - page_link.VERDICTS_KEPT_S <= times[0] < end - page_link.VERDICTS_KEPT_S + 2
    assert all(1.0 <= after - before < 1.5 for before, after in pairwise(times))


@given(sizes=st.lists(st.integers(0, 9000), max_size=30))
def test_the_memory_of_frames_is_bounded_however_they_come(sizes: list[int]) -> None:
    memory = page_link._Memory()
    for index, size in enumerate(sizes):
        memory.keep(frames(index, time=0.0, count=size))
    kept = [event for event in memory.snapshot() if isinstance(event, Frames)]
    assert sum(len(event.values) for event in kept) <= page_link.MAX_FRAMES_KEPT
    if sizes and sizes[-1] <= page_link.MAX_FRAMES_KEPT:
        assert kept[-1].start == (len(sizes) - 1) * 768


def test_a_new_engine_makes_the_old_memory_void() -> None:
    link = PageLink()
    link.publish(HELLO)
    link.publish(frames(3))
    link.publish(health(1.0))
    link.publish(HELLO)
    with attached(link) as page:
        page.wait(lambda events: events)
    assert page.events == [HELLO]


@given(
    st.lists(
        st.tuples(st.floats(0, 5), st.sampled_from(["jazz", "rock", None]), st.sampled_from(list(VerdictState))),
        max_size=60,
    )
)
def test_thinning_keeps_every_change_and_no_more_than_one_a_second_else(
    steps: list[tuple[float, str | None, VerdictState]],
) -> None:
    thinning, now = Thinning(), 0.0
    last: Verdict | None = None
    for apart, label, state in steps:
        now += apart
        event = verdict(now, label, state=state)
        changed = last is None or (last.state, last.label) != (state, label)
        assert thinning.keeps(event) == (changed or (last is not None and now - last.time >= 1.0))
        if last is None or changed or now - last.time >= 1.0:
            last = event


def test_commands_and_readiness_reach_the_callback() -> None:
    link = PageLink()
    got: list[object] = []
    done = threading.Event()

    def take(message: object) -> None:
        got.append(message)
        if len(got) == 3:
            done.set()

    with attached(link, take) as page:
        page.feed.alive()
        page.feed.submit(SetSource("mic"))
        page.feed.submit(SetHalfLife(3.0))
        assert done.wait(20)
    assert got == [PageAlive(), SetSource("mic"), SetHalfLife(3.0)]


def test_a_refused_command_is_logged_and_the_next_one_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    link = PageLink()
    heard = threading.Event()

    def refuse(message: object) -> None:
        if message == SetHalfLife(-1.0):
            raise ConfigError("half-life must be above 0 s, got -1")
        heard.set()

    with attached(link, refuse) as page:
        page.feed.submit(SetHalfLife(-1.0))
        page.feed.submit(SetHalfLife(1.0))
        assert heard.wait(20)
    assert "half-life must be above 0 s, got -1" in caplog.text


def test_an_event_that_the_page_fails_on_is_logged_and_the_next_one_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    link = PageLink()
    with attached(link) as page:
        for event in (HELLO, BAD, health(1.0)):
            link.publish(event)
        page.wait(lambda events: health(1.0) in events)
        assert not page.feed.hung_up
    assert "cannot show a Settings" in caplog.text
    assert "not to be shown" in caplog.text


def test_a_page_that_is_slow_hears_nothing_of_an_engine_before() -> None:
    link = PageLink()
    ours, theirs = multiprocessing.Pipe()
    link.attach(ours, on_message=print)
    for index in range(20_000):
        link.publish(frames(index))
    link.publish(HELLO)
    link.publish(frames(7))
    page = Received(theirs)
    page.wait(lambda events: HELLO in events and isinstance(events[-1], Frames))
    after = page.events[page.events.index(HELLO) :]
    assert [event.start for event in after if isinstance(event, Frames)] == [7 * 768]
    link.close()
    page.end(theirs)


def test_both_ends_notice_that_the_other_has_gone() -> None:
    link = PageLink()
    with attached(link) as page:
        link.close()
        assert page.closed.wait(20)
        assert page.feed.hung_up
        with pytest.raises(GenrescopeError, match="engine has gone"):
            page.feed.submit(SetHalfLife(1.0))
        page.feed.alive()  # told to nobody: that is no trouble


def test_the_engine_goes_on_when_its_page_has_died() -> None:
    link = PageLink()
    ours, theirs = multiprocessing.Pipe()
    link.attach(ours, on_message=print)
    theirs.close()
    for index in range(100):
        link.publish(frames(index))
    with attached(link) as page:
        page.wait(lambda events: events and events[-1].start == 99 * 768)  # type: ignore[union-attr]
