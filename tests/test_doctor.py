"""`genrescope doctor`: what it says of a machine, and when it is worried."""

import json
import sys
from types import SimpleNamespace

import pytest
from toy import save_toy

import genrescope
from models.errors import SourceError
from models.scorer_kind import ScorerKind

KINDS = [kind for kind in ScorerKind if kind is not ScorerKind.AUTO]


@pytest.fixture
def model(tmp_path):
    return save_toy(tmp_path / "toy.onnx")


@pytest.fixture
def doctor(monkeypatch, capsys):
    """Run the command on a machine without sound and cards; gives (exit status, stdout)."""
    stand_in = SimpleNamespace(available=lambda product: f"{product} has no card here")
    monkeypatch.setitem(sys.modules, "models.tensorrt_scorer", stand_in)
    monkeypatch.setattr("stream.microphone.list_devices", lambda: ())
    monkeypatch.setattr("models.machine.nvidia_gpus", list)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["genrescope", "doctor", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            genrescope.main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return stopped.value.code or 0, said.out

    return call


def rows(out):
    return {row["scorer"]: row for row in json.loads(out)["scorers"]}


def test_it_tells_what_the_machine_has_and_what_runs_the_network(doctor, model):
    status, out = doctor("--model", model)
    assert status == 0
    for words in (
        "Python",
        "numpy",
        "processor",
        "NVIDIA cards  none found",
        "PyAV",
        "genrescope devices",
        "taken by auto",
    ):
        assert words in out
    for kind in KINDS:
        assert f"\n{kind} " in out
    assert "tensorrt has no card here" in out


def test_json_has_a_row_for_every_runtime(doctor, model):
    status, out = doctor("--model", model, "--json")
    found = json.loads(out)
    assert status == 0
    assert list(rows(out)) == KINDS
    assert found["model"] == str(model)
    assert found["audio_inputs"] == 0
    assert rows(out)[found["auto"]]["usable"]
    onnx = rows(out)["onnx"]
    assert onnx["usable"]
    assert onnx["difference"] == 0
    assert onnx["latency_ms"] > 0
    for row in rows(out).values():
        assert row["usable"] == ("latency_ms" in row)
        assert row["usable"] or row["reason"]


def test_the_model_that_ships_is_looked_at_if_no_other_is_named(doctor):
    status, out = doctor("--json")
    assert status == 0
    assert json.loads(out)["model"].endswith("genrescope-base.onnx")


def test_without_sound_nothing_is_wrong(doctor, model, monkeypatch):
    def fails():
        raise SourceError("the microphone needs PortAudio's library")

    monkeypatch.setattr("stream.microphone.list_devices", fails)
    status, out = doctor("--model", model)
    assert status == 0
    assert "the microphone needs PortAudio's library" in out


def test_a_runtime_that_answers_otherwise_is_shown_with_its_reason(doctor, model, monkeypatch):
    from models import choose

    real = choose.measure

    def measure(scorers):
        return tuple(
            each if each.kind is ScorerKind.ONNX else choose.Measured(each.kind, each.name, 1e-9, 0.5)
            for each in (*real(scorers), choose.Measured(ScorerKind.OPENVINO, "a wrong one", 1e-9, 0.5))
        )

    monkeypatch.setattr(choose, "measure", measure)
    status, out = doctor("--model", model, "--json")
    assert status == 0
    assert json.loads(out)["auto"] == "onnx"
    assert "differ by 0.5" in rows(out)["openvino"]["reason"]


@pytest.mark.parametrize("as_json", [True, False])
def test_a_model_that_cannot_be_run_is_worth_an_exit_status(doctor, tmp_path, as_json):
    (tmp_path / "song.onnx").write_bytes(b"ID3 no model")
    status, out = doctor("--model", tmp_path / "song.onnx", *(["--json"] if as_json else []))
    assert status == 1
    assert "not a complete ONNX model" in " ".join(out.split())
    assert "numpy" in out  # the rest is still told


def test_a_broken_onnx_runtime_does_not_hide_the_rest(doctor, model, monkeypatch):
    monkeypatch.setitem(sys.modules, "models.choose", None)  # as where one of its libraries is missing
    status, out = doctor("--model", model, "--json")
    assert status == 1
    assert not rows(out)["onnx"]["usable"]
    assert json.loads(out)["packages"]["numpy"]
