"""The one-file model: an ONNX graph whose metadata carries the card. Opening it checks all that the card promises."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from models.errors import ModelFileError
from models.seal import require_unbroken
from models.spec import ModelCard

CARD_KEY = "genrescope.card"
"""Metadata key under which the card stands in the ONNX file."""


def input_names(card: ModelCard) -> list[str]:
    """Names of the graph's inputs, each (batch, bands, frames); its outputs are logits named after the card's heads."""
    if len(card.inputs) == 1:
        return ["features"]
    return [f"features_{index}" for index in range(len(card.inputs))]


# They have no common root of their own.
ORT_ERRORS = (
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)
"""What ONNX Runtime raises."""


def first_words(error: Exception) -> str:
    """Of an error of ONNX Runtime: its first line, without its mark."""
    return next(iter(str(error).splitlines()), "no reason given").removeprefix("[ONNXRuntimeError] : ")


def session_options(*, threads: int = 1) -> onnxruntime.SessionOptions:
    """For a session that says nothing and burns nothing while it waits."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its errors reach the user once, in our words
    # A pool of one has nothing to spin for; spinning would burn a core between two windows.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def open_model(model: Path | bytes, *, threads: int = 1) -> tuple[onnxruntime.InferenceSession, ModelCard]:
    """Open a model with ONNX Runtime on the CPU and check it against its card.

    Args:
        model: its file, or all that would be in it.
        threads: of one call.

    Raises:
        ModelFileError: missing, truncated, damaged, not ONNX, without a card, or unlike its card.
    """
    data = model if isinstance(model, bytes) else _read(model)
    path = "in memory" if isinstance(model, bytes) else str(model)
    if not data:
        raise ModelFileError(f"model {path}: expected an ONNX file, this file is empty")
    try:
        require_unbroken(data)
    except ModelFileError as error:
        raise ModelFileError(f"model {path}: {error}") from error
    try:
        # From bytes, never from the path: a foreign file cannot then pull in other files as "external data".
        session = onnxruntime.InferenceSession(
            data, session_options(threads=threads), providers=["CPUExecutionProvider"]
        )
    except ORT_ERRORS as error:
        raise ModelFileError(f"model {path}: not a complete ONNX model ({first_words(error)})") from error
    try:
        text = session.get_modelmeta().custom_metadata_map.get(CARD_KEY)
    except UnicodeDecodeError as error:
        raise ModelFileError(f"model {path}: its metadata is damaged ({error.reason})") from error
    if text is None:
        raise ModelFileError(
            f"model {path}: an ONNX file without a genrescope card ({CARD_KEY!r} in its metadata); "
            "make one with `genrescope export`"
        )
    try:
        card = ModelCard.from_json(text)
    except ModelFileError as error:
        raise ModelFileError(f"model {path}: {error}") from error
    _check_graph(path, session, card)
    return session, card


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except IsADirectoryError as error:
        inside = next(iter(sorted(path.glob("*.onnx"))), None)
        advice = f"give {inside}" if inside else "expected a model file, there is none in it"
        raise ModelFileError(f"model {path}: cannot be read, it is a folder; {advice}") from error
    except OSError as error:
        raise ModelFileError(
            f"model {path}: cannot be read ({error.strerror}); `genrescope models` lists models"
        ) from error


def _check_graph(path: str, session: onnxruntime.InferenceSession, card: ModelCard) -> None:
    def refuse(what: str, expected: object, actual: object) -> None:
        raise ModelFileError(f"model {path}: its card expected {what} {expected}, its graph has {actual}")

    inputs = {node.name: node for node in session.get_inputs()}
    names = input_names(card)
    if set(inputs) != set(names):
        refuse("the inputs", names, sorted(inputs))
    for name, expected in zip(names, card.input_shapes, strict=True):
        if inputs[name].type != "tensor(float)":
            refuse("an input of type", "tensor(float)", inputs[name].type)
        shape = inputs[name].shape
        if tuple(shape[1:]) != expected or isinstance(shape[0], int):
            refuse("an input of shape", ("batch", *expected), tuple(shape))
    outputs = {node.name: node for node in session.get_outputs()}
    if set(outputs) != {head.name for head in card.heads}:
        refuse("the outputs", sorted(head.name for head in card.heads), sorted(outputs))
    for head in card.heads:
        classes = outputs[head.name].shape[-1]
        if classes != len(head.labels):
            refuse(f"{head.name!r} with this many classes:", len(head.labels), classes)
