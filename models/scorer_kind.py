"""The runtimes a model can be scored by. A file of its own: the command line must know them without loading any."""

from enum import StrEnum


class ScorerKind(StrEnum):
    """A runtime and where it calculates; ``auto`` measures those that this machine has and takes the fastest."""

    AUTO = "auto"
    ONNX = "onnx"
    ONNX_CUDA = "onnx-cuda"
    OPENVINO = "openvino"
    TENSORRT = "tensorrt"
    TENSORRT_RTX = "tensorrt-rtx"
    TORCH = "torch"
