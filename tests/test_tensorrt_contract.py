"""The fake says what the bindings say: compared with the real wheels of both majors, and with TensorRT-RTX's own."""

import importlib
import inspect
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import tensorrt_api
from cuda_fake import FakeCuda
from daemons import lacks, need, need_packages
from networks import export_random, random_windows
from tensorrt_fake import VERSIONS, fake_tensorrt, read_api

import models.cuda
import models.tensorrt_build
import models.tensorrt_engines
import models.tensorrt_scorer
from models.errors import EngineError
from models.onnx_scorer import OnnxScorer

SCORING = (models.tensorrt_build, models.tensorrt_engines, models.tensorrt_scorer)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return export_random(tmp_path_factory.mktemp("model") / "random.onnx")


def use_all_of_it(trt, cuda, model, folder, monkeypatch, *, product="tensorrt"):
    """Build, keep, open again, score two sizes by hand and by graph, give back; one timing cache is foreign."""
    monkeypatch.setattr(models.cuda, "runtime", lambda: cuda)
    for module in SCORING:
        monkeypatch.setattr(module, "tensorrt_module", lambda product: trt, raising=False)
    folder.mkdir()
    (folder / f"timings-tensorrt-{trt.__version__}-sm89").write_bytes(b"foreign")
    for _ in range(2):
        scorer = models.tensorrt_scorer.TensorRtScorer(model, product, cache=folder)
        for _ in range(4):
            for n in (3, 2):
                windows = random_windows(scorer.card, n)
                assert abs(scorer.score(windows)["genre"] - OnnxScorer(model).score(windows)["genre"]).max() < 1e-5
        scorer.close()


@pytest.mark.system
@pytest.mark.parametrize("version", VERSIONS)
def test_the_description_is_the_real_wheels(version, tmp_path):
    need("gcc")
    expected = read_api(version)
    wanted = f"tensorrt-cu13-bindings=={expected['version']}"
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(tmp_path), wanted]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    lacks("cannot be had", [wanted] if done.returncode else [])
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "unpacked")
    found = tensorrt_api.describe_wheel(tmp_path / "unpacked", "tensorrt_bindings", tmp_path / "libraries")
    assert found == expected


def test_what_scoring_calls_is_the_same_in_tensorrt_rtx(model, tmp_path, monkeypatch):
    need_packages("tensorrt_rtx_bindings")
    rtx = tensorrt_api.describe(importlib.import_module("tensorrt_rtx_bindings"))
    cuda = FakeCuda()
    trt = fake_tensorrt("11.4", cuda, api=rtx)
    use_all_of_it(trt, cuda, model, tmp_path / "cache", monkeypatch, product="tensorrt-rtx")
    assert {"IRuntimeConfig.set_runtime_cache", "IRuntimeConfig.cuda_graph_strategy"} <= trt.called
    assert not cuda.launches  # it makes graphs by itself
    assert [path.read_bytes() for path in (tmp_path / "cache").glob("compiled-*")] == [b"compiled"]


@pytest.mark.parametrize("version", VERSIONS)
def test_what_scoring_calls_is_in_both_majors(version, model, tmp_path, monkeypatch):
    cuda = FakeCuda()
    trt = fake_tensorrt(version, cuda)
    use_all_of_it(trt, cuda, model, tmp_path / "cache", monkeypatch)
    assert {"Builder.build_serialized_network", "IExecutionContext.execute_async_v3"} <= trt.called
    assert cuda.launches


