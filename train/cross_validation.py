"""Every fold tested by a network that has not heard it; and the model to ship, which has heard all of them.

Its figures are those of the networks of the folds, and so is its calibration: by what each says of the fold that it has
not heard, all together. Each of them is calibrated by what the others say of theirs, so that no figure stands on files
that temperature and thresholds were fitted to, and yet they are fitted to all but a fold of what the model to ship has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from train.calibration import HeardTracks
from train.export import load_checkpoint
from train.loop import Fitted
from train.pipeline import Run, all_metrics, protocol_of_all, train_fold, turns
from train.progress import say
from train.record import Record
from train.run_folder import FINAL
from train.statistics import metrics

Answers = Mapping[str, HeardTracks]
"""By question: what a network says of the fold that it has not heard."""


@dataclass(frozen=True, slots=True)
class CrossValidated:
    """``records`` by question, of all seeds and folds; ``answers`` of the first seed's networks, and how those were
    ``fitted``, fold by fold."""

    records: Mapping[str, Sequence[Record]]
    answers: Sequence[Answers]
    fitted: Sequence[Fitted]


def cross_validate(run: Run, *, seeds: int = 1, resume: bool) -> CrossValidated:
    """A network for each fold and seed, trained on all other folds; when all of a seed are trained, each is calibrated
    by what the others say of their folds, and measured.

    A patient recipe leaves the fold before the tested one out of training, to stop by.
    """
    measured: list[dict[str, Record]] = []
    first: tuple[list[Answers], list[Fitted]] | None = None
    folds = turns(run.plan, run.tracks)
    for seed in range(run.plan.seed, run.plan.seed + seeds):
        said: dict[int, Answers] = {}
        fitted: list[Fitted] = []
        for fold, watched in folds:
            fitted.append(train_fold(run, test_fold=fold, watched_fold=watched, seed=seed, resume=resume))
            said[fold] = run.answers(fitted[-1].checkpoint, fold)
        for (fold, _), each in zip(folds, fitted, strict=True):
            others = [answers for other, answers in said.items() if other != fold]
            measured.append(_measure(run, each, fold=fold, seed=seed, others=others))
        first = first or (list(said.values()), fitted)
    assert first is not None
    records: dict[str, list[Record]] = {}
    for question in run.questions:
        found = (each[question.name] for each in measured if question.name in each)
        records[question.name] = sorted(found, key=lambda record: (record.seed, record.fold or 0))
    return CrossValidated(records, *first)


def make_model_of_all(run: Run, tested: CrossValidated, model: Path, *, resume: bool) -> None:
    """Train on all folds, and export to ``model`` with the calibration and the figures of the cross-validation.

    There is nothing left to stop by, or to find a learning rate with: it is trained as the network in the middle was,
    by its epochs and then its rate.
    """
    in_order = sorted(tested.fitted, key=lambda fitted: (fitted.best_epoch or fitted.epochs, fitted.learning_rate))
    fitted = run.network(
        FINAL, run.folds, protocol=protocol_of_all(run), resume=resume, like=in_order[len(in_order) // 2]
    )
    _, card = load_checkpoint(fitted.checkpoint)
    together = {
        name: _together(records, run.plan.seed)
        for name, records in tested.records.items()
        if records and name not in run.plan.auxiliary
    }
    run.export(
        fitted.checkpoint,
        model,
        calibration=run.calibrate(card.heads, _joined(tested.answers), by="all folds"),
        figures=all_metrics(together),
        to_ship=True,
    )


def _measure(run: Run, fitted: Fitted, *, fold: int, seed: int, others: Sequence[Answers]) -> dict[str, Record]:
    """Calibrate by what was said of the other folds; export; measure."""
    _, card = load_checkpoint(fitted.checkpoint)
    by = f"other folds than {fold}"
    calibration = run.calibrate(card.heads, _joined(others), by=by)
    records = run.measure(
        fitted,
        fold,
        calibration=calibration,
        calibrated_by=f"; temperature and thresholds from {by}, each by the network that has not heard it",
    )
    for name, record in records.items():
        figures = metrics(record)
        say(
            f"fold {fold}, seed {seed}{'' if name == run.plan.head else f', {name}'}: "
            f"{figures['published_accuracy']:.1%} of {len(record.files)} files named rightly as the recipe decides, "
            f"{figures['file_accuracy']:.1%} as live audio is judged"
        )
    return records


def _joined(answers: Sequence[Answers]) -> Answers:
    """What was said of several folds as one; a question is not asked in all of them."""
    parts: dict[str, list[HeardTracks]] = {}
    for said in answers:
        for name, scored in said.items():
            parts.setdefault(name, []).append(scored)
    return {name: HeardTracks.joined(each) for name, each in parts.items()}


def _together(records: Sequence[Record], seed: int) -> Record:
    """The records of one seed as one: every file once. Calibrated, if all of them are."""
    of_seed = [record for record in records if record.seed == seed]
    trust = of_seed[0].trust
    for record in of_seed[1:]:
        trust += record.trust
    card = next((record.card for record in of_seed if not record.calibrated), of_seed[0].card)
    files = tuple(file for record in of_seed for file in record.files)
    return of_seed[0].model_copy(update={"card": card, "fold": None, "trust": trust, "files": files})
