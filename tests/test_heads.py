"""The last layers of a network, and what is left where some are taken away."""

from __future__ import annotations

import torch

from models.heads import Heads


def test_the_heads_that_are_left_answer_as_before() -> None:
    heads, hidden = Heads(5, {"genre": 3, "style": 2, "mood": 4}), torch.randn(2, 5)
    before, after = heads(hidden), heads.without({"style"})(hidden)
    assert list(after) == ["genre", "mood"]
    for name, logits in after.items():
        torch.testing.assert_close(logits, before[name])
