"""The runtimes a model can be scored by. In a file of its own, for the command line must know it without loading any."""

from enum import StrEnum


class ScorerKind(StrEnum):
    """A runtime; ``auto`` takes the best one installed."""

    AUTO = "auto"
    ONNX = "onnx"
    TORCH = "torch"
