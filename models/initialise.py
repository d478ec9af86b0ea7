"""How networks start where their paper's framework says so."""

from __future__ import annotations

from torch import nn


def start_glorot_uniform(network: nn.Module) -> None:
    """Glorot & Bengio's uniform weights (2010), zero biases, in every two-dimensional convolution and dense layer: the
    default of Keras and of TensorFlow 1."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
