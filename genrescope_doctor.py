"""The command ``doctor``. It looks at the sound of ``stream`` and the scorers of ``models``, and so stands above both,
beside the front door."""

from __future__ import annotations

import json
import math
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from models.commands import ModelOption
from models.errors import ConfigError, GenrescopeError
from models.scorer_kind import ScorerKind

_PACKAGES = (
    "numpy",
    "scipy",
    "librosa",
    "soxr",
    "av",
    "sounddevice",
    "streamlit",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "tensorrt-cu13-bindings",
    "tensorrt-rtx-cu13-bindings",
    "cuda-bindings",
    "onnx",
    "torch",
)


def doctor(
    *, model: ModelOption = None, as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False
) -> None:
    """Say what this machine has, what can run the network on it and how fast, and what to install for the rest.

    The figures are of one window at a time, over a fraction of a second: `genrescope bench scorers` measures properly.
    The exit status is 1 if ONNX Runtime cannot run the model, without which nothing works.
    """
    from rich.console import Console

    from models.scorer import ENGINE_SUFFIX

    if model is not None and model.suffix == ENGINE_SUFFIX:
        raise ConfigError(
            f"{model} is an engine, which one runtime alone can run: give the model that it was made from"
        )
    with Console(stderr=True).status("Looking"):
        found = _look(model)
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        _print(found)
    if not next(row for row in found["scorers"] if row["scorer"] == ScorerKind.ONNX)["usable"]:
        raise typer.Exit(1)


def _look(model: Path | None) -> dict[str, Any]:
    """All that is shown, in words and numbers that JSON has."""
    from models.machine import nvidia_gpus, processor

    return {
        "genrescope": metadata.version("genrescope"),
        "python": f"{platform.python_version()}, {platform.system()} {platform.release()}, {platform.machine()}",
        "packages": _packages(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "nvidia_gpus": nvidia_gpus(),
        "audio_inputs": _audio_inputs(),
        "ffmpeg": _ffmpeg(),
        **_scorers(model),
    }


def _packages() -> dict[str, str]:
    """Versions of those that matter and are installed."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _audio_inputs() -> int | str:
    """How many microphones and line inputs; or why that cannot be said."""
    from models.errors import SourceError
    from stream.microphone import list_devices

    try:
        return len(list_devices())
    except SourceError as error:
        return str(error)


def _ffmpeg() -> str:
    try:
        import av
    except ImportError as error:
        return f"cannot be used: PyAV cannot be imported ({error})"
    return f"{av.ffmpeg_version_info} in PyAV {av.__version__}"


def _scorers(model: Path | None) -> dict[str, Any]:
    """What each runtime does with the model, and which one ``auto`` takes."""
    kinds = [kind for kind in ScorerKind if kind is not ScorerKind.AUTO]
    try:
        from models.choose import fastest, load_all, measure
        from models.scorer import DEFAULT_MODEL

        path = model or DEFAULT_MODEL
        scorers, reasons = load_all(path, kinds)
        measured = {each.kind: each for each in measure(scorers)}
    except (GenrescopeError, ImportError) as error:
        why = dict.fromkeys(kinds, "is compared with ONNX Runtime, which does not work")
        why[ScorerKind.ONNX] = str(error)
        rows = [{"scorer": kind, "usable": False, "reason": why[kind]} for kind in kinds]
        return {"model": None, "scorers": rows, "auto": None}
    rows = []
    for kind in kinds:
        row: dict[str, Any] = {"scorer": kind, "usable": kind in measured, "reason": reasons.get(kind)}
        if kind in measured:
            each = measured[kind]
            row |= {"usable": each.failure is None, "name": each.name, "reason": each.objection}
            if math.isfinite(each.latency_s):
                row |= {"latency_ms": 1000 * each.latency_s}
            if math.isfinite(each.difference):
                row |= {"difference": each.difference}
        rows.append(row)
    return {"model": str(path), "scorers": rows, "auto": fastest(measured.values()).kind}


def _print(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    inputs = found["audio_inputs"]
    facts = {
        "genrescope": found["genrescope"],
        "Python": found["python"],
        "packages": ", ".join(f"{name} {version}" for name, version in found["packages"].items()),
        "processor": f"{found['processor']}, {found['cores']} cores",
        "NVIDIA cards": "; ".join(found["nvidia_gpus"]) or "none found",
        "audio inputs": inputs if isinstance(inputs, str) else f"{inputs or 'none'} (`genrescope devices`)",
        "FFmpeg": found["ffmpeg"],
        "model": found["model"] or "cannot be run",
    }
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, Text(value))
    console.print(table)
    console.print()
    table = Table("--scorer", "one window", "differs by", "", box=None, pad_edge=False)
    for column in table.columns[:3]:
        column.no_wrap = True
    for row in found["scorers"]:
        taken = ", taken by auto" if row["scorer"] == found["auto"] else ""
        refused = f": {row['reason']}" if row.get("reason") and row["usable"] else ""
        table.add_row(
            row["scorer"],
            f"{row['latency_ms']:.2f} ms" if "latency_ms" in row else "-",
            f"{row['difference']:.1e}" if "difference" in row else "-",
            Text(f"{row['name']}{taken}{refused}" if row["usable"] else row["reason"]),
        )
    console.print(table)
    console.print("\nThe difference is the greatest in any probability from what ONNX Runtime says of the same noise.")
