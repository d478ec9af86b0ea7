"""A model's graph in the numbers that it is to be run with: folded, in half precision, or in eight-bit whole numbers.

TensorRT 11 takes a graph's types as they are, so the precision is chosen here and not by a flag of the builder. Only
edges stay fp32: features go in and logits come out as ever, and the card stays in the file's metadata, so that what
comes out is a model like any other. Needs ``onnx`` and ``onnxscript``; none of it needs torch.
"""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from models.errors import ModelFileError
from models.model_file import CARD_KEY, input_names
from models.scorer import FloatArray, WindowBatch
from models.spec import ModelCard

if TYPE_CHECKING:
    import onnx

HEAVY = ("Conv", "Gemm", "MatMul")
"""The operators that do the work: if they are in a precision, the model is."""

_CALIBRATED_AT_ONCE = 16


class Precision(StrEnum):
    """The numbers that the heavy operators calculate with."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


def in_precision(
    model: bytes, card: ModelCard, precision: Precision, *, windows: WindowBatch | None = None
) -> onnx.ModelProto:
    """The graph of a model file, strongly typed for a precision.

    Args:
        model: a serialised ONNX model with a card.
        card: its card.
        precision: of all ``HEAVY`` operators.
        windows: features that eight-bit ranges are calibrated on; as many kinds of sound as the model will hear.

    Raises:
        ModelFileError: int8 without windows, or the converter left a heavy operator in another precision.
    """
    graph = folded(model)
    if precision is Precision.FP16:
        graph = _in_half(graph)
    elif precision is Precision.INT8:
        if windows is None or not len(windows[0]):
            raise ModelFileError(f"model {card.name!r}: int8 needs windows of real sound to calibrate on, got none")
        graph = _in_int8(graph, card, windows)
    found = census(graph)
    if strange := sorted(f"{op} in {kind}" for op, kind in found if op in HEAVY and kind != precision):
        raise ModelFileError(f"model {card.name!r}: expected its operators in {precision}, found {', '.join(strange)}")
    return graph


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
    int8 if both of its operands come out of a DequantizeLinear."""
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
        found[node.op_type, "int8" if whole else names.get(kind, onnx.TensorProto.DataType.Name(kind).lower())] += 1
    return found


def _in_half(graph: onnx.ModelProto) -> onnx.ModelProto:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with warnings.catch_warnings():
        # Of each weight that is nearly nothing: what matters is whether answers change, and that is measured.
        warnings.simplefilter("ignore")
        half: onnx.ModelProto = convert_float_to_float16(graph, keep_io_types=True)
    return half


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
