"""The machine that something was trained or measured on, and how fast it runs a model file."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from models.machine import processor
from models.onnx_scorer import OnnxScorer

_WARM_UPS = 3
_TIMES_AT_MOST = 200
_SECONDS_AT_MOST = 2.0


class Latency(NamedTuple):
    """Median time of one window in milliseconds, what ran it, and on which machine."""

    milliseconds: float
    runtime: str
    machine: str


def describe_machine() -> str:
    """Processor, cores and, where torch finds some, GPUs: ``AMD EPYC 9B14, 2 cores, NVIDIA H100``."""
    return ", ".join([processor(), f"{os.cpu_count()} cores", *_gpus()])


def measure_latency(model: Path) -> Latency:
    """Score one random window again and again with ONNX Runtime on one core, for two seconds at most.

    Raises:
        ModelFileError: the file is missing or not a model.
    """
    scorer = OnnxScorer(model, threads=1)
    random = np.random.default_rng(0)
    window = tuple(random.standard_normal((1, *shape)).astype(np.float32) for shape in scorer.card.input_shapes)
    for _ in range(_WARM_UPS):
        scorer.score(window)
    times: list[float] = []
    while not times or (len(times) < _TIMES_AT_MOST and sum(times) < _SECONDS_AT_MOST):
        started = time.perf_counter()
        scorer.score(window)
        times.append(time.perf_counter() - started)
    return Latency(1000 * statistics.median(times), f"{scorer.name}, one core", processor())


def _gpus() -> list[str]:
    import torch

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
