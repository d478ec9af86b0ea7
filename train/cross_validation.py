"""Every fold tested by a network that has not heard it; and the model to ship, which has heard all of them.

Its figures are those of the networks of the folds, and so is its calibration: each of these is calibrated by the
answers of another one to the fold that that one has not heard, so that no figure stands on files that it was fitted to,
and the model to ship by all of these answers together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from models.model_file import open_model
from models.scorer import AskedFirst, load_scorer
from models.scorer_kind import ScorerKind
from models.spec import Head
from train.calibration import ScoredTracks, calibrate, end_of_range
from train.evaluate import score_windows
from train.export import put_card
from train.loop import Fitted
from train.pipeline import Run, all_metrics, protocol_of_all, train_fold, turns
from train.progress import say
from train.record import Record
from train.run_folder import FINAL
from train.statistics import metrics

Answers = Mapping[str, ScoredTracks]
"""By question: what a network says of the fold that it has not heard, at temperature 1; without what is not asked
there."""


@dataclass(frozen=True, slots=True)
class CrossValidated:
    """``records`` by question, of all folds and seeds; ``answers`` of the first seed's networks, and how those were
    ``fitted``, fold by fold."""

    records: Mapping[str, Sequence[Record]]
    answers: Sequence[Answers]
    fitted: Sequence[Fitted]


def cross_validate(run: Run, *, seeds: int = 1, resume: bool) -> CrossValidated:
    """A network for each fold and seed, trained on all other folds, calibrated on what that of the fold before says of
    it, and measured.

    A patient recipe leaves the fold before the tested one out of training, to stop by.
    """
    records: dict[str, list[Record]] = {question.name: [] for question in run.questions}
    answers: list[list[Answers]] = []
    trained: list[list[tuple[Path, Fitted]]] = []
    for seed in range(run.plan.seed, run.plan.seed + seeds):
        folds = turns(run.plan, run.tracks)
        trained.append(
            [train_fold(run, test_fold=fold, watched_fold=watched, seed=seed, resume=resume) for fold, watched in folds]
        )
        answers.append([_answers(run, model, fold) for (model, _), (fold, _) in zip(trained[-1], folds, strict=True)])
        for at, ((model, fitted), (fold, _)) in enumerate(zip(trained[-1], folds, strict=True)):
            # Of the first fold the one before is the last.
            _put_heads(model, _calibrated(run, [answers[-1][at - 1]]))
            for name, record in run.evaluate(model, fold, fitted).items():
                records[name].append(record)
                figures = metrics(record)
                say(
                    f"fold {fold}, seed {seed}{'' if name == run.plan.head else f', {name}'}: "
                    f"{figures['published_accuracy']:.1%} of {len(record.files)} files named rightly as the recipe "
                    f"decides, {figures['file_accuracy']:.1%} as live audio is judged"
                )
    return CrossValidated(records, answers[0], [fitted for _, fitted in trained[0]])


def make_model_of_all(run: Run, tested: CrossValidated, model: Path, *, resume: bool) -> dict[str, float]:
    """Train on all folds, and export to ``model`` with the calibration and the figures of the cross-validation, which
    are returned.

    A patient recipe has nothing left to stop by: it runs as many epochs as were best in the middle of the folds.
    """
    like = sorted(tested.fitted, key=lambda fitted: fitted.best_epoch or fitted.epochs)[len(tested.fitted) // 2]
    fitted = run.network(FINAL, run.folds, protocol=protocol_of_all(run), resume=resume, like=like)
    heads = _calibrated(run, tested.answers, aloud=True)
    run.export(fitted.checkpoint, model)
    _put_heads(model, heads)
    card = load_scorer(model, ScorerKind.ONNX).card
    figures = all_metrics(
        {name: _together(records, run.plan.seed) for name, records in tested.records.items() if records}
    )
    put_card(model, card.model_copy(update={"metrics": figures}))
    return figures


def _answers(run: Run, model: Path, fold: int) -> Answers:
    scorer = load_scorer(model, ScorerKind.ONNX)
    asked = {question.name: question.in_folds({fold}).within(run.features.features) for question in run.questions}
    return {
        name: score_windows(AskedFirst(scorer, name), question.tracks, run.features.features)
        for name, question in asked.items()
        if question.tracks
    }


def _calibrated(run: Run, answers: Sequence[Answers], *, aloud: bool = False) -> dict[str, Head]:
    """By name, the heads that were asked, calibrated on these answers."""
    heads = {}
    for question in run.questions:
        scored = [each[question.name] for each in answers if question.name in each]
        if not scored:
            continue
        together = replace(
            scored[0],
            windows=[windows for each in scored for windows in each.windows],
            targets=np.concatenate([each.targets for each in scored]),
        )
        card = run.plan.card(run.questions, protocol="", epochs=0, seed=run.plan.seed)
        (head,) = (head for head in card.heads if head.name == question.name)
        heads[question.name] = head = calibrate(head, together)
        if aloud:
            say(
                f"{question.name}: calibrated by the cross-validation: temperature {head.temperature:g}"
                f"{end_of_range(head.temperature)}, enter {head.enter:g}"
            )
    return heads


def _put_heads(model: Path, heads: Mapping[str, Head]) -> None:
    _, card = open_model(model)
    put_card(model, card.model_copy(update={"heads": tuple(heads.get(head.name, head) for head in card.heads)}))


def _together(records: Sequence[Record], seed: int) -> Record:
    """The records of one seed as one: every file once."""
    of_seed = [record for record in records if record.seed == seed]
    trust = of_seed[0].trust
    for record in of_seed[1:]:
        trust += record.trust
    return of_seed[0].model_copy(
        update={"fold": None, "trust": trust, "files": tuple(file for record in of_seed for file in record.files)}
    )
