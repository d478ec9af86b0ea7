"""A model's graph in the numbers that it is to be run with: folded, in half precision, or in eight-bit whole numbers.

TensorRT 11 takes a graph's types as they are, so the precision is chosen here and not by a flag of the builder. Only
edges stay fp32: features go in and logits come out as ever, and the card stays in the file's metadata, so that what
comes out is a model like any other. A front end in the graph is an edge too: there is more between loud and quiet than
half precision holds. Needs ``onnx`` and ``onnxscript``; none of it needs torch.
"""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from models.errors import ModelFileError
from models.from_samples import FRONT_END
from models.model_file import CARD_KEY, input_names
from models.precision_kind import Precision
from models.scorer import FloatArray, WindowBatch
from models.spec import ModelCard

if TYPE_CHECKING:
    import onnx

HEAVY = ("Conv", "Gemm", "MatMul")
"""The operators that do the work: if they are in a precision, the model is."""

_CALIBRATED_AT_ONCE = 16


def in_precision(
    model: bytes, card: ModelCard, precision: Precision, *, windows: WindowBatch | None = None
) -> onnx.ModelProto:
    """The graph of a model file, strongly typed for a precision.

    Args:
        model: a serialised ONNX model with a card.
        card: its card.
        precision: of all ``HEAVY`` operators but a front end's.
        windows: features that eight-bit ranges are calibrated on; as many kinds of sound as the model will hear.

    Raises:
        ModelFileError: ``onnx`` is not installed; the model is not in fp32; int8 without windows; or the converter left
            a heavy operator in another precision.
    """
    need_onnx()
    graph = folded(model)
    if others := sorted({kind for op, kind in census(graph) if op in HEAVY} - {str(Precision.FP32)}):
        raise ModelFileError(
            f"model {card.name!r}: expected one in fp32, its operators are in {', '.join(others)}: take the model "
            "that it was made from"
        )
    if precision is Precision.FP16:
        graph = _in_half(graph)
    elif precision is Precision.INT8:
        if windows is None or not len(windows[0]):
            raise ModelFileError(f"model {card.name!r}: int8 needs windows of real sound to calibrate on, got none")
        graph = _in_int8(graph, card, windows)
    strange = sorted(
        f"{op} in {kind}"
        for op, kind in census(graph)
        if op.removeprefix(FRONT_END) in HEAVY and kind != (Precision.FP32 if op.startswith(FRONT_END) else precision)
    )
    if strange:
        raise ModelFileError(
            f"model {card.name!r}: expected its operators in {precision} and a front end's in {Precision.FP32}, "
            f"found {', '.join(strange)}"
        )
    return graph


def need_onnx() -> None:
    """Refuse to go on without the packages that change graphs.

    Raises:
        ModelFileError: with what is missing and how to get it.
    """
    if missing := [package for package in ("onnx", "onnxscript") if find_spec(package) is None]:
        raise ModelFileError(
            f"changing a model's graph needs {' and '.join(missing)}, not part of the base install: in its folder, "
            '.venv/bin/pip install -c constraints.txt -e ".[tensorrt-rtx]", or ".[train]"'
        )


def folded(model: bytes) -> onnx.ModelProto:
    """The graph with all that does not depend on the input worked out, and batch normalisation in the weights before.

    TensorRT's parser wants the axes of a reduction as constants, which torch's exporter calculates in the graph.
    """
    import onnx
    from onnxscript import optimizer

    graph = optimizer.optimize(onnx.load_model_from_string(model))
    # The seal was of the file as it was.
    kept = [entry for entry in graph.metadata_props if entry.key == CARD_KEY]
    del graph.metadata_props[:]
    graph.metadata_props.extend(kept)
    return graph


