"""What a teacher that was never asked our questions would answer: soft targets (Hinton, Vinyals & Dean, "Distilling the
knowledge in a neural network", 2015, section 2), which know that a track is also a little of something else, that one
part of it is more so than another, and what it is where nobody said.

A logistic regression learns each question from what the teacher says of labelled tracks, and answers it at every place
where the teacher listened. No track is answered by a regression that has learned from its fold: that would know its
label by heart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from models.errors import ConfigError
from models.spec import Given
from train.question import Question, all_tracks
from train.teacher import Teacher
from train.wording import counted

FloatArray = npt.NDArray[np.float32]

_INVERSE_PENALTY: Final = 0.003
"""Of the regressions, on outputs of deviation 1; chosen by fold 3 of our data, among 0.0003 to 0.03."""


def soft_targets(teacher: Teacher, questions: Sequence[Question], given: Given | None = None) -> Teacher:
    """A teacher who says, at each place, the probabilities of the labels of each question, one question after the
    other: (places, labels of all). Zeros where a question is not answered: one of shares of raters; a fold without
    which fewer than two labels are left; with ``given``, tracks that are known to be something else.

    Args:
        teacher: its outputs standardised.
        questions: of the tracks to learn from.

    Raises:
        ConfigError: these are all of one fold.
    """
    tracks = [track for track in all_tracks(questions) if track.path in teacher.said]
    folds = sorted({track.fold for track in tracks})
    if len(folds) < 2:
        raise ConfigError(
            f"soft targets need tracks to learn from in two folds or more, got {counted(len(folds), 'fold')}: "
            "give --folds, or --set soft_targets=0"
        )
    else_known = _known_as_something_else(questions, given)
    answers: dict[Path, list[FloatArray]] = {track.path: [] for track in tracks}
    for question in questions:
        kept_out = else_known if given is not None and question.name != given.head else set()
        for fold in folds:
            asked = [track.path for track in tracks if track.fold == fold]
            answered = _answer(teacher, question, [path for path in asked if path not in kept_out], fold=fold)
            for path in asked:
                nothing = np.zeros((len(teacher.said[path][0]), len(question.labels)), dtype=np.float32)
                answers[path].append(answered.get(path, nothing))
    said = {path: (teacher.said[path][0], np.concatenate(each, axis=1)) for path, each in answers.items()}
    return replace(teacher, said=said, outputs=sum(len(question.labels) for question in questions))


def _known_as_something_else(questions: Sequence[Question], given: Given | None) -> set[Path]:
    return {
        track.path
        for question in questions
        if given is not None and question.name == given.head
        for track in question.tracks
        if track.label != given.label
    }


def _answer(teacher: Teacher, question: Question, paths: Sequence[Path], *, fold: int) -> dict[Path, FloatArray]:
    """Probabilities (places, labels) of the question for ``paths``, by its tracks of other folds than theirs."""
    from sklearn.linear_model import LogisticRegression

    learned = [track for track in question.tracks if track.fold != fold and track.path in teacher.said]
    labels = {track.label for track in learned}
    if len(labels) < 2 or any(track.shares for track in learned):
        return {}
    regression = LogisticRegression(C=_INVERSE_PENALTY, class_weight="balanced", max_iter=300)
    whole = np.stack([teacher.said[track.path][1].mean(0) for track in learned])
    regression.fit(whole, [question.labels.index(track.label) for track in learned])
    answers = {}
    for path in paths:
        said = teacher.said[path][1]
        answers[path] = np.zeros((len(said), len(question.labels)), dtype=np.float32)
        answers[path][:, regression.classes_] = regression.predict_proba(said)
    return answers
