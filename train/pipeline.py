"""From tracks to a model file: hold out, train, calibrate, train on all but the test fold, export, measure.

Nothing is chosen on the test fold. Temperature, thresholds and, with patience, the number of epochs are fitted on the
calibration fold with a network that has not heard it; the network that ships then learns from that fold too, with the
same settings, a learning rate that was found included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from models.errors import ConfigError, DatasetError
from models.scorer import load_scorer
from models.scorer_kind import ScorerKind
from models.spec import Head
from train.calibration import calibrate, end_of_range
from train.evaluate import evaluate, score_windows, windows_of
from train.export import export, load_checkpoint, put_card
from train.features import TrackFeatures, read_features
from train.leakage import without_leaks
from train.leaks import Leaks
from train.learning_rate import PICTURE_NAME, find_learning_rate
from train.loop import Execution, Fitted, fit, is_over
from train.machine import describe_machine
from train.module import TrainingModule
from train.plan import Plan
from train.progress import say
from train.record import Record, training_in
from train.run_folder import FINAL, HELD_OUT, MODEL_NAME, RECORDS_NAME, fold_name
from train.segments import LabelledFrames
from train.split import Split, split_by_fold
from train.statistics import metrics
from train.track import Track, describe_counts, describe_folds, labels_of
from train.wording import counted

_PARITY_TRACKS, _PARITY_WINDOWS = 10, 8


@dataclass(frozen=True, slots=True)
class Run:
    """One plan, its folder, and the features of its tracks (those that can be used; the others are ``unusable``)."""

    plan: Plan
    folder: Path
    tracks: list[Track]
    features: TrackFeatures
    unusable: tuple[Track, ...] = ()
    execution: Execution = field(default_factory=Execution)

    def network(
        self,
        stage: str,
        training: Sequence[Track],
        validation: Sequence[Track],
        *,
        protocol: str,
        resume: bool,
        seed: int | None = None,
        like: Fitted | None = None,
        max_minutes: float | None = None,
    ) -> Fitted:
        """Train one network in the sub-folder ``stage``, with another seed than the plan's if given.

        ``like`` an earlier one: with its learning rate and, if it was stopped early, for as many epochs as were best.
        """
        folder = self.folder / stage
        recipe, seed = self.plan.make_recipe(), self.plan.seed if seed is None else seed
        if like is not None and like.best_epoch is not None:
            recipe = recipe.model_copy(update={"epochs": like.best_epoch, "patience": 0})
        card = self.plan.card(self.tracks, protocol=protocol, epochs=recipe.epochs, seed=seed)
        labels = card.head.labels
        module = TrainingModule(
            card,
            recipe,
            training=LabelledFrames.join(training, self.features.features, labels),
            validation=LabelledFrames.join(validation, self.features.features, labels) if validation else None,
            seed=seed,
        )
        if like is not None:
            module.learning_rate = like.learning_rate
        elif self.plan.find_learning_rate:
            module.learning_rate = find_learning_rate(module, folder=folder, resume=resume, execution=self.execution)
            say(f"{stage}: learning rate {module.learning_rate:g}, by a range test: {folder / PICTURE_NAME}")
        done = resume and is_over(module, folder, max_minutes=max_minutes)
        if not done:
            epochs = counted(recipe.epochs, "epoch")
            say(f"{stage}: training on {counted(len(training), 'track')} ({describe_counts(training)}), {epochs}")
        fitted = fit(module, folder=folder, resume=resume, max_minutes=max_minutes, execution=self.execution)
        if done:
            say(f"{stage}: done, {counted(fitted.epochs, 'epoch')}")
        return fitted

    def export(self, checkpoint: Path, path: Path, *, head: Head | None = None) -> None:
        """Write a checkpoint as a model file, compared on real windows; with a calibrated head if given."""
        network, card = load_checkpoint(checkpoint)
        card = card.model_copy(update={"heads": (head,) if head else card.heads})
        some = islice(self.features.features.values(), _PARITY_TRACKS)
        windows = zip(*(windows_of(sound, card, at_most=_PARITY_WINDOWS) for sound in some), strict=True)
        export(network, card, path, windows=tuple(np.concatenate(each) for each in windows))

    def evaluate(self, model: Path, fold: int, fitted: Fitted) -> Record:
        """Score a fold with the model file of a network, and keep the record for reports and ``compare``."""
        training = training_in(fitted.checkpoint.parent, hardware=describe_machine())
        scorer = load_scorer(model, ScorerKind.ONNX)
        # Those that cannot be used are not scored, but the record counts them.
        tracks = [track for track in (*self.tracks, *self.unusable) if track.fold == fold]
        record = evaluate(scorer, tracks, self.features.features, model=model, training=training)
        record.write(self.folder / RECORDS_NAME / f"{record.name}.json")
        return record


def open_run(
    plan: Plan, folder: Path, *, cache: Path, workers: int, resume: bool, execution: Execution | None = None
) -> Run:
    """Read the tracks and their features; say which files cannot be used.

    Raises:
        ConfigError: the folder holds another run.
        DatasetError: the tracks are missing or inconsistent, a fold that is to be tested on lacks a class, or no file
            of a class can be used.
    """
    recipe = plan.make_recipe()
    tracks = plan.read_tracks()
    _check_splits(plan, tracks)
    tracks = without_leaks(tracks, cache=cache, workers=workers, leaks=plan.leaks)
    plan.require_same(folder, resume=resume)
    features = read_features(recipe.inputs, recipe.window_spec, tracks, cache=cache, workers=workers)
    usable = [track for track in tracks if track.path in features.features]
    unusable = tuple(track for track in tracks if track.path not in features.features)
    lost = sorted(set(labels_of(tracks)) - set(labels_of(usable)))
    if lost:
        raise DatasetError(f"no file of {', '.join(lost)} can be used: replace them, or leave the class out")
    _check_splits(plan, usable)
    # Not before: what is refused leaves nothing behind.
    plan.keep(folder)
    return Run(plan, folder, usable, features, unusable, execution or Execution())


def _check_splits(plan: Plan, tracks: Sequence[Track]) -> None:
    """Refuse at the beginning what would end a run after its features, or days later in its last fold."""
    if plan.make_recipe().patience and plan.calibration_fold is None and not plan.all_folds:
        raise ConfigError("early stopping (patience) watches the calibration fold: give --calibration-fold")
    for tested, held_out in _turns(plan, tracks) if plan.all_folds else [(plan.test_fold, plan.calibration_fold)]:
        split_by_fold(tracks, test_fold=tested, calibration_fold=held_out)


def _turns(plan: Plan, tracks: Sequence[Track]) -> list[tuple[int, int | None]]:
    """Each fold to test on, and the fold that a patient recipe then watches: the one before it."""
    folds = sorted({track.fold for track in tracks})
    patient = plan.make_recipe().patience > 0
    return [(fold, folds[at - 1] if patient else None) for at, fold in enumerate(folds)]


def make_model(run: Run, model: Path, *, resume: bool) -> Record:
    """Train, calibrate, export to ``model`` and measure on the test fold; the figures stand in the card."""
    plan = run.plan
    split = split_by_fold(run.tracks, test_fold=plan.test_fold, calibration_fold=plan.calibration_fold)
    head, first = None, None
    if plan.calibration_fold is not None:
        head, first = _held_out(run, split, resume=resume)
    protocol = _protocol(run.tracks, plan)
    learned = [*split.training, *split.calibration]
    fitted = run.network(FINAL, learned, [], protocol=protocol, resume=resume, like=first)
    run.export(fitted.checkpoint, model, head=head)
    measured = run.evaluate(model, plan.test_fold, fitted)
    put_card(model, measured.card.model_copy(update={"metrics": metrics(measured)}))
    return measured


def measure_fold(
    run: Run,
    *,
    test_fold: int,
    watched_fold: int | None = None,
    seed: int,
    resume: bool,
    max_minutes: float | None = None,
) -> tuple[Record, Fitted]:
    """Train on all other folds, measure on one, and keep the record; nothing is calibrated.

    Args:
        watched_fold: left out of training, for a patient recipe to stop by.
        max_minutes: training ends after the epoch that passes them.
    """
    split = split_by_fold(run.tracks, test_fold=test_fold, calibration_fold=watched_fold)
    stage = fold_name(test_fold, seed)
    stopped = "" if watched_fold is None else f"; stopped by the loss on fold {watched_fold}"
    protocol = (
        f"trained on folds {sorted({track.fold for track in split.training})}, tested on fold {test_fold}"
        f"{_disjoint(run.tracks, run.plan)}{stopped}{_recipe(run.plan)}"
    )
    fitted = run.network(
        stage, split.training, split.calibration, protocol=protocol, resume=resume, seed=seed, max_minutes=max_minutes
    )
    model = run.folder / stage / MODEL_NAME
    run.export(fitted.checkpoint, model)
    return run.evaluate(model, test_fold, fitted), fitted


def cross_validate(run: Run, *, seeds: int = 1, resume: bool) -> list[Record]:
    """A network for each fold and seed, trained on all other folds and measured on it; nothing is calibrated.

    A patient recipe leaves the fold before the tested one out of training, to stop by.
    """
    records = []
    for seed in range(run.plan.seed, run.plan.seed + seeds):
        for fold, watched in _turns(run.plan, run.tracks):
            record, _ = measure_fold(run, test_fold=fold, watched_fold=watched, seed=seed, resume=resume)
            records.append(record)
            figures = metrics(record)
            say(
                f"fold {fold}, seed {seed}: {figures['published_accuracy']:.1%} of {len(record.files)} files named "
                f"rightly as the recipe decides, {figures['file_accuracy']:.1%} as live audio is judged"
            )
    return records


def _held_out(run: Run, split: Split, *, resume: bool) -> tuple[Head, Fitted]:
    """The calibrated head, and the network that it was fitted with."""
    protocol = f"held out: folds {run.plan.calibration_fold} (calibration) and {run.plan.test_fold} (test)"
    fitted = run.network(HELD_OUT, split.training, split.calibration, protocol=protocol, resume=resume)
    model = run.folder / HELD_OUT / MODEL_NAME
    run.export(fitted.checkpoint, model)
    scorer = load_scorer(model, ScorerKind.ONNX)
    head = calibrate(scorer.card.head, score_windows(scorer, split.calibration, run.features.features))
    say(
        f"calibrated on fold {run.plan.calibration_fold}: temperature {head.temperature:g}"
        f"{end_of_range(head.temperature)}, enter {head.enter:g}"
    )
    return head, fitted


def _protocol(tracks: Sequence[Track], plan: Plan) -> str:
    folds = sorted({track.fold for track in tracks} - {plan.test_fold})
    calibrated = (
        f"; temperature and thresholds from fold {plan.calibration_fold} by a network trained without it"
        if plan.calibration_fold is not None
        else ""
    )
    tested = f"tested on fold {plan.test_fold}{_disjoint(tracks, plan)}"
    return f"trained on folds {folds}, {tested}{calibrated}{_recipe(plan)}"


def _recipe(plan: Plan) -> str:
    settings = ", ".join(f"{key} {value}" for key, value in sorted(plan.settings.items()) if key != "epochs")
    return f"; recipe {plan.recipe} with {settings}" if settings else f"; recipe {plan.recipe}"


def _disjoint(tracks: Sequence[Track], plan: Plan) -> str:
    """How the folds came about, and what is known not to stand in two of them."""
    if plan.leaks is Leaks.ALLOW:
        return f" ({describe_folds(tracks)}; not checked for leaks)"
    groups = f"no {plan.group_column} and " if plan.group_column else ""
    return f" ({describe_folds(tracks)}; {groups}no recording in two folds)"
