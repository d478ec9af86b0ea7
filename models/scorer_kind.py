"""The runtimes a model can be scored by. A file of its own: the command line must know them without loading any."""

from enum import StrEnum


class ScorerKind(StrEnum):
    """A runtime; ``auto`` takes the best one installed."""

    AUTO = "auto"
    ONNX = "onnx"
    TORCH = "torch"
