"""Files that cannot be written are one sentence, before the work where it can be told."""

import pytest

from models.atomic_write import WriteError, replacing, require_writable_file, require_writable_folder
from models.errors import ConfigError


def test_a_write_that_fails_is_our_error_and_keeps_the_old_file(tmp_path):
    old = tmp_path / "file.txt"
    old.write_text("old")

    def write_half():
        with replacing(old) as temporary:
            temporary.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(WriteError, match=r"cannot write .*file.txt \(No space left on device\)"):
        write_half()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
    with pytest.raises(WriteError, match=r"\(Is a directory\)"), replacing(tmp_path) as temporary:
        temporary.write_text("new")
    with pytest.raises(WriteError, match="cannot write"), replacing(old / "sub" / "file") as temporary:
        pytest.fail("went on")


def test_what_can_be_written_is_not_made_yet(tmp_path):
    require_writable_folder(tmp_path / "a/b", option="--output")
    require_writable_file(tmp_path / "a/b.onnx", option="--export")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_refused(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for place in (file, file / "sub" / "sub"):
        with pytest.raises(ConfigError, match=f"--output {place}: expected a folder to write to"):
            require_writable_folder(place, option="--output")
    with pytest.raises(ConfigError, match=r"--export .*: expected a folder to write to"):
        require_writable_file(file / "model.onnx", option="--export")
    with pytest.raises(ConfigError, match="this is a folder"):
        require_writable_file(tmp_path, option="--export")
