"""What stands where in the folder of a run: networks in sub-folders by their stage, records, model files."""

from __future__ import annotations

from typing import Final

HELD_OUT: Final = "held-out"
"""Sub-folder of the network that calibration is fitted to."""
FINAL: Final = "final"
"""Sub-folder of the network that ships, trained on the calibration fold too or, with all of them tested, on all."""
RECORDS_NAME: Final = "records"
"""Sub-folder of the records of what was measured."""
MODEL_NAME: Final = "model.onnx"
CURVES_NAME: Final = "curves.csv"
"""Table beside a network's checkpoint."""


def fold_name(fold: int, seed: int) -> str:
    """Of the network tested on a fold and trained with a seed, and of its record: ``fold-3-seed-0``."""
    return f"fold-{fold}-seed-{seed}"
