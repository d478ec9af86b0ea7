"""Small real parts for tests: a model file that names the loudest third of its mel bands, tones, a source in memory."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.model_file import CARD_KEY, input_names
from models.spec import AnyFeatureSpec, Architecture, Given, Head, LogMel, ModelCard, Provenance, WindowSpec
from stream.source import Chunk, EndOfAudio, FloatArray

RATE_HZ = 8_000
SPEC = LogMel(sample_rate_hz=RATE_HZ, n_fft=512, hop_samples=256, n_mels=12, fmax_hz=4_000)
LABELS = ("low", "middle", "high")
TONES_HZ = {"low": 150.0, "middle": 1_000.0, "high": 3_000.0}


def toy_card(
    *inputs: AnyFeatureSpec,
    frames: int = 40,
    hop_frames: int = 5,
    short: Literal["wait", "tile"] = "wait",
    others: tuple[str, ...] = (),
    given: Given | None = None,
) -> ModelCard:
    """The card of a model that hears which third of the mel bands is loudest, and something in other features too.

    Its ``others`` are heads that name the quietest third; the first may be ``given`` something by them.
    """
    return ModelCard(
        name="toy",
        description="names the loudest third of the spectrum",
        architecture=Architecture(name="toy"),
        inputs=inputs or (SPEC,),
        normalisation="none",
        window=WindowSpec(frames=frames, hop_frames=hop_frames, short=short),
        heads=(
            Head(name="pitch", labels=LABELS, given=given),
            *(Head(name=name, labels=LABELS) for name in others),
        ),
        provenance=Provenance(data="none", protocol="none", epochs=0, seed=0, commit="none", licence="Apache-2.0"),
    )


def toy_graph(card: ModelCard) -> onnx.ModelProto:
    """Mean over the frames of each input, weighed by band; their sum as logits."""
    nodes, values = [], []
    weights = [numpy_helper.from_array(np.array([2]), "axes")]
    names = input_names(card)
    for name, spec, (bands, frames) in zip(names, card.inputs, card.input_shapes, strict=True):
        values.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", bands, frames]))
        weights.append(numpy_helper.from_array(_weights(spec), f"{name}_weights"))
        nodes.append(helper.make_node("ReduceMean", [name, "axes"], [f"{name}_mean"], keepdims=0))
        nodes.append(helper.make_node("MatMul", [f"{name}_mean", f"{name}_weights"], [f"{name}_logits"]))
    nodes.append(helper.make_node("Sum", [f"{name}_logits" for name in names], [card.head.name]))
    nodes += [helper.make_node("Neg", [card.head.name], [head.name]) for head in card.heads[1:]]
    logits = [
        helper.make_tensor_value_info(head.name, TensorProto.FLOAT, ["batch", len(LABELS)]) for head in card.heads
    ]
    graph = helper.make_graph(nodes, "toy", values, logits, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def _weights(spec: AnyFeatureSpec) -> FloatArray:
    """Of each band for each label, (bands, classes): thirds of mel bands; else whatever tells features apart."""
    if not isinstance(spec, LogMel):
        scale = {"mfcc": 0.02, "stft": 0.02, "raw": 1.0}[spec.kind]
        return np.random.default_rng(0).normal(0, scale, (spec.bands, len(LABELS))).astype(np.float32)
    thirds = np.zeros((spec.bands, len(LABELS)), dtype=np.float32)
    for index, part in enumerate(np.array_split(np.arange(spec.bands), len(LABELS))):
        thirds[part, index] = 0.4 / spec.per_decibel / len(part)
    return thirds


def save_toy(path: Path, card: ModelCard | None = None, *, card_text: str | None = None) -> Path:
    """Write the toy model; ``card_text`` puts another text where the card stands ("" leaves it out)."""
    card = card or toy_card()
    model = toy_graph(card)
    text = card.to_json() if card_text is None else card_text
    if text:
        helper.set_model_props(model, {CARD_KEY: text})
    path.write_bytes(model.SerializeToString())
    return path


def tone(label: str, seconds: float, *, rate_hz: int = RATE_HZ, level: float = 0.3) -> FloatArray:
    """A sine (n,) that the toy model names ``label``."""
    at = np.arange(round(seconds * rate_hz)) / rate_hz
    return (level * np.sin(2 * np.pi * TONES_HZ[label] * at)).astype(np.float32)


class ArraySource:
    """Samples (n,) from memory, in chunks. ``breaks`` maps a chunk's number to an error raised before it, once."""

    synthetic = True
    title = None

    def __init__(
        self,
        samples: FloatArray,
        *,
        rate_hz: int = RATE_HZ,
        chunk: int = 100,
        live: bool = False,
        finite: bool = True,
        breaks: dict[int, Exception] | None = None,
    ) -> None:
        self.address = self.name = "array"
        self.sample_rate_hz = rate_hz
        self.live = live
        self.finite = finite
        self.opened = 0
        self._chunks = [samples[at : at + chunk, np.newaxis] for at in range(0, len(samples), chunk)]
        self._breaks = dict(breaks or {})
        self._next = 0
        self._interrupted = threading.Event()

    def open(self) -> None:
        self.opened += 1

    def read(self, timeout_s: float) -> Chunk | None:
        if self._next in self._breaks:
            raise self._breaks.pop(self._next)
        if self._next >= len(self._chunks):
            if self.finite:
                raise EndOfAudio
            self._interrupted.wait(timeout_s)
            return None
        self._next += 1
        return Chunk(self._chunks[self._next - 1], time.monotonic())

    def close(self) -> None:
        return

    def interrupt(self) -> None:
        self._interrupted.set()
