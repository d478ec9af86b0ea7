"""From tracks to a model file: hold out, train, calibrate, train on all but the test fold, export, measure.

Nothing is chosen on the test fold. Temperature and thresholds are fitted on the calibration fold with a network that
has not heard it; the network that ships then learns from that fold too, with the same settings.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.scorer import load_scorer
from models.scorer_kind import ScorerKind
from models.spec import Head
from train.atomic_write import replacing
from train.calibration import calibrate
from train.dataset import Split, Track, describe_counts, split_by_fold
from train.evaluate import evaluate, score_windows, windows_of
from train.export import export, load_checkpoint
from train.features import TrackFeatures, read_features
from train.loop import fit
from train.machine import describe_machine
from train.module import TrainingModule
from train.plan import Plan
from train.progress import say
from train.record import RECORDS_NAME, Record, training_in
from train.segments import LabelledFrames
from train.statistics import metrics

CROSS_VALIDATED = ("file_accuracy", "file_balanced_accuracy", "window_accuracy")
"""Figures that make sense without a calibration."""

_PARITY_TRACKS, _PARITY_WINDOWS = 10, 8


@dataclass(frozen=True, slots=True)
class Run:
    """One plan, its folder, and the features of its tracks (those that can be used)."""

    plan: Plan
    folder: Path
    tracks: list[Track]
    features: TrackFeatures

    def network(
        self, stage: str, training: Sequence[Track], validation: Sequence[Track], *, protocol: str, resume: bool
    ) -> Path:
        """Train one network in the sub-folder ``stage``; return its checkpoint."""
        recipe = self.plan.make_recipe()
        card = self.plan.card(self.tracks, protocol=protocol, epochs=recipe.epochs)
        say(f"{stage}: training on {len(training)} tracks ({describe_counts(training)}), {recipe.epochs} epochs")
        labels = card.head.labels
        module = TrainingModule(
            card,
            recipe,
            training=LabelledFrames.join(training, self.features.features, labels),
            validation=LabelledFrames.join(validation, self.features.features, labels) if validation else None,
            seed=self.plan.seed,
        )
        return fit(module, folder=self.folder / stage, epochs=recipe.epochs, resume=resume)

    def export(
        self, checkpoint: Path, path: Path, *, head: Head | None = None, metrics: dict[str, float] | None = None
    ) -> None:
        """Write a checkpoint as a model file, compared on real windows; with a calibrated head and figures if given."""
        network, card = load_checkpoint(checkpoint)
        card = card.model_copy(update={"heads": (head,) if head else card.heads, "metrics": metrics or {}})
        some = list(self.features.features.values())[:_PARITY_TRACKS]
        windows = zip(*(windows_of(sound, card, at_most=_PARITY_WINDOWS) for sound in some), strict=True)
        export(network, card, path, windows=tuple(np.concatenate(each) for each in windows))

    def evaluate(self, model: Path, tracks: Sequence[Track], *, folder: Path) -> Record:
        """Score tracks with a model file, whose training left its curves in ``folder``."""
        training = training_in(folder, hardware=describe_machine())
        scorer = load_scorer(model, ScorerKind.ONNX)
        return evaluate(scorer, tracks, self.features.features, model=model, training=training)


def open_run(plan: Plan, folder: Path, *, cache: Path, workers: int, resume: bool) -> Run:
    """Read the tracks and their features; say which files cannot be used.

    Raises:
        ConfigError: the folder holds another run.
        DatasetError: the tracks are missing or inconsistent.
    """
    recipe = plan.make_recipe()
    tracks = plan.read_tracks()
    split_by_fold(tracks, test_fold=plan.test_fold, calibration_fold=plan.calibration_fold)
    plan.keep(folder, resume=resume)
    features = read_features(recipe.inputs, recipe.window_spec, tracks, cache=cache, workers=workers)
    return Run(plan, folder, [track for track in tracks if track.path in features.features], features)


def make_model(run: Run, model: Path, *, resume: bool) -> Record:
    """Train, calibrate, export to ``model`` and measure on the test fold; the figures stand in the card."""
    plan = run.plan
    split = split_by_fold(run.tracks, test_fold=plan.test_fold, calibration_fold=plan.calibration_fold)
    head = None
    if plan.calibration_fold is not None:
        head = _calibrated_head(run, split, resume=resume)
    protocol = _protocol(run.tracks, plan)
    learned = [*split.training, *split.calibration]
    checkpoint = run.network("final", learned, [], protocol=protocol, resume=resume)
    run.export(checkpoint, model, head=head)
    measured = run.evaluate(model, split.test, folder=run.folder)
    run.export(checkpoint, model, head=head, metrics=metrics(measured))
    return measured


def cross_validate(run: Run, *, resume: bool) -> list[Record]:
    """A network for each fold, trained on all others and measured on it; nothing is calibrated or shipped."""
    results = []
    for fold in sorted({track.fold for track in run.tracks}):
        split = split_by_fold(run.tracks, test_fold=fold)
        stage = f"fold-{fold}"
        checkpoint = run.network(stage, split.training, [], protocol=f"tested on fold {fold}", resume=resume)
        model = run.folder / stage / "model.onnx"
        run.export(checkpoint, model)
        results.append(run.evaluate(model, split.test, folder=run.folder / stage))
        results[-1].write(run.folder / RECORDS_NAME / f"{results[-1].name}.json")
        figures = metrics(results[-1])
        say(f"{stage}: " + ", ".join(f"{name} {figures[name]:g}" for name in CROSS_VALIDATED))
    summary = {
        name: {
            "folds": [metrics(result)[name] for result in results],
            "mean": round(float(np.mean([metrics(result)[name] for result in results])), 4),
        }
        for name in CROSS_VALIDATED
    }
    with replacing(run.folder / "folds.json") as temporary:
        temporary.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return results


def _calibrated_head(run: Run, split: Split, *, resume: bool) -> Head:
    protocol = f"held out: folds {run.plan.calibration_fold} (calibration) and {run.plan.test_fold} (test)"
    checkpoint = run.network("held-out", split.training, split.calibration, protocol=protocol, resume=resume)
    model = run.folder / "held-out" / "model.onnx"
    run.export(checkpoint, model)
    scorer = load_scorer(model, ScorerKind.ONNX)
    head = calibrate(scorer.card.head, score_windows(scorer, split.calibration, run.features.features))
    say(f"calibrated on fold {run.plan.calibration_fold}: temperature {head.temperature}, enter {head.enter:g}")
    return head


def _protocol(tracks: Sequence[Track], plan: Plan) -> str:
    folds = sorted({track.fold for track in tracks} - {plan.test_fold})
    disjoint = f", no {plan.group_column} in two folds" if plan.group_column else ""
    calibrated = (
        f"; temperature and thresholds from fold {plan.calibration_fold} by a network trained without it"
        if plan.calibration_fold is not None
        else ""
    )
    settings = ", ".join(f"{key} {value}" for key, value in sorted(plan.settings.items()) if key != "epochs")
    changed = f"; recipe {plan.recipe} with {settings}" if settings else f"; recipe {plan.recipe}"
    return f"trained on folds {folds}, tested on fold {plan.test_fold}{disjoint}{calibrated}{changed}"
