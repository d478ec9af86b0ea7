"""The command line as a user meets it: what it teaches, what it prints, and what it says to wrong input."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import scipy.io.wavfile
from toy import LABELS, RATE_HZ, save_toy, tone

import genrescope

COMMANDS = ("live", "classify", "devices", "models", "doctor", "train", "evaluate", "compare", "export")


@pytest.fixture
def model(tmp_path) -> str:
    return str(save_toy(tmp_path / "toy.onnx"))


@pytest.fixture
def song(tmp_path) -> str:
    path = tmp_path / "song.wav"
    scipy.io.wavfile.write(path, RATE_HZ, tone("middle", 5))
    return str(path)


@pytest.fixture
def run(monkeypatch, capfd):
    """Run the command line in this process; gives (exit status, stdout, stderr)."""

    def call(*arguments: str):
        monkeypatch.setattr(sys, "argv", ["genrescope", *arguments])
        status = 0
        try:
            genrescope.main()
        except SystemExit as end:
            status = end.code or 0
        said = capfd.readouterr()
        return status, said.out, said.err

    return call


def test_help_teaches(run):
    status, out, _ = run("--help")
    assert status == 0
    for command in COMMANDS:
        assert command in out
    assert "genrescope live" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_for_every_option(run, command):
    status, out, _ = run(command, "--help")
    assert status == 0
    assert len(out.splitlines()) > 8


def test_classify_json_has_the_contracts_fields(run, model, song):
    status, out, _ = run("classify", "--json", "--model", model, song)
    result = json.loads(out)
    assert status == 0
    assert list(result) == ["file", "seconds", "label", "confidence", "probabilities", "heads", "segments"]
    assert result["label"] == "middle"
    assert set(result["probabilities"]) == set(LABELS)
    assert {tuple(segment) for segment in result["segments"]} == {("start", "end", "label", "state")}


def test_classify_goes_on_after_a_bad_file(run, model, song, tmp_path):
    (tmp_path / "notes.txt").write_text("not music\n" * 100)
    files = [str(tmp_path / "notes.txt"), str(tmp_path / "gone.mp3"), song]
    status, out, err = run("classify", "--scorer", "onnx", "--model", model, *files)
    assert status == 1
    assert "middle" in out
    assert "notes.txt" in err
    assert "gone.mp3: no such file" in err
    assert len(err.strip().splitlines()) == 2  # one line each, and nothing of the log


def test_classify_json_reports_a_bad_file_in_its_own_line(run, model, song):
    status, out, _ = run("classify", "--json", "--model", model, "gone.mp3", song)
    bad, good = map(json.loads, out.splitlines())
    assert status == 1
    assert bad == {"file": "gone.mp3", "error": "gone.mp3: no such file"}
    assert good["label"] == "middle"


def test_live_writes_one_json_object_per_verdict(run, model, song):
    status, out, _ = run("live", song, "--speed", "max", "--no-page", "--jsonl", "-", "--model", model)
    verdicts = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert verdicts[-1]["label"] == "middle"
    assert verdicts[-1]["state"] == "decided"
    assert [v["sample"] for v in verdicts] == sorted({v["sample"] for v in verdicts})


def test_live_and_classify_agree(run, model, tmp_path):
    path = tmp_path / "two.wav"
    scipy.io.wavfile.write(path, RATE_HZ, np.concatenate([tone("low", 4), tone("high", 8)]))
    _, lines, _ = run("live", str(path), "--speed", "max", "--no-page", "--jsonl", "-", "--model", model)
    _, line, _ = run("classify", "--json", "--model", model, str(path))
    segments = json.loads(line)["segments"]
    for verdict in map(json.loads, lines.splitlines()):
        at = verdict["sample"] / RATE_HZ
        (segment,) = [
            s for s in segments if s["start"] <= at < s["end"] or (at < segments[0]["end"] and s is segments[0])
        ]
        assert (segment["label"], segment["state"]) == (verdict["label"], verdict["state"])


def test_live_reads_raw_samples_on_standard_input(model):
    samples = (np.repeat(tone("high", 5, rate_hz=44_100), 2) * 32_767).astype("<i2").tobytes()
    command = [sys.executable, "-m", "genrescope", "live", "-", "--no-page", "--jsonl", "-", "--speed", "max"]
    done = subprocess.run([*command, "--model", model], input=samples, capture_output=True, timeout=60, check=True)
    assert json.loads(done.stdout.splitlines()[-1])["label"] == "high"


def test_samples_that_end_inside_a_frame_are_said(model):
    command = [sys.executable, "-m", "genrescope", "live", "-", "--no-page", "--speed", "max", "--model", model]
    done = subprocess.run(command, input=bytes(4 * 44_100 + 3), capture_output=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.decode().count("inside a frame") == 1
    assert b"Traceback" not in done.stderr


def test_live_stops_without_a_word_when_its_reader_goes(model, song):
    command = [sys.executable, "-m", "genrescope", "live", song, "--speed", "max", "--no-page", "--jsonl", "-"]
    with subprocess.Popen([*command, "--model", model], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read().decode()
        process.wait(30)
    assert "Traceback" not in said
    assert "BrokenPipe" not in said


def test_models_shows_the_card(run, model):
    status, out, _ = run("models", model)
    assert status == 0
    assert "low, middle, high" in out
    assert "Apache-2.0" in out


@pytest.fixture
def taken_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield str(server.getsockname()[1])


def one_sentence(status: int, err: str) -> str:
    assert status == 2
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if line.startswith("genrescope: ")]
    return line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["live", "nowhere.mp3", "--no-page"], "nowhere.mp3: no such file"),
        (["live", "ftp://host/a.mp3", "--no-page"], "ftp"),
        (["live", "SONG", "--no-page", "--half-life", "0"], "half-life of more than 0"),
        (["live", "SONG", "--no-page", "--half-life", "nan"], "half-life of more than 0"),
        (["live", "SONG", "--no-page", "--hop", "0"], "hop of more than 0"),
        (["live", "SONG", "--no-page", "--hop", "99"], "at most the window"),
        (["live", "SONG", "--no-page", "--speed", "fast"], "expected 'max' or a number"),
        (["live", "SONG", "--no-page", "--jsonl", "/nowhere/a.jsonl"], "cannot be written"),
        (["live", "-", "--no-page", "--pcm-rate", "0"], "8000 to 192000"),
        (["live", "-", "--no-page", "--pcm-channels", "0"], "1 to 8 channels"),
        (["live", "-", "--no-page", "--pcm-format", "mp3"], "s16le or f32le"),
        (["live", "SONG", "--no-page", "--model", "gone.onnx"], "gone.onnx: cannot be read"),
        (["live", "SONG", "--no-page", "--model", "SONG"], "not a complete ONNX model"),
        (["classify", "SONG", "--model", "SONG"], "not a complete ONNX model"),
        (["classify", "SONG", "--half-life", "-1"], "half-life of more than 0"),
        (["models", "SONG"], "not a complete ONNX model"),
    ],
)
def test_wrong_input_gets_one_clear_sentence_and_status_2(run, model, song, arguments, says):
    arguments = [song if word == "SONG" else word for word in arguments]
    if "--model" not in arguments and arguments[0] != "models":
        arguments += ["--model", model]
    status, _, err = run(*arguments)
    assert says in one_sentence(status, err)


def test_a_port_that_is_taken_is_said(run, model, song, taken_port):
    status, _, err = run("live", song, "--port", taken_port, "--model", model)
    assert taken_port in one_sentence(status, err)


def test_an_unknown_option_is_refused(run):
    status, _, err = run("live", "--volume", "11")
    assert status == 2
    assert "--volume" in err


@pytest.mark.skipif(sys.platform == "win32", reason="/dev/full is a Unix device")
def test_a_full_disk_costs_lines_but_not_the_engine(model, song):
    command = [sys.executable, "-m", "genrescope", "live", song, "--speed", "max", "--no-page", "--jsonl", "/dev/full"]
    done = subprocess.run(
        [*command, "--model", model], capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
