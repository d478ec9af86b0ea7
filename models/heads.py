"""The last layer of every network: one linear layer for each question that it answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import Tensor, nn


class Heads(nn.ModuleList):
    """Linear layers side by side over the same hidden features; ``heads`` has the number of classes by head name."""

    def __init__(self, features: int, heads: Mapping[str, int]) -> None:
        super().__init__(nn.Linear(features, classes) for classes in heads.values())
        self.names = tuple(heads)

    def forward(self, hidden: Tensor) -> dict[str, Tensor]:
        """``hidden`` (batch, features); returns each head's logits, (batch, classes)."""
        return {name: head(hidden) for name, head in zip(self.names, self, strict=True)}

    def without(self, names: Collection[str]) -> Heads:
        """The heads, weights and all, but for these."""
        kept = Heads(0, {})
        kept.names = tuple(name for name in self.names if name not in names)
        kept.extend(head for name, head in zip(self.names, self, strict=True) if name in kept.names)
        return kept
