import io
import json

import numpy as np
import pytest

from stream.events import Gap, Verdict, VerdictState
from stream.sinks import ChangesSink, JsonLinesSink


def verdict(sample: int, label: str | None = "a") -> Verdict:
    p = np.array([0.75, 0.25], np.float32)
    state = VerdictState.UNSURE if label is None else VerdictState.DECIDED
    return Verdict("main", sample, 0.0, state, label, 0.75, 0.0, ("a", "b"), p, p, 1.0, 0)


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
    assert sink.lost > 0
    disk.room = 10_000
    sink.publish(verdict(99))
    whole = []
    for line in disk.content.decode().splitlines():
        try:
            whole.append(json.loads(line)["sample"])
        except ValueError:
            whole.append("torn")
    assert whole.count("torn") == 1
    assert whole[-1] == 99
    assert "No space left" in caplog.text
    assert "written again" in caplog.text
    assert sink.lost == 0


def test_only_verdicts_are_written():
    disk = Disk(1_000)
    JsonLinesSink(disk).publish(Gap("main", 0, 1, 0.0, "x"))
    assert disk.content == b""


def test_a_reader_that_has_gone_is_not_swallowed():
    class Closed(io.RawIOBase):
        def write(self, data) -> int:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        JsonLinesSink(Closed()).publish(verdict(1))


def test_a_person_is_told_of_changes_only():
    file = io.StringIO()
    sink = ChangesSink(file)
    for sample, label in enumerate(["a", "a", "b", "b", None, "b"]):
        sink.publish(verdict(sample, label))
    said = [line.split("  ", 2)[2] for line in file.getvalue().splitlines()]
    assert said == ["a  75%", "b  75%", "unsure", "b  75%"]
