"""A model that takes samples: its features are worked out inside its graph, by whatever runs the network.

Where a graphics card scores many channels, their front ends are much of what is left for the processor; the card can do
them as well. A processor cannot: it takes much longer, because a card is best at dense transforms, here anew for every
window. The samples come as a kind of features that there is already, ``Raw``, so what comes out is a model like any
other, for live audio, for files and for every scorer. Needs ``onnx``; none of it needs torch.

Hops of samples and frames of features lie on one grid. A window of hops is therefore a picture whose channels are the
samples of a hop, and a spectrum every hop is a convolution over it: no frame needs to be cut out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.fft

from models.errors import ModelFileError
from models.frontend import Float64Array, cepstral_cosines, features, hann, mel_filterbank
from models.model_file import CARD_KEY, input_names
from models.scorer import WindowBatch
from models.spec import FeatureSpec, LogMel, Magnitude, Mfcc, ModelCard, Raw

if TYPE_CHECKING:
    import onnx

FRONT_END = "front_end/"
"""How the names of all that works out features begin: it needs single precision, whatever the network calculates in."""


def from_samples(model: bytes, card: ModelCard) -> tuple[onnx.ModelProto, ModelCard]:
    """The model with its front end inside the graph, without a seal, and its card.

    Its one input is (batch, hop_samples, hops), as many hops as hold all samples of the old window's frames. From them
    it works out the newest frames that are complete, the very ones that live audio would have given it, within 1e-3 in
    log10 units for bands up to 80 dB below a frame's loudest: what is softer drowns in single precision's rounding, and
    in TF32's much sooner, so that whoever builds an engine of it must forbid that. Three things differ:

    * A stream's first window is whole when all samples under its frames have been heard. Centred frames have half of
      theirs before the window: the first windows of old also saw zeros before the stream began, no window does now.
    * Where short audio is repeated to fill a window, the sound is repeated and not its frames: the few frames across a
      seam hear its end and its beginning.
    * ``window.frames`` counts hops, a few more than it counted frames: windows side by side are as much farther apart.

    Args:
        model: a serialised ONNX model with a card, in any precision; samples and front end stay in single precision.
        card: its card.

    Raises:
        ModelFileError: it takes samples already, or the graph's inputs are not the card's.
    """
    from models.precision import need_onnx

    need_onnx()
    import onnx
    from onnx import compose, helper

    if all(isinstance(spec, Raw) for spec in card.inputs):
        raise ModelFileError(
            f"model {card.name!r}: expected features to work out from samples, it takes {card.hears}: use it as it is"
        )
    whole = onnx.load_model_from_string(model)
    names = input_names(card)
    if (found := [value.name for value in whole.graph.input]) != names:
        raise ModelFileError(f"model {card.name!r}: its card expected the inputs {names}, its graph has {found}")
    card_of_whole = _card(card)
    front_end = _front_end(card, card_of_whole)
    joints = [(value.name, name) for value, name in zip(front_end.output, names, strict=True)]
    # All but the graph stays, the version of the operators too: those of a front end are the same since 13.
    whole.graph.CopyFrom(
        compose.merge_graphs(front_end, whole.graph, joints, name=whole.graph.name, doc_string=whole.graph.doc_string)
    )
    helper.set_model_props(whole, {CARD_KEY: card_of_whole.to_json()})
    onnx.checker.check_model(whole, full_check=True)
    return whole, card_of_whole


def features_of(windows: WindowBatch, card: ModelCard) -> WindowBatch:
    """What the graph works out of windows of samples (n, hop_samples, hops), by the front end of live audio.

    Returns:
        (n, bands, frames) for each input of the ``card``, the one that the model had before.
    """
    (hops,) = windows
    samples = hops.transpose(0, 2, 1).reshape(len(hops), -1)
    taken = slice(_lead_hops(card), _lead_hops(card) + card.window.frames)
    return tuple(
        np.stack([features(each, spec)[taken].T for each in samples]).astype(np.float32) for spec in card.inputs
    )


def _card(card: ModelCard) -> ModelCard:
    rate, hop = card.clock.sample_rate_hz, card.clock.hop_samples
    samples = Raw(sample_rate_hz=rate, n_fft=hop, hop_samples=hop)
    return card.model_copy(
        update={
            "description": f"{card.description} (takes samples; its graph works out {card.hears})".strip(),
            # What torch would build by the old name takes features.
            "architecture": card.architecture.model_copy(update={"name": f"{card.architecture.name}-from-samples"}),
            "inputs": (samples,),
            "normalisation": f"of the features that the graph works out: {card.normalisation}",
            "window": card.window.model_copy(update={"frames": card.window.frames - 1 + _hops_under_a_frame(card)}),
        }
    )


def _lead_hops(card: ModelCard) -> int:
    """Hops from the beginning of the window of samples to where its first frames would begin if none were centred."""
    return math.ceil(max(spec.lead_samples for spec in card.inputs) / card.clock.hop_samples)


def _hops_under_a_frame(card: ModelCard) -> int:
    """Hops that hold the first frame of every input, which end together."""
    return _lead_hops(card) + math.ceil(card.clock.samples_for(1) / card.clock.hop_samples)


def _front_end(card: ModelCard, card_of_whole: ModelCard) -> onnx.GraphProto:
    """From samples (batch, hop_samples, hops) to the frames of each of the card's inputs, (batch, bands, frames)."""
    from onnx import TensorProto, helper

    (samples,), (shape,) = input_names(card_of_whole), card_of_whole.input_shapes
    graph, outputs = _Graph(), []
    for spec, (bands, frames) in zip(card.inputs, card.input_shapes, strict=True):
        start = _lead_hops(card) * spec.hop_samples - spec.lead_samples
        if isinstance(spec, Raw):
            first = start // spec.hop_samples
            value = graph.add("Slice", samples, *np.array([[first], [first + frames], [2]]))
        else:
            value = _features(graph, samples, spec, _kernels(spec, start, hops=_hops_under_a_frame(card)))
        outputs.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, ["batch", bands, frames]))
    taken = helper.make_tensor_value_info(samples, TensorProto.FLOAT, ["batch", *shape])
    return helper.make_graph(graph.nodes, "front_end", [taken], outputs, graph.weights)


