"""The names stream, models, dashboard and train are generic: they must come from here, and the base must stay light."""

import subprocess
import sys
from importlib import import_module
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest

PACKAGES = ("stream", "models", "dashboard", "train")
MODULES = ("genrescope", "genrescope_bench", "genrescope_doctor")


def test_all_packages_come_from_one_place():
    places = {Path(import_module(name).__file__ or "").parent.parent for name in PACKAGES}
    places |= {Path(import_module(name).__file__ or "").parent for name in MODULES}
    assert len(places) == 1


@pytest.mark.parametrize("name", [*PACKAGES, *MODULES])
def test_no_other_distribution_owns_a_package(name):
    assert set(packages_distributions().get(name, ["genrescope"])) == {"genrescope"}


def test_torch_is_an_extra():
    needed = [line for line in distribution("genrescope").requires or [] if "extra ==" not in line]
    assert needed
    assert not [line for line in needed if line.startswith(("torch", "lightning", "onnx>"))]


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import genrescope", ["torch", "streamlit", "onnxruntime", "librosa", "numpy", "av"]),
        ("import stream.classify, stream.addresses, models.onnx_scorer", ["torch", "streamlit", "numba"]),
        ("import dashboard.serve", ["torch", "onnxruntime"]),
    ],
)
def test_a_process_imports_no_more_than_it_needs(code, heavy):
    check = f"{code}\nimport sys\nprint([name for name in {heavy!r} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.strip() == "[]"
