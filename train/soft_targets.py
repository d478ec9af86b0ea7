"""What a teacher that was never asked our questions would answer: soft targets (Hinton, Vinyals & Dean, "Distilling the
knowledge in a neural network", 2015, section 2), which know that a track is also a little of something else, that one
part of it is more so than another, and what it is where nobody said.

A logistic regression learns each question from what the teacher says of labelled tracks, and answers it at every place
where the teacher listened. No track is answered by a regression that has learned from its fold (or, where all are of
one, from its artist): that would know its label by heart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from models.spec import Given
from train.question import Question, all_tracks
from train.teacher import Teacher
from train.track import Track, labels_of

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

FloatArray = npt.NDArray[np.float32]

_INVERSE_PENALTY: Final = 0.003
"""Of the regressions, on outputs of deviation 1; chosen by fold 3 of our data, among 0.0003 to 0.03."""
_PARTS_OF_A_FOLD: Final = 5


def soft_targets(
    teacher: Teacher, questions: Sequence[Question], given: Given | None = None, *, balance: float
) -> Teacher:
    """A teacher who says, at each place, the probabilities of the labels of each question, one question after the
    other: (places, labels of all). Zeros where a question is not answered: one of shares of raters; in a fold without
    which there is a label that the teacher heard nothing of, so that it would be denied; with ``given``, of tracks that
    are known to be something else.

    Args:
        teacher: its outputs standardised.
        questions: of the tracks to learn from.
        balance: how far rare labels count for more in the regressions, as in the loss: 0 not at all, 1 wholly.
    """
    tracks = [track for track in all_tracks(questions) if track.path in teacher.said]
    part_of = _parts(tracks)
    else_known = _known_as_something_else(questions, given)
    answers: dict[Path, list[FloatArray]] = {track.path: [] for track in tracks}
    for question in questions:
        kept_out = else_known if given is not None and question.name != given.head else set()
        for part in sorted(set(part_of.values())):
            asked = [path for path in answers if part_of[path] == part]
            learned = [track for track in question.tracks if part_of.get(track.path, part) != part]
            answerable = [path for path in asked if path not in kept_out]
            answered = _answer(teacher, question, learned, asked=answerable, balance=balance)
            for path in asked:
                nothing = np.zeros((len(teacher.said[path][0]), len(question.labels)), dtype=np.float32)
                answers[path].append(answered.get(path, nothing))
    said = {path: (teacher.said[path][0], np.concatenate(each, axis=1)) for path, each in answers.items()}
    origin = "".join(f"{path}\0{part_of[path]}\n" for path in answers) + f"{given}\0{balance}"
    return replace(
        teacher,
        said=said,
        outputs=sum(len(question.labels) for question in questions),
        origin=hashlib.sha256(origin.encode(errors="surrogateescape")).hexdigest()[:12],
    )


def _parts(tracks: Sequence[Track]) -> dict[Path, int]:
    """By file, its fold; where all are of one fold, one of some parts, the same for all of a group."""
    if len({track.fold for track in tracks}) > 1:
        return {track.path: track.fold for track in tracks}

    def part(text: str) -> int:
        return int(hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest(), 16) % _PARTS_OF_A_FOLD

    return {track.path: part(track.group or str(track.path)) for track in tracks}


def _known_as_something_else(questions: Sequence[Question], given: Given | None) -> set[Path]:
    return {
        track.path
        for question in questions
        if given is not None and question.name == given.head
        for track in question.tracks
        if track.label != given.label
    }


def regression_on(
    teacher: Teacher, question: Question, learned: Sequence[Track], *, balance: float
) -> LogisticRegression | None:
    """Learned from what the teacher says of whole tracks, the mean over its places; its classes are places in the
    question's ``labels``. None of a question of shares, or where a label has no track among the ``learned``, all of
    which the teacher must have heard."""
    # Only training with a teacher needs it, and it takes a second to import.
    from sklearn.linear_model import LogisticRegression

    labels = {track.label for track in learned}
    if len(labels) < 2 or question.of_shares or labels != set(labels_of(question.tracks)):
        return None
    whole = np.stack([teacher.said[track.path][1].mean(0) for track in learned])
    targets = np.array([question.labels.index(track.label) for track in learned])
    # Their mean is 1, so that the penalty means the same.
    weights = (1.0 * np.bincount(targets)[targets]) ** -balance
    regression = LogisticRegression(C=_INVERSE_PENALTY, max_iter=300)
    regression.fit(whole, targets, sample_weight=weights / weights.mean())
    return regression


def _answer(
    teacher: Teacher, question: Question, learned: Sequence[Track], *, asked: Sequence[Path], balance: float
) -> dict[Path, FloatArray]:
    """Probabilities (places, labels) of the question, learned from some of its tracks, for the ``asked``."""
    regression = regression_on(teacher, question, learned, balance=balance)
    if regression is None:
        return {}
    answers = {}
    for path in asked:
        said = teacher.said[path][1]
        answers[path] = np.zeros((len(said), len(question.labels)), dtype=np.float32)
        answers[path][:, regression.classes_] = regression.predict_proba(said)
    return answers