def _kernels(spec: FeatureSpec, start: int, *, hops: int) -> tuple[Float64Array, Float64Array]:
    """Two convolutions, each (bins, hop_samples, hops): the real and the imaginary part of the windowed transform of
    the ``n_fft`` samples from ``start`` on."""
    # The transform of each sample alone.
    spectra = scipy.fft.rfft(np.diag(hann(spec.n_fft)), axis=1).T
    rows = np.zeros((len(spectra), hops * spec.hop_samples), dtype=spectra.dtype)
    rows[:, start : start + spec.n_fft] = spectra
    kernels = rows.reshape(len(rows), hops, spec.hop_samples).transpose(0, 2, 1)
    return kernels.real, kernels.imag


def _features(graph: _Graph, samples: str, spec: FeatureSpec, kernels: tuple[Float64Array, Float64Array]) -> str:
    """What ``models.frontend`` does to a spectrum, with frequency x time in place of frames x bands."""
    parts = [graph.add("Conv", samples, kernel) for kernel in kernels]
    power = graph.add("Add", *(graph.add("Mul", part, part) for part in parts))
    if isinstance(spec, Magnitude):
        return graph.add("Sqrt", power)
    if not isinstance(spec, LogMel | Mfcc):
        raise TypeError(f"expected one of the kinds of features in models.spec, got {type(spec).__name__}")
    mel = graph.add("MatMul", mel_filterbank(spec).T, power)
    logarithm = graph.add("Log", graph.add("Max", mel, np.array(spec.floor)))
    if isinstance(spec, Mfcc):
        return graph.add("MatMul", cepstral_cosines(spec).T / np.log(10), logarithm)
    return graph.add("Mul", logarithm, np.array((10 if spec.unit == "dB" else 1) / np.log(10)))


class _Graph:
    """Nodes and weights, named as they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: str | npt.NDArray[Any]) -> str:
        """Append a node; arrays become weights, numbers that are not whole in single precision. Returns the name of
        its output, which is the node's name too."""
        from onnx import helper

        name = f"{FRONT_END}{len(self.nodes)}_{operator}"
        names = [given if isinstance(given, str) else self._weight(given) for given in inputs]
        self.nodes.append(helper.make_node(operator, names, [name], name=name))
        return name

    def _weight(self, values: npt.NDArray[Any]) -> str:
        from onnx import numpy_helper

        kind = np.int64 if values.dtype.kind == "i" else np.float32
        name = f"{FRONT_END}weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype=kind), name))
        return name
