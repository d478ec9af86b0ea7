"""What TensorRT's Python bindings offer: each class's signatures, properties and members, as the bindings say it.

    python tests/tensorrt_api.py FOLDER MODULE > tests/tensorrt-11.4.json

FOLDER is an unpacked wheel of ``tensorrt-cu13-bindings``, MODULE ``tensorrt_bindings``. Its libraries may be missing:
three of a few lines each, which need a C compiler, let the bindings be imported without them.
"""

from __future__ import annotations

import enum
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

CLASSES = (
    "Builder", "BuilderFlag", "DataType", "Dims", "IBuilderConfig", "ICudaEngine", "IExecutionContext", "IHostMemory",
    "ILogger", "INetworkDefinition", "IOptimizationProfile", "IProgressMonitor", "ITimingCache", "MemoryPoolType",
    "NetworkDefinitionCreationFlag", "OnnxParser", "ParserError", "Runtime", "TensorIOMode",
)  # fmt: skip
"""Those that building and scoring touch."""
OF_RTX = ("ComputeCapability", "CudaGraphStrategy", "IRuntimeCache", "IRuntimeConfig")
"""What TensorRT-RTX has beside them."""

_LIBRARIES = {
    "nvinfer": (
        "createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL",
        "getBuilderPluginRegistry", "getPluginRegistry", "getInferLibVersion",
    ),
    "nvonnxparser": ("createNvOnnxParserRefitter_INTERNAL", "createNvOnnxParser_INTERNAL", "getNvOnnxParserVersion"),
    "nvinfer_plugin": ("initLibNvInferPlugins",),
}  # fmt: skip
"""What the bindings take from which library."""
_MODULES = re.compile(r"\b(?:tensorrt\w*|typing|typing_extensions|collections)\.(?:tensorrt\w*\.|abc\.)?")
_NUMBER = re.compile(r"^\d+\. ")


def describe(module: ModuleType) -> dict[str, Any]:
    """``{"version": ..., "classes": {name: {"enum": {member: value}, "methods": {name: [signature]}, "properties":
    {name: [its type, whether it can be set]}}}}``."""
    there = (*CLASSES, *OF_RTX) if hasattr(module, "ComputeCapability") else CLASSES
    return {"version": module.__version__, "classes": {name: _class(getattr(module, name)) for name in there}}


def _class(kind: type) -> dict[str, Any]:
    members = {name: int(value) for name, value in getattr(kind, "__members__", {}).items()}
    methods, properties = {}, {}
    for name in dir(kind):
        found = getattr(kind, name)
        if isinstance(found, property):
            says = re.search(r"->\s*([\w.\[\], ]+)", (found.fget and found.fget.__doc__) or "")
            properties[name] = [_short(says.group(1)) if says else "", found.fset is not None]
        elif callable(found) and (not name.startswith("_") or name == "__init__") and not isinstance(found, enum.Enum):
            # Behind a signature stands what it is for.
            lines = [line.strip() for line in (found.__doc__ or "").splitlines()]
            methods[name] = [_short(line) for line in lines if re.match(rf"(\d+\. )?{name}\(self", line)]
    return {"enum": members, "methods": methods, "properties": properties}


def _short(signature: str) -> str:
    """Without a number in front and without the modules' names, in which the products differ."""
    return _NUMBER.sub("", _MODULES.sub("", signature)).strip()


def stand_in_libraries(folder: Path, major: int) -> None:
    """Libraries that have the names which the bindings look for, and do nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    for library, names in _LIBRARIES.items():
        source = folder / f"{library}.c"
        source.write_text("".join(f"void* {name}(void) {{ return 0; }}\n" for name in names))
        target = f"lib{library}.so.{major}"
        command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{target}", "-o", str(folder / target), str(source)]
        subprocess.run(command, check=True)


def describe_wheel(unpacked: Path, module: str, scratch: Path) -> dict[str, Any]:
    """``describe`` of the bindings in an unpacked wheel, in a process of its own."""
    version = next(unpacked.glob("*.dist-info")).name.split("-")[1]
    stand_in_libraries(scratch, int(version.split(".")[0]))
    code = f"import json, sys, {module} as it, tensorrt_api; json.dump(tensorrt_api.describe(it), sys.stdout)"
    paths = os.pathsep.join([str(unpacked), str(Path(__file__).parent)])
    # The bindings' own loader knows wheels of libraries, not where a linker looks.
    environment = {**os.environ, "PYTHONPATH": paths, "LD_LIBRARY_PATH": str(scratch)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as temporary:
        json.dump(describe_wheel(Path(sys.argv[1]), sys.argv[2], Path(temporary)), sys.stdout, indent=1, sort_keys=True)
    print()
