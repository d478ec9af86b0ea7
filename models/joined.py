"""Several networks that differ in the chance of their training alone, and answer together.

Where they err, they err less alike than they are right, so that the mean of their answers is right more often than each
(Lakshminarayanan, Pritzel & Blundell, "Simple and scalable predictive uncertainty estimation using deep ensembles",
2017). Each is trained by itself: trained as one they would be one wide network, and no better.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from models.spec import ModelCard

MEMBERS: Final = "members"
"""Of a joined network's weights, those of its first member begin with ``members.0.``."""


def one_of(card: ModelCard) -> ModelCard:
    """The card of each of the card's networks by itself."""
    return card.model_copy(update={"architecture": card.architecture.model_copy(update={"networks": 1})})


class Joined(nn.Module):
    """``members``: networks of one card. Their logits are averaged, so that probabilities are their geometric mean."""

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    @property
    def embedding_length(self) -> int | None:
        """Of all embeddings in a row; None if the members have none."""
        lengths = [getattr(member, "embedding_length", None) for member in self.members]
        return None if None in lengths else sum(cast(list[int], lengths))

    def embed(self, features: Tensor) -> Tensor:
        """The members' embeddings in a row, (batch, embedding)."""
        return torch.cat([cast(Any, member).embed(features) for member in self.members], dim=1)

    def forward(self, features: Tensor, second: Tensor | None = None) -> dict[str, Tensor]:
        """Inputs as a member's; returns each head's logits, (batch, classes)."""
        # Not ``*features``: torch's exporter would take them for one input.
        inputs = (features,) if second is None else (features, second)
        answers = [member(*inputs) for member in self.members]
        return {name: torch.stack([answer[name] for answer in answers]).mean(0) for name in answers[0]}
