"""Records of made-up evaluations."""

from __future__ import annotations

import numpy as np
from toy import toy_card

from models.spec import FileDecision, ModelCard
from train.record import FileAnswer, FileResult, Record, Training, Trust
from train.reliability import Reliability

LABELS = ("a", "b", "c")


def card(
    labels: tuple[str, ...] = LABELS, *, name: str = "made-up", seed: int = 0, decision: FileDecision | None = None
) -> ModelCard:
    plain = toy_card()
    head = plain.head.model_copy(update={"labels": labels})
    provenance = plain.provenance.model_copy(update={"seed": seed, "epochs": 3})
    changed = {"name": name, "heads": (head,), "provenance": provenance, "decision": decision or FileDecision()}
    return plain.model_copy(update=changed)


def answer(given: int, labels: tuple[str, ...], confidence: float = 0.8) -> FileAnswer:
    rest = (1 - confidence) / (len(labels) - 1)
    return FileAnswer(given=given, probabilities=tuple(confidence if i == given else rest for i in range(len(labels))))


def file(
    name: str,
    label: str,
    given: str,
    *,
    labels: tuple[str, ...] = LABELS,
    published: str | None = None,
    windows: int = 4,
    confidence: float = 0.8,
    **more: str,
) -> FileResult:
    """One file; all its windows are named as it is."""
    index = labels.index(given)
    return FileResult(
        name=name,
        label=label,
        live=answer(index, labels, confidence),
        published=answer(labels.index(published or given), labels),
        windows=tuple(windows if at == index else 0 for at in range(len(labels))),
        **more,
    )


def record(files: list[FileResult], *, labels=LABELS, fold=None, trust=None, curves=None, **card_fields) -> Record:
    targets = np.array([labels.index(each.label) for each in files], dtype=np.int64)
    live = np.array([each.live.probabilities for each in files])
    reliability = Reliability.of(live, targets)
    return Record(
        card=card(labels, **card_fields),
        fold=fold,
        trust=trust
        or Trust(
            windows_before=reliability,
            windows_after=reliability,
            vote_before=reliability,
            vote_after=reliability,
            decided=len(files),
            decided_right=sum(reliability.right),
        ),
        training=Training(curves=curves or {}),
        files=tuple(files),
    )


def random_record(accuracy: float, *, files: int = 60, seed: int = 0, draw: int = 0, start: int = 0, **more) -> Record:
    """Files of three labels in turn, a share ``accuracy`` of them named rightly at random."""
    random = np.random.default_rng([seed, draw, start])
    results = []
    for number in range(start, start + files):
        true = number % 3
        given = true if random.random() < accuracy else (true + random.integers(1, 3)) % 3
        results.append(file(f"music/{number}.mp3", LABELS[true], LABELS[given]))
    return record(results, seed=seed, **more)
