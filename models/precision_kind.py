"""The numbers a network can calculate with. A file of its own, as ``scorer_kind``, and for the same reason."""

from enum import StrEnum


class Precision(StrEnum):
    """The numbers that the heavy operators calculate with."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"
