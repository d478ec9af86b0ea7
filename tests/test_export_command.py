"""What ``genrescope export`` writes of a model, and what it says."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from daemons import need_packages
from networks import export_random, random_windows
from onnx import numpy_helper
from typer.testing import CliRunner

import genrescope
import models.tensorrt_build
from models.engine_file import EngineFile
from models.errors import ConfigError, EngineError, ModelFileError
from models.model_file import open_model
from models.onnx_scorer import OnnxScorer
from models.spec import Raw


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return export_random(tmp_path_factory.mktemp("model") / "random.onnx")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A folder with two recordings, one of them damaged, and a note."""
    folder = tmp_path_factory.mktemp("sound")
    samples = np.random.default_rng(0).normal(0, 0.1, 22_050 * 12)
    soundfile.write(folder / "noise.wav", samples, 22_050)
    (folder / "broken.wav").write_bytes(b"RIFF")
    (folder / "notes.txt").write_text("no sound")
    return folder


def run(*arguments):
    done = CliRunner().invoke(genrescope.app, ["export", *map(str, arguments)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.mark.parametrize(("precision", "tolerance"), [("fp16", 1e-2), ("int8", 0.2)])
def test_other_numbers_are_a_model_that_answers_nearly_the_same(model, sound, tmp_path, precision, tolerance):
    output = tmp_path / "out.onnx"
    done = run(model, "--precision", precision, "--sound", sound, "--output", output)
    assert f"Conv in {precision}" in done.stdout
    assert "the same genre in" in done.stdout
    assert "left out:" in done.stderr
    assert output.stat().st_size < 0.7 * model.stat().st_size
    card = open_model(output)[1]
    assert not card.metrics
    assert card.provenance.protocol.endswith(f"then brought into {precision}, not measured again")
    windows = random_windows(open_model(model)[1], 8)
    found, expected = OnnxScorer(output).score(windows)["genre"], OnnxScorer(model).score(windows)["genre"]
    np.testing.assert_allclose(found, expected, atol=tolerance)
    output.write_bytes(output.read_bytes().replace(b"random", b"rendom"))
    with pytest.raises(ModelFileError, match="not those that were written"):
        open_model(output)


def test_from_samples_is_a_model_that_takes_samples(model, sound, tmp_path):
    done = run(model, "--from-samples", "--sound", sound, "--output", tmp_path / "out.onnx")
    assert isinstance(open_model(tmp_path / "out.onnx")[1].inputs[0], Raw)
    assert "differ by" in done.stdout
    difference = float(done.stdout.split("differ by ")[1].split()[0])
    assert difference < 1e-3


def test_an_engine_for_another_machine(model, sound, tmp_path):
    need_packages("tensorrt_rtx_bindings")
    output = tmp_path / "kiosk.engine"
    done = run(model, "--engine", "tensorrt-rtx", "--precision", "fp16", "--sm", "89", "--batch", "4", "8",
               "--sound", sound, "--output", output)  # fmt: skip
    assert "for compute capability 89, up to 8 windows at once" in done.stdout
    engine = EngineFile.read(output)
    assert engine.about.target.batch == (4, 8)
    assert engine.plan


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ([], ConfigError, "is no checkpoint"),
        (["--precision", "int8"], ConfigError, "give --sound"),
        (["--engine", "tensorrt-rtx", "--sm", "89"], ConfigError, r"expected a name that ends in \.engine"),
        (["--sm", "89", "--precision", "fp16"], ConfigError, "--sm and --batch are of an engine"),
        (["--precision", "fp16", "--sound", "nowhere"], ConfigError, "--sound nowhere: expected a recording"),
        (["--precision", "fp16", "--sound", __file__], ConfigError, "none of 1 files has a window"),
    ],
)
def test_wrong_use_is_said_and_leaves_nothing_behind(model, tmp_path, arguments, error, says):
    output = tmp_path / "out.onnx"
    with pytest.raises(error, match=says):
        run(model, *arguments, "--output", output)
    assert not output.exists()


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this machine has an NVIDIA card")
def test_a_machine_without_a_card_is_told_what_it_can_build(model, tmp_path, monkeypatch):
    need_packages("cuda")
    monkeypatch.setattr(models.tensorrt_build, "tensorrt_module", lambda product: None)
    with pytest.raises(EngineError, match="of tensorrt-rtx on any machine"):
        run(model, "--engine", "tensorrt", "--output", tmp_path / "out.engine")


def test_what_is_no_number_any_more_is_not_written(tmp_path):
    graph = onnx.load(export_random(tmp_path / "model.onnx"))
    weight = next(tensor for tensor in graph.graph.initializer if tensor.name == "heads.0.weight")
    weight.CopyFrom(numpy_helper.from_array(np.nan * numpy_helper.to_array(weight), weight.name))
    del graph.metadata_props[1:]  # the seal
    (tmp_path / "broken.onnx").write_bytes(graph.SerializeToString())
    with pytest.raises(ModelFileError, match="no numbers any more"):
        run(tmp_path / "broken.onnx", "--precision", "fp16", "--output", tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


def test_a_model_in_other_numbers_is_not_converted_again(model, tmp_path):
    run(model, "--precision", "fp16", "--output", tmp_path / "half.onnx")
    with pytest.raises(ModelFileError, match="take the model that it was made from"):
        run(tmp_path / "half.onnx", "--precision", "fp16", "--output", tmp_path / "again.onnx")


def test_what_is_no_model_is_refused(tmp_path):
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(ModelFileError, match=r"text\.onnx"):
        run(tmp_path / "text.onnx", "--precision", "fp16", "--output", tmp_path / "out.onnx")
