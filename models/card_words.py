"""The figures of a card in words: how good a model is, for people who choose one or wonder about it."""

from __future__ import annotations

from models.spec import Head, ModelCard


def figures_in_words(card: ModelCard) -> dict[str, str]:
    """By head, what its figures (``train.statistics.metrics``) come to; as they are, where they are others. Heads
    without any are left out."""
    said = {head.name: _of(card, head) for head in card.heads}
    return {name: _sentence(figures) or _as_they_are(figures) for name, figures in said.items() if figures}


def _as_they_are(figures: dict[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in figures.items())


def _of(card: ModelCard, head: Head) -> dict[str, float]:
    """A head's figures: those of the first have no prefix."""
    if head == card.head:
        return {name: value for name, value in card.metrics.items() if "." not in name}
    start = f"{head.name}."
    return {name.removeprefix(start): value for name, value in card.metrics.items() if name.startswith(start)}


def _sentence(figures: dict[str, float]) -> str:
    def share(name: str) -> str:
        return f"{100 * figures[name]:.0f} %"

    if not {"files", "file_accuracy"} <= set(figures):
        return ""
    parts = [f"{share('file_accuracy')} of {figures['files']:,.0f} files named rightly"]
    if "file_balanced_accuracy" in figures:
        parts[0] += f" (mean of the labels {share('file_balanced_accuracy')})"
    if "accuracy_at_80" in figures:
        parts.append(f"{share('accuracy_at_80')} of the 80 % that it is surest of")
    if {"decided_share", "decided_accuracy"} <= set(figures):
        parts.append(
            f"live it names one {share('decided_share')} of the time, {share('decided_accuracy')} of it rightly"
        )
    if "ece_vote_after" in figures:
        parts.append(f"its confidence is {100 * figures['ece_vote_after']:.1f} points off")
    return "; ".join(parts)
