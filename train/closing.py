"""What a training ends with: how good it is, and how far chance may have moved that."""

from __future__ import annotations

from typing import Final

from train.findings import Findings
from train.wording import counted

_FEW_FILES: Final = 30
"""With fewer, even one that is named otherwise moves the accuracy by more than 3 %."""


def closing_words(found: Findings) -> list[str]:
    """Sentences on the networks of one run together: accuracy as live audio is judged, with the interval that their
    report gives; then warnings, where few files were tested or the network is not calibrated."""
    accuracy = found.judged[0].figures[0]
    sentence = f"{accuracy.value:.1%} of {counted(found.files, 'file')} named rightly as live audio is judged"
    if len(found.records) > 1:
        sentence += f", over {len(found.records)} networks together"
    if accuracy.interval is not None:
        sentence += f"; 95 % interval {accuracy.interval.low:.1%} to {accuracy.interval.high:.1%}"
    sentences = [sentence]
    if found.files < _FEW_FILES:
        sentences.append(f"few files: fewer than {_FEW_FILES} were tested, so take the interval for the result")
    if len(found.records) == 1 and not found.calibrated:
        sentences.append(
            "not calibrated: how sure it is means little, and live it may seldom show a label; "
            "`train --calibration-fold` mends that"
        )
    return sentences
