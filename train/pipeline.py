"""From tracks to a model file: hold out, train, calibrate, train on all but the test fold, export, measure.

Nothing is chosen on the test fold. Temperature, thresholds and, with patience, the number of epochs are fitted on the
calibration fold with a network that has not heard it; the network that ships then learns from that fold too, with the
same settings, a learning rate that was found included. Where every fold is tested in turn, see
``train.cross_validation``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from models.errors import ConfigError, DatasetError
from models.model_file import open_model
from models.scorer import AskedFirst, Memoised, Scorer, load_scorer
from models.scorer_kind import ScorerKind
from models.spec import Head
from train.calibration import Calibration, HeardTracks, calibrate_heads
from train.evaluate import evaluate, score_windows, windows_of
from train.export import export, load_checkpoint, put_card, without_heads
from train.features import RECODINGS, TrackFeatures, read_features
from train.leakage import without_leaks
from train.leaks import Leaks
from train.learning_rate import PICTURE_NAME, find_learning_rate
from train.loop import Execution, Fitted, fit, is_over
from train.machine import describe_machine
from train.module import TrainingModule, embedding_length
from train.plan import Plan
from train.progress import say
from train.question import Question, all_tracks, require_answers
from train.record import Record, training_in
from train.run_folder import FINAL, HELD_OUT, MODEL_NAME, RECORDS_NAME, fold_name
from train.segments import LabelledFrames
from train.soft_targets import soft_targets
from train.split import split_by_fold
from train.start import describe as start_digest
from train.start import kept_heads, require_fit
from train.statistics import metrics
from train.tables import read_copies
from train.teacher import Teacher, read_teacher
from train.track import Track, describe_counts, describe_folds, labels_of
from train.wording import counted

_PARITY_TRACKS, _PARITY_WINDOWS = 10, 8
_COUNTED_AT_MOST = 12
"""Labels of a further question, in words."""
_ENOUGH_TRACKS = 1_000
"""Of a fold, to calibrate a head on: more would not make a few numbers better known, and would fill the memory."""


@dataclass(frozen=True, slots=True)
class Run:
    """One plan, its folder, its questions about the tracks that can be used, and their features. ``asked`` are the
    questions with the tracks that cannot be used too; ``copies``, by track, are learned from with it."""

    plan: Plan
    folder: Path
    questions: tuple[Question, ...]
    asked: tuple[Question, ...]
    features: TrackFeatures
    teacher: Teacher | None = None
    copies: Mapping[Path, Sequence[Path]] = field(default_factory=dict)
    execution: Execution = field(default_factory=Execution)

    @property
    def tracks(self) -> tuple[Track, ...]:
        """Those of the first question: the ones that folds, protocol and report are about."""
        return self.questions[0].tracks

    @property
    def folds(self) -> set[int]:
        """All folds of all questions."""
        return {track.fold for question in self.questions for track in question.tracks}

    def network(
        self,
        stage: str,
        training: Collection[int],
        validation: Collection[int] = (),
        *,
        protocol: str,
        resume: bool,
        seed: int | None = None,
        like: Fitted | None = None,
        max_minutes: float | None = None,
    ) -> Fitted:
        """Train one network in the sub-folder ``stage`` on some folds, watched on others; with another seed than the
        plan's if given.

        ``like`` an earlier one: with its learning rate and, if it was stopped early, for as many epochs as were best.
        """
        folder = self.folder / stage
        recipe, seed = self.plan.make_recipe(), self.plan.seed if seed is None else seed
        if like is not None and like.best_epoch is not None:
            recipe = recipe.model_copy(update={"epochs": like.best_epoch, "patience": 0})
        card = self.plan.card(self.questions, protocol=protocol, epochs=recipe.epochs, seed=seed)
        tracks = [question.in_folds(training) for question in self.questions]
        learned = [question.with_copies(self.copies) for question in tracks]
        watched = [question.in_folds(validation) for question in self.questions]
        teacher, soft = self.teacher, None
        if teacher is not None:
            teacher = teacher.standardised([track.path for track in all_tracks(learned)])
            if recipe.soft_targets:
                given = next((head.given for head in card.heads if head.given), None)
                soft = soft_targets(teacher, learned, given, balance=recipe.balance)
        module = TrainingModule(
            card,
            recipe,
            training=LabelledFrames.join(learned, self.features.features, teacher, soft, self.features.recoded),
            validation=LabelledFrames.join(watched, self.features.features) if validation else None,
            seed=seed,
            start=self.plan.start,
        )
        if like is not None:
            module.learning_rate = like.learning_rate
        elif self.plan.find_learning_rate:
            module.learning_rate = find_learning_rate(module, folder=folder, resume=resume, execution=self.execution)
            say(f"{stage}: learning rate {module.learning_rate:g}, by a range test: {folder / PICTURE_NAME}")
        done = resume and is_over(module, folder, max_minutes=max_minutes)
        if not done:
            epochs = counted(recipe.epochs, "epoch")
            about = "; ".join([describe_counts(tracks[0].tracks), *map(_in_short, tracks[1:])])
            number = len(all_tracks(tracks))
            copies = len(all_tracks(learned)) - number
            and_copies = f" and {copies:,} of their copies" if copies else ""
            say(f"{stage}: training on {counted(number, 'track')}{and_copies} ({about}), {epochs}")
        fitted = fit(module, folder=folder, resume=resume, max_minutes=max_minutes, execution=self.execution)
        if done:
            say(f"{stage}: done, {counted(fitted.epochs, 'epoch')}")
        return fitted

    def export(
        self,
        checkpoint: Path,
        path: Path,
        *,
        calibration: Calibration | None = None,
        calibrated_by: str = "",
        figures: Mapping[str, float] | None = None,
        to_ship: bool = False,
    ) -> None:
        """Write a checkpoint as a model file, compared on real windows; with a calibration if given, what that
        was fitted to in words, and figures; ``to_ship`` without the heads that only training asks."""
        network, card = load_checkpoint(checkpoint)
        protocol = card.provenance.protocol + calibrated_by
        # The words for labels may have changed since the checkpoint was written: they have no part in training.
        calibration = calibration or Calibration(card.heads, card.novelty)
        titled = (head.model_copy(update={"titles": self.plan.titles_of(head.labels)}) for head in calibration.heads)
        card = card.model_copy(
            update={
                "heads": tuple(titled),
                "novelty": calibration.novelty,
                "metrics": dict(figures or card.metrics),
                "provenance": card.provenance.model_copy(update={"protocol": protocol}),
            }
        )
        if to_ship:
            network, card = without_heads(network, card, self.plan.auxiliary)
        some = islice(self.features.features.values(), _PARITY_TRACKS)
        windows = zip(*(windows_of(sound, card, at_most=_PARITY_WINDOWS) for sound in some), strict=True)
        export(network, card, path, windows=tuple(np.concatenate(each) for each in windows))

    def answers(self, checkpoint: Path, fold: int) -> dict[str, HeardTracks]:
        """By question, what a network says of a fold, at temperature 1: of many tracks some, every so-manieth. Without
        the questions that are not asked there, or in training only."""
        asked = {}
        shown = [question for question in self.questions if question.name not in self.plan.auxiliary]
        for question in shown:
            if tracks := question.in_folds({fold}).tracks:
                asked[question.name] = tracks[:: math.ceil(len(tracks) / _ENOUGH_TRACKS)]
        with TemporaryDirectory() as folder:
            # What is scored is what will run. No model stands in the run's folder before it is calibrated.
            self.export(checkpoint, model := Path(folder) / MODEL_NAME)
            heads = [question.name for question in shown]
            return score_windows(self._scorer(model), asked, self.features.features, heads=heads)

    def calibrate(self, heads: Sequence[Head], answers: Mapping[str, HeardTracks], *, by: str) -> Calibration:
        """See ``calibrate_heads``; heads that only training asks stay as they are: nobody will look at them."""
        found = calibrate_heads([head for head in heads if head.name not in self.plan.auxiliary], answers, by=by)
        calibrated = {head.name: head for head in found.heads}
        return replace(found, heads=tuple(calibrated.get(head.name, head) for head in heads))

    def evaluate(self, model: Path, fold: int, fitted: Fitted) -> dict[str, Record]:
        """Score a fold with the model file of a network, question by question, and keep the records for reports and
        ``compare``. A question that has no track in the fold, or no head, has no record; the first always has."""
        training = training_in(fitted.checkpoint.parent, hardware=describe_machine())
        scorer = self._scorer(model)
        records = {}
        heads = {head.name for head in scorer.card.heads}
        for question in self.asked:
            if question.name not in heads:
                continue
            # Those that cannot be used are not scored, but the record counts them.
            tracks = question.in_folds({fold}).tracks
            if not any(track.path in self.features.features for track in tracks):
                say(f"{question.name}: no track in fold {fold}, not measured there")
                continue
            asked = AskedFirst(scorer, question.name)
            record = evaluate(asked, tracks, self.features.features, model=model, training=training)
            record.write(self._records(question) / f"{record.name}.json")
            records[question.name] = record
        return records

    def measure(
        self, fitted: Fitted, fold: int, *, calibration: Calibration | None = None, calibrated_by: str = ""
    ) -> dict[str, Record]:
        """Export a network into its own folder, calibrated if so said, and evaluate that very file on a fold
        that it has not heard."""
        model = fitted.checkpoint.parent / MODEL_NAME
        self.export(fitted.checkpoint, model, calibration=calibration, calibrated_by=calibrated_by)
        return self.evaluate(model, fold, fitted)

    def _scorer(self, model: Path) -> Scorer:
        scorer = load_scorer(model, ScorerKind.ONNX)
        # Answers are kept only where another question will be asked of the same windows.
        return Memoised(scorer) if len(self.questions) > 1 else scorer

    def _records(self, question: Question) -> Path:
        folder = self.folder / RECORDS_NAME
        return folder if question.name == self.questions[0].name else folder / question.name


def open_run(
    plan: Plan, folder: Path, *, cache: Path, workers: int, resume: bool, execution: Execution | None = None
) -> Run:
    """Read the tracks and their features; say which files cannot be used.

    Raises:
        ConfigError: the folder holds another run.
        DatasetError: the tracks or their copies are missing or inconsistent, a fold that is to be tested on lacks a
            class, or no file of a class can be used.
    """
    recipe = plan.make_recipe()
    questions = plan.read_questions()
    _check_splits(plan, questions[0].tracks)
    found = all_tracks(questions)
    # Of all that was found: what is left out as a leak must not come back as somebody's copy.
    copies = read_copies(plan.copies, found) if plan.copies else {}
    kept = without_leaks(found, cache=cache, workers=workers, leaks=plan.leaks)
    plan.require_same(folder, resume=resume)
    paths = {track.path: track for track in kept}
    asked = tuple(question.within(paths) for question in questions)
    versions = all_tracks([question.with_copies(copies) for question in asked])
    teacher = _check_helpers(plan, questions, versions)
    recodings = RECODINGS if recipe.codecs else ()
    features = read_features(
        recipe.inputs, recipe.window_spec, versions, cache=cache, workers=workers, recodings=recodings
    )
    usable = tuple(question.within(features.features) for question in asked)
    for before, after in zip(asked, usable, strict=True):
        lost = sorted(set(labels_of(before.tracks)) - set(labels_of(after.tracks)))
        if lost:
            raise DatasetError(f"no file of {', '.join(lost)} can be used: replace them, or leave the class out")
    _check_splits(plan, usable[0].tracks)
    folds = {track.fold for question in usable for track in question.tracks}
    for tested, held_out in turns(plan, usable[0].tracks):
        require_answers(usable[1:], folds - {tested, held_out})
    # Not before: what is refused leaves nothing behind.
    plan.keep(folder)
    tracks = [track.path for track in all_tracks(usable)]
    copies = {path: tuple(copy for copy in copies.get(path, ()) if copy in features.features) for path in tracks}
    copies = {path: each for path, each in copies.items() if each}
    if copies:
        number = len(set(chain.from_iterable(copies.values())))
        learned = "copy" if number == 1 else f"{number:,} copies"
        say(f"{learned} of {counted(len(copies), 'track')}: learned from where the track is, never tested")
    return Run(plan, folder, usable, asked, features, teacher, copies, execution or Execution())


def _check_helpers(plan: Plan, questions: Sequence[Question], tracks: Sequence[Track]) -> Teacher | None:
    """Refuse before hours of features a model to start from or a teacher that does not suit; read the teacher."""
    recipe = plan.make_recipe()
    card = plan.card(questions, protocol="", epochs=recipe.epochs, seed=plan.seed)
    if plan.start is not None:
        other = require_fit(card, plan.start)
        kept = kept_heads(card, other)
        heads = (f"{head.name} {'taken over' if head.name in kept else 'begun anew'}" for head in card.heads)
        say(f"starting from {plan.start}: heads: {', '.join(heads)}; that model was {other.provenance.protocol}")
        say("a fold that it has learned from must not be tested on: figures would flatter")
    if plan.teacher is None:
        return None
    embedding_length(card)
    if recipe.slices > 1:
        raise ConfigError(f"a teacher speaks of windows of one piece: leave out --teacher, or slices={recipe.slices}")
    paths = [track.path for track in tracks]
    teacher = read_teacher(plan.teacher, paths, seconds_per_frame=recipe.inputs[0].seconds_per_frame)
    say(f"teacher: {teacher.describe()}")
    return teacher


def _check_splits(plan: Plan, tracks: Sequence[Track]) -> None:
    """Refuse at the beginning what would end a run after its features, or days later in its last fold."""
    if plan.make_recipe().patience and plan.calibration_fold is None and not plan.all_folds:
        raise ConfigError("early stopping (patience) watches the calibration fold: give --calibration-fold")
    for tested, held_out in turns(plan, tracks):
        split_by_fold(tracks, test_fold=tested, calibration_fold=held_out)


def _in_short(question: Question) -> str:
    if len(question.labels) > _COUNTED_AT_MOST:
        return f"{question.name}: {len(question.labels)} labels on {counted(len(question.tracks), 'track')}"
    return f"{question.name}: {describe_counts(question.tracks)}"


def turns(plan: Plan, tracks: Sequence[Track]) -> list[tuple[int, int | None]]:
    """The fold to test on and the one to calibrate on; of a cross-validation each fold in turn, and the fold that a
    patient recipe then watches: the one before it."""
    if not plan.all_folds:
        return [(plan.test_fold, plan.calibration_fold)]
    folds = sorted({track.fold for track in tracks})
    patient = plan.make_recipe().patience > 0
    return [(fold, folds[at - 1] if patient else None) for at, fold in enumerate(folds)]


def make_model(run: Run, model: Path, *, resume: bool) -> dict[str, Record]:
    """Train, calibrate, export to ``model`` and measure each question on the test fold; the figures stand in the card,
    those of other questions than the first under their name."""
    plan = run.plan
    calibration = None
    first = None
    if plan.calibration_fold is not None:
        calibration, first = _held_out(run, plan.calibration_fold, resume=resume)
    protocol = _protocol(run)
    fitted = run.network(FINAL, run.folds - {plan.test_fold}, protocol=protocol, resume=resume, like=first)
    run.export(fitted.checkpoint, model, calibration=calibration, to_ship=True)
    records = run.evaluate(model, plan.test_fold, fitted)
    put_card(model, records[plan.head].card.model_copy(update={"metrics": all_metrics(records)}))
    return records


def all_metrics(records: Mapping[str, Record]) -> dict[str, float]:
    """The figures of the first question by their names, those of the others as ``mood.file_accuracy``."""
    return {
        f"{name}.{key}" if at else key: value
        for at, (name, record) in enumerate(records.items())
        for key, value in metrics(record).items()
    }


def train_fold(
    run: Run,
    *,
    test_fold: int,
    watched_fold: int | None = None,
    seed: int,
    resume: bool,
    max_minutes: float | None = None,
) -> Fitted:
    """Train on all folds but one.

    Args:
        watched_fold: left out of training too, for a patient recipe to stop by.
        max_minutes: training ends after the epoch that passes them.
    """
    watched = set() if watched_fold is None else {watched_fold}
    learned = run.folds - watched - {test_fold}
    stopped = "" if watched_fold is None else f"; stopped by the loss on fold {watched_fold}"
    protocol = (
        f"trained on folds {sorted(learned)}, tested on fold {test_fold}"
        f"{_disjoint(run.tracks, run.plan)}{stopped}{_recipe(run.plan)}"
    )
    return run.network(
        fold_name(test_fold, seed),
        learned,
        watched,
        protocol=protocol,
        resume=resume,
        seed=seed,
        max_minutes=max_minutes,
    )


def _held_out(run: Run, calibration_fold: int, *, resume: bool) -> tuple[Calibration, Fitted]:
    """The calibration, and the network that it was fitted with."""
    plan = run.plan
    protocol = f"held out: folds {calibration_fold} (calibration) and {plan.test_fold} (test)"
    learned = run.folds - {calibration_fold, plan.test_fold}
    fitted = run.network(HELD_OUT, learned, {calibration_fold}, protocol=protocol, resume=resume)
    _, card = load_checkpoint(fitted.checkpoint)
    answers = run.answers(fitted.checkpoint, calibration_fold)
    return run.calibrate(card.heads, answers, by=f"fold {calibration_fold}"), fitted


def _protocol(run: Run) -> str:
    plan = run.plan
    folds = sorted(run.folds - {plan.test_fold})
    calibrated = (
        f"; temperature and thresholds from fold {plan.calibration_fold} by a network trained without it"
        if plan.calibration_fold is not None
        else ""
    )
    tested = f"tested on fold {plan.test_fold}{_disjoint(run.tracks, plan)}"
    return f"trained on folds {folds}, {tested}{calibrated}{_recipe(plan)}"


def protocol_of_all(run: Run) -> str:
    """Of a model that has learned from all folds."""
    return (
        "trained on all folds; figures, temperature and thresholds by cross-validation, of networks tested on the "
        f"fold that they have not heard{_disjoint(run.tracks, run.plan)}{_recipe(run.plan)}"
    )


def _recipe(plan: Plan) -> str:
    settings = ", ".join(f"{key} {value}" for key, value in sorted(plan.settings.items()) if key != "epochs")
    words = f"; recipe {plan.recipe} with {settings}" if settings else f"; recipe {plan.recipe}"
    if plan.auxiliary:
        words += f"; {', '.join(plan.auxiliary)} asked in training only"
    if plan.teacher is not None:
        words += f"; taught by {plan.teacher.name} too"
    if plan.copies is not None:
        words += (
            f"; learned from the copies in {plan.copies.name} too, each where the track is that it is said to be of"
        )
    if plan.start is not None:
        _, other = open_model(plan.start)
        words += f"; begun with the weights of {start_digest(plan.start)}, itself {other.provenance.protocol}"
    return words


def _disjoint(tracks: Sequence[Track], plan: Plan) -> str:
    """How the folds came about, and what is known not to stand in two of them."""
    if plan.leaks is Leaks.ALLOW:
        return f" ({describe_folds(tracks)}; not checked for leaks)"
    groups = f"no {plan.group_column} and " if plan.group_column else ""
    return f" ({describe_folds(tracks)}; {groups}no recording in two folds)"
