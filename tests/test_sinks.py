import io
import json
import os
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from daemons import wait_until
from verdicts import make_verdict

from stream.events import Gap, Verdict, VerdictState
from stream.sinks import ChangesSink, JsonLinesSink


def verdict(sample: int, label: str | None = "a") -> Verdict:
    p = np.array([0.75, 0.25], np.float32)
    state = VerdictState.UNSURE if label is None else VerdictState.DECIDED
    return make_verdict(state, label, labels=("a", "b"), sample=sample, confidence=0.75, raw=p, smoothed=p)


class Disk(io.RawIOBase):
    """A file on a disk with ``room`` bytes left."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.content = b""

    def write(self, data) -> int:
        if not self.room:
            raise OSError(28, "No space left on device")
        taken = bytes(data[: self.room])
        self.room -= len(taken)
        self.content += taken
        return len(taken)


def test_a_full_disk_loses_lines_and_tears_none_of_the_others(caplog):
    disk = Disk(600)
    sink = JsonLinesSink(disk)
    for sample in range(10):
        sink.publish(verdict(sample))
    wait_until(lambda: sink.lost > 0, "a lost line")
    disk.room = 10_000
    sink.publish(verdict(99))
    sink.close()
    whole = []
    for line in disk.content.decode().splitlines():
        try:
            whole.append(json.loads(line)["sample"])
        except ValueError:
            whole.append("torn")
    assert whole.count("torn") <= 1
    assert whole[-1] == 99
    assert "No space left" in caplog.text
    assert "written again" in caplog.text
    assert sink.lost == 0


def test_only_verdicts_are_written():
    disk = Disk(1_000)
    sink = JsonLinesSink(disk)
    sink.publish(Gap("main", 0, 1, 0.0, "x"))
    sink.close()
    assert disk.content == b""


@pytest.fixture
def pipe():
    """A pipe whose reader has not begun to read: (reader's file, sink's file)."""
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb") as reader, io.FileIO(theirs, "wb") as writer:
        yield reader, writer


def test_a_reader_that_does_not_read_costs_lines_and_holds_nobody_up(pipe, caplog):
    _, writer = pipe
    sink = JsonLinesSink(writer)
    for sample in range(5_000):
        sink.publish(verdict(sample))
    assert sink.lost > 0
    assert "too slow" in caplog.text


def test_a_replay_waits_for_its_reader_and_loses_nothing(pipe):
    reader, writer = pipe
    sink = JsonLinesSink(writer, keep_all=True)
    total = 5_000
    thread = threading.Thread(target=lambda: [sink.publish(verdict(sample)) for sample in range(total)])
    thread.start()
    read = [json.loads(reader.readline())["sample"] for _ in range(total)]
    thread.join(10)
    assert read == list(range(total))
    assert sink.lost == 0


def test_a_replay_that_waits_can_be_stopped(pipe):
    _, writer = pipe
    stopping = threading.Event()
    sink = JsonLinesSink(writer, keep_all=True, stopping=stopping.is_set)
    thread = threading.Thread(target=lambda: [sink.publish(verdict(sample)) for sample in range(1_500)], daemon=True)
    thread.start()
    stopping.set()
    thread.join(60)
    assert not thread.is_alive()


def test_a_reader_that_has_gone_is_not_swallowed(pipe):
    reader, writer = pipe
    reader.close()
    sink = JsonLinesSink(writer)

    def publish_until_it_is_noticed():
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            sink.publish(verdict(1))
            time.sleep(0.01)

    with pytest.raises(BrokenPipeError):
        publish_until_it_is_noticed()


def test_a_person_is_told_of_changes_only():
    file = io.StringIO()
    sink = ChangesSink(file)
    for sample, label in enumerate(["a", "a", "b", "b", None, "b"]):
        sink.publish(verdict(sample, label))
    said = [line.split("  ", 2)[2] for line in file.getvalue().splitlines()]
    assert said == ["a  75%", "b  75%", "unsure", "b  75%"]


def test_a_person_is_told_how_much_a_first_label_rests_on():
    file = io.StringIO()
    sink = ChangesSink(file)
    early = replace(verdict(1), state=VerdictState.WARMING_UP)
    for event in (
        replace(early, heads=verdict(1, None).heads, heard_s=0.4),
        early,
        replace(early, heard_s=9.0),
        verdict(2),
    ):
        sink.publish(event)
    said = [line.split("  ", 2)[2] for line in file.getvalue().splitlines()]
    assert said == ["warming-up", "a  75%  (warming-up: so far 2.8 s heard)", "a  75%"]