PLANTED = {
    "a name of TensorRT 8": (models.tensorrt_scorer, "set_tensor_address(name", "set_binding_address(name"),
    "another keyword": (models.tensorrt_build, "(cache, ignore_mismatch=False):", "(cache, ignore=False):"),
    "a number too few": (models.tensorrt_scorer, "get_tensor_profile_shape(input_names(self.card)[0], 0)",
                         "get_tensor_profile_shape(input_names(self.card)[0])"),
    "a stream that is no number": (models.tensorrt_scorer, "execute_async_v3(int(self._stream))",
                                   "execute_async_v3('stream')"),
    "a path instead of bytes": (models.tensorrt_build, "parser.parse(model)", "parser.parse('model.onnx')"),
    "a flag that 11 has not": (models.tensorrt_build, "trt.BuilderFlag.TF32", "trt.BuilderFlag.FP16"),
    "a property that is no more": (models.tensorrt_build, "config.clear_flag(trt.BuilderFlag.TF32)",
                                   "config.max_workspace_size = 1"),
    "an engine built at once": (models.tensorrt_build, "builder.build_serialized_network(network, config)",
                                "builder.build_engine(network, config)"),
    "shapes as words": (models.tensorrt_scorer, "set_input_shape(name, (n, *shape))", "set_input_shape(name, str(n))"),
    "the old runtime call": (models.tensorrt_engines, "self._runtime.deserialize_cuda_engine(built.plan)",
                             "self._runtime.deserialize(built.plan)"),
    "results read before they are there": (models.tensorrt_scorer, "self._cuda.wait(self._stream)\n        return [",
                                           "return ["),
    "one context for all graphs": (models.tensorrt_scorer, "context = self._new_context()\n            self._set_batch",
                                   "context = self._context\n            self._set_batch"),
    "memory that is too small": (models.tensorrt_scorer, "cuda.allocate(array.nbytes)", "cuda.allocate(4)"),
}  # fmt: skip
"""Mistakes that people make with TensorRT and CUDA, as a line of ours and what would stand there."""


def plant(module, right, wrong, trt, monkeypatch):
    """Put a module with a line changed in the place of the one that is used."""
    source = inspect.getsource(module)
    assert source.count(right) == 1
    changed = dict(vars(module))
    exec(compile(source.replace(right, wrong), module.__file__, "exec"), changed)
    # What the source imports is the real one again.
    changed["tensorrt_module"] = lambda product: trt
    for name, value in changed.items():
        if getattr(value, "__module__", None) == module.__name__:
            for each in SCORING:
                if hasattr(each, name):
                    monkeypatch.setattr(each, name, value)


@pytest.mark.parametrize("module", SCORING, ids=lambda module: module.__name__)
def test_without_a_mistake_nothing_is_caught(module, model, tmp_path, monkeypatch):
    trt = fake_tensorrt("11.4", cuda := FakeCuda())
    plant(module, *2 * ["from __future__ import annotations"], trt, monkeypatch)
    use_all_of_it(trt, cuda, model, tmp_path / "cache", monkeypatch)


@pytest.mark.parametrize("mistake", PLANTED)
def test_planted_mistakes_are_caught(mistake, model, tmp_path, monkeypatch):
    module, right, wrong = PLANTED[mistake]
    trt = fake_tensorrt("11.4", cuda := FakeCuda())
    plant(module, right, wrong, trt, monkeypatch)
    # EngineError: the scorer itself has seen that the engine does not answer as it should.
    with pytest.raises((TypeError, AttributeError, AssertionError, EngineError)):
        use_all_of_it(trt, cuda, model, tmp_path / "cache", monkeypatch)


def test_the_fake_of_cuda_has_no_name_that_the_real_one_lacks():
    need_packages("cuda")
    real = importlib.import_module("cuda.bindings.runtime")
    names = [name for name in dir(FakeCuda) if name.startswith("cuda")]
    assert len(names) > 18
    assert [name for name in names if not hasattr(real, name)] == []
    for kind in ("cudaMemcpyKind", "cudaStreamCaptureMode"):
        for member in vars(getattr(FakeCuda, kind)):
            assert hasattr(getattr(real, kind), member)
    for name in names:
        ours = getattr(FakeCuda, name)
        if callable(ours):
            # "cudaMalloc(size_t size)": as many arguments as ours.
            says = re.match(r"\w+\((.*)\)", (getattr(real, name).__doc__ or "").strip())
            assert says, name
            assert (
                len([each for each in says.group(1).split(",") if each.strip()])
                == len(inspect.signature(ours).parameters) - 1
            )


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this machine has an NVIDIA card")
def test_the_real_cuda_says_that_there_is_no_card():
    need_packages("cuda")
    with pytest.raises(EngineError, match="expected an NVIDIA card and a driver"):
        models.cuda.Cuda()