def census(graph: onnx.ModelProto) -> Counter[tuple[str, str]]:
    """How many operators of each kind calculate in which numbers, ``{("Conv", "fp16"): 10}``. A heavy operator is in
    int8 if both of its operands come out of a DequantizeLinear; a front end's is ``front_end/Conv``."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(graph).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*inferred.value_info, *inferred.input)}
    kinds |= {value.name: value.type.tensor_type.elem_type for value in inferred.output}
    kinds |= {tensor.name: tensor.data_type for tensor in inferred.initializer}
    dequantised = {name for node in inferred.node if node.op_type == "DequantizeLinear" for name in node.output}
    names = {onnx.TensorProto.FLOAT: "fp32", onnx.TensorProto.FLOAT16: "fp16"}
    found: Counter[tuple[str, str]] = Counter()
    for node in inferred.node:
        kind = kinds.get(node.input[0] if node.input else node.output[0], onnx.TensorProto.UNDEFINED)
        whole = node.op_type in HEAVY and {*node.input[:2]} <= dequantised
        op = FRONT_END + node.op_type if _of_front_end(node) else node.op_type
        found[op, "int8" if whole else names.get(kind, onnx.TensorProto.DataType.Name(kind).lower())] += 1
    return found


def _in_half(graph: onnx.ModelProto) -> onnx.ModelProto:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxscript import ir

    whole = onnx.shape_inference.infer_shapes(graph).graph
    # The front end is kept from the converter, which takes even what it is told to leave alone through half precision.
    front_end, network = ([node for node in whole.node if _of_front_end(node) is so] for so in (True, False))
    own = {name for node in network for name in node.output} | {tensor.name for tensor in whole.initializer}
    read = {name for node in network for name in node.input} - own
    features = [value for value in (*whole.input, *whole.value_info) if value.name in read]
    with warnings.catch_warnings():
        # Of each weight that is nearly nothing: what matters is whether answers change, and that is measured.
        warnings.simplefilter("ignore")
        half = convert_float_to_float16(_altered(graph, network, features), keep_io_types=True)
    # It adds its casts at the end; ONNX wants nodes in an order in which they can be run.
    in_order = ir.from_proto(_altered(half, [*front_end, *half.graph.node], graph.graph.input))
    in_order.graph.sort()
    return ir.to_proto(in_order)


def _of_front_end(node: onnx.NodeProto) -> bool:
    return bool(node.name.startswith(FRONT_END))


def _altered(
    model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto], inputs: Iterable[onnx.ValueInfoProto]
) -> onnx.ModelProto:
    """The model with other nodes and inputs; what was known of the values between them is forgotten."""
    import onnx

    altered = onnx.ModelProto()
    altered.CopyFrom(model)
    for field, values in ((altered.graph.node, nodes), (altered.graph.input, inputs), (altered.graph.value_info, ())):
        del field[:]
        field.extend(values)
    return altered


def _in_int8(graph: onnx.ModelProto, card: ModelCard, windows: WindowBatch) -> onnx.ModelProto:
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Windows(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no types
        def __init__(self) -> None:
            self._batches = _batches(card, windows)

        def get_next(self) -> dict[str, FloatArray] | None:
            return next(self._batches, None)

    with TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "quantised.onnx"
        onnx.save(graph, folded_path := Path(folder) / "folded.onnx")
        quantize_static(
            folded_path,
            path,
            Windows(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=list(HEAVY),
            nodes_to_exclude=[node.name for node in graph.graph.node if _of_front_end(node)],
            calibrate_method=CalibrationMethod.MinMax,
            # TensorRT knows symmetric ranges alone, and adds biases in full precision.
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
        )
        return onnx.load(path)


def _batches(card: ModelCard, windows: WindowBatch) -> Iterator[dict[str, FloatArray]]:
    for at in range(0, len(windows[0]), _CALIBRATED_AT_ONCE):
        together = (np.ascontiguousarray(each[at : at + _CALIBRATED_AT_ONCE]) for each in windows)
        yield dict(zip(input_names(card), together, strict=True))


@contextmanager
def _quiet() -> Iterator[None]:
    # It advises its own pre-processing, which ``folded`` has done.
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
