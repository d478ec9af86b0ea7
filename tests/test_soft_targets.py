"""What a teacher would answer to our questions: by tracks of other folds, place by place, and learned from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import LABELS
from tiny_training import SMALL, frames

from models.spec import Given, Head, LogMel, Provenance
from train.augment import Augmentation
from train.module import TrainingModule
from train.question import Question
from train.recipes import make_recipe
from train.segments import RandomSegments
from train.soft_targets import soft_targets
from train.teacher import Teacher
from train.track import Track

PLACES = np.array([0.0, 2.0], dtype=np.float32)


def tracks(label: str, fold: int, *, at: int, n: int = 4) -> list[Track]:
    return [Track(Path(f"{label}-{fold}-{at + i}.wav"), label, fold) for i in range(n)]


def teacher(says: dict[Track, float]) -> Teacher:
    """Says one number of each track, and hardly anything at its second place."""
    said = {track.path: (PLACES, np.array([[value], [0.1 * value]], dtype=np.float32)) for track, value in says.items()}
    return Teacher(said, 1, seconds_per_frame=0.5)


def test_no_track_is_answered_by_a_regression_that_knows_its_fold() -> None:
    low, high = tracks("low", 0, at=0), tracks("high", 0, at=0)
    # In the other fold it is the other way round.
    low_1, high_1 = tracks("low", 1, at=4), tracks("high", 1, at=4)
    says = {
        **dict.fromkeys(low, -9.0),
        **dict.fromkeys(high, 9.0),
        **dict.fromkeys(low_1, 9.0),
        **dict.fromkeys(high_1, -9.0),
    }
    answers = soft_targets(
        teacher(says), [Question("pitch", ("high", "low"), (*low, *high, *low_1, *high_1))], balance=1.0
    )
    assert answers.outputs == 2
    for track in says:
        starts, said = answers.said[track.path]
        np.testing.assert_array_equal(starts, PLACES)
        np.testing.assert_allclose(said.sum(1), 1.0, atol=1e-5)
        wrong = "high" if track.label == "low" else "low"
        assert said[0].argmax() == ("high", "low").index(wrong)
        assert said[1].max() < said[0].max()  # less is said there


def test_what_nobody_labelled_is_answered_too_unless_it_is_known_as_something_else() -> None:
    high, low = tracks("high", 0, at=0) + tracks("high", 1, at=4), tracks("low", 0, at=0) + tracks("low", 1, at=4)
    unlabelled, speech, unheard = (Track(Path(f"{name}.wav"), name, 0) for name in ("music", "speech", "unheard"))
    pitch = Question("pitch", ("high", "low"), (*high, *low))
    kind = Question("kind", ("music", "speech"), (*[replace(each, label="music") for each in high], unlabelled, speech))
    rated = Question("mood", ("glad", "sad"), tuple(replace(each, shares=(0.5, 0.5)) for each in high))
    says = dict.fromkeys(high, 9.0) | dict.fromkeys(low, -9.0) | {unlabelled: 9.0, speech: 9.0}
    heard = teacher(says)
    answers = soft_targets(heard, [pitch, kind, rated], Given(head="kind", label="music"), balance=1.0)
    assert answers.outputs == 6
    assert answers.said[unlabelled.path][1][0, 0] > 0.6
    assert (answers.said[speech.path][1][:, :2] == 0).all()
    assert all((said[:, 4:] == 0).all() for _, said in answers.said.values())  # raters' shares say it better
    assert unheard.path not in answers.said
    without = soft_targets(heard, [pitch, kind, rated], balance=1.0)
    assert without.said[speech.path][1][0, 0] > 0.6


def test_a_label_that_only_one_fold_has_is_not_denied() -> None:
    common = [*tracks("high", 0, at=0), *tracks("low", 0, at=0), *tracks("high", 1, at=4), *tracks("low", 1, at=4)]
    rare = tracks("rare", 0, at=0)
    heard = teacher({track: float(at) for at, track in enumerate([*common, *rare])})
    answers = soft_targets(heard, [Question("pitch", ("high", "low", "rare"), (*common, *rare))], balance=1.0)
    for track in (*common, *rare):
        assert answers.said[track.path][1].sum() == pytest.approx(2.0 if track.fold == 1 else 0.0)


def test_balance_raises_what_is_rare() -> None:
    few = [*tracks("low", 0, at=0, n=3), *tracks("low", 1, at=3, n=3)]
    many = [*tracks("high", 0, at=0, n=30), *tracks("high", 1, at=30, n=30)]
    heard = teacher({track: float(track in many) for track in (*few, *many)})
    pitch = Question("pitch", ("high", "low"), (*few, *many))
    as_found, even = (soft_targets(heard, [pitch], balance=balance) for balance in (0.0, 1.0))
    for track in (*few, *many):
        assert as_found.said[track.path][1][0, 1] < even.said[track.path][1][0, 1]
    assert as_found.origin != even.origin


def test_in_one_fold_no_track_is_answered_by_its_own_artist() -> None:
    """An artist whose tracks, and no others, are high where the teacher says little."""
    usual = [
        replace(track, group=f"{track.path}") for label in ("high", "low") for track in tracks(label, 0, at=0, n=12)
    ]
    odd = [Track(Path(f"odd-{at}.wav"), "high", 0, group="odd") for at in range(12)]
    heard = teacher({track: -9.0 if track.label == "low" or track in odd else 9.0 for track in (*usual, *odd)})
    pitch = Question("pitch", ("high", "low"), (*usual, *odd))
    answers = soft_targets(heard, [pitch], balance=1.0)
    assert all(answers.said[track.path][1][0].argmax() == 1 for track in odd)
    assert answers.origin == soft_targets(heard, [pitch], balance=1.0).origin
    moved = replace(pitch, tracks=tuple(replace(track, fold=at % 2) for at, track in enumerate(pitch.tracks)))
    assert answers.origin != soft_targets(heard, [moved], balance=1.0).origin


def taught(share: float) -> TrainingModule:
    recipe = make_recipe("base", {**SMALL, "soft_targets": share, "teacher": 0.0, "balance": 0.0, "mixup": 0.0})
    card = recipe.card(
        name="test",
        heads=(Head(name="genre", labels=LABELS),),
        provenance=Provenance(data="", protocol="", epochs=0, seed=0, commit="", licence=""),
    )
    training = frames(card, tracks=9, seed=1)
    answer = np.tile(np.array([0.2, 0.3, 0.5], dtype=np.float32), (2, 1))
    soft = Teacher(dict.fromkeys(training.paths[:6], (PLACES, answer)), 3, seconds_per_frame=0.02)
    lessons = Teacher(
        dict.fromkeys(training.paths, (PLACES, np.zeros((2, 1), dtype=np.float32))), 1, seconds_per_frame=0.02
    )
    training = replace(training, teacher=lessons, soft_targets=soft)
    return TrainingModule(card, recipe, training=training, validation=None, seed=0)


def test_labels_give_way_to_them_by_their_share() -> None:
    module = taught(0.5)
    batches = module.train_dataloader()
    assert isinstance(batches, RandomSegments)
    (batch,) = replace(batches, augmentation=None, batch_size=999)
    answered = batch.tracks < 6
    assert (batch.soft_targets[0][~answered] == 0).all()
    module.eval()
    logits = module.network(*batch.windows)["genre"].log_softmax(1)
    soft = torch.tensor([0.2, 0.3, 0.5])
    targets = torch.where(answered[:, None], 0.5 * batch.targets[0] + 0.5 * soft, batch.targets[0])
    torch.testing.assert_close(module.training_step(batch, 0), -(targets * logits).sum(1).mean())
    alone = batch._replace(soft_targets=())
    torch.testing.assert_close(module.training_step(alone, 0), -(batch.targets[0] * logits).sum(1).mean())


def test_they_are_mixed_as_labels_are() -> None:
    module = taught(0.5)
    batches, (spec,) = module.train_dataloader(), module.card.inputs
    assert isinstance(batches, RandomSegments)
    assert isinstance(spec, LogMel)
    mixup = Augmentation(spec, mixup=1.0)
    (plain,) = replace(batches, augmentation=None, batch_size=999)
    (mixed,) = replace(batches, augmentation=mixup, batch_size=999)
    answered = plain.soft_targets[0].sum(1) > 0
    (targets,), (soft,) = mixed.targets, mixed.soft_targets
    assert not torch.equal(mixed.windows[0], plain.windows[0])
    assert (soft[~answered] == 0).all()
    both = answered & (soft.sum(1) > 0.999)
    torch.testing.assert_close(soft[both], torch.tensor([0.2, 0.3, 0.5]).expand(int(both.sum()), 3))
    assert (targets.sum(1) > 0.999).all()
