"""Who is calibrated by whom where every fold is tested, and what the model of all folds is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from records import LABELS, random_record

from models.spec import Head
from train import calibration, cross_validation
from train.calibration import Calibration, HeardTracks, calibrate_heads
from train.cross_validation import cross_validate, make_model_of_all
from train.loop import Fitted
from train.novelty_fit import fit_novelty

HEADS = (Head(name="genre", labels=LABELS), Head(name="mood", labels=LABELS))
FOLDS = (0, 1, 2, 3)


@dataclass
class FakeRun:
    """Networks are their folds and seeds; what they say has one target that tells both. ``mood`` is asked in these
    folds."""

    folder: Path
    exported: dict[str, dict[str, Any]] = field(default_factory=dict)
    trained: list[tuple[Any, ...]] = field(default_factory=list)
    questions = tuple(SimpleNamespace(name=head.name) for head in HEADS)
    plan = SimpleNamespace(seed=5, head="genre", auxiliary=("mood",))
    tracks = ()
    folds: frozenset[int] = frozenset(FOLDS)
    mood: frozenset[int] = frozenset({1, 3})

    def answers(self, checkpoint: Path, fold: int) -> dict[str, HeardTracks]:
        assert checkpoint.name.startswith(f"fold-{fold}-")
        target = fold + len(FOLDS) * checkpoint.name.endswith("-6")
        said = HeardTracks(
            [Path(str(fold))], [{head.name: np.full((2, 3), 1 / 3) for head in HEADS}], np.array([target]), 0.34, 2.8
        )
        return {head.name: said for head in HEADS if head.name == "genre" or fold in self.mood}

    def export(self, checkpoint: Path, path: Path, **changed: Any) -> None:
        self.exported[checkpoint.name] = {"path": path, **changed}

    def measure(self, fitted: Fitted, fold: int, **changed: Any) -> dict[str, Any]:
        self.exported[fitted.checkpoint.name] = changed
        seed = int(fitted.checkpoint.name.rpartition("-")[2])
        records = {}
        for head in changed["calibration"].heads:
            if head.name == "genre" or fold in self.mood:
                record = random_record(0.7, fold=fold, seed=seed, start=100 * fold)
                card = record.card.model_copy(update={"heads": (head,)})
                records[head.name] = record.model_copy(update={"card": card})
        return records

    def network(self, stage: str, training: set[int], *, like: Fitted, **_others: Any) -> Fitted:
        self.trained.append((stage, training, like))
        return fitted("final", epochs=like.best_epoch or like.epochs, rate=like.learning_rate)

    def calibrate(self, heads: tuple[Head, ...], answers: dict[str, HeardTracks], *, by: str) -> Calibration:
        """The targets that each was calibrated by, as digits of its temperature."""
        said = {name: "".join(map(str, each.targets)) for name, each in answers.items()}
        return Calibration(
            tuple(
                head.model_copy(update={"temperature": float("1" + said[head.name]) if head.name in said else 1.0})
                for head in heads
            )
        )


def fitted(name: str, *, epochs: int, rate: float = 0.1) -> Fitted:
    return Fitted(Path(name), learning_rate=rate, epochs=epochs, best_epoch=None, minutes=1.0, stopped="all epochs")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    run = FakeRun(tmp_path)

    def train_fold(_run: FakeRun, *, test_fold: int, seed: int, **_others: Any) -> Fitted:
        return fitted(f"fold-{test_fold}-seed-{seed}", epochs=10 * ((test_fold + 1) % 4))

    fakes: dict[str, Callable[..., Any]] = {
        "train_fold": train_fold,
        "turns": lambda *_: [(fold, None) for fold in sorted(run.folds)],
        "load_checkpoint": lambda _: (None, SimpleNamespace(heads=HEADS)),
        "protocol_of_all": lambda _: "",
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(cross_validation, name, fake)
    return run


def test_each_is_calibrated_by_what_the_others_say_of_their_folds(run: FakeRun) -> None:
    tested = cross_validate(run, seeds=2, resume=False)  # type: ignore[arg-type]
    for seed in (5, 6):
        temperatures = {
            fold: [head.temperature for head in run.exported[f"fold-{fold}-seed-{seed}"]["calibration"].heads]
            for fold in FOLDS
        }
        # Folds as digits after a 1, from 4 on those of the second seed.
        by_first = {0: ["1123", "113"], 1: ["1023", "13"], 2: ["1013", "113"], 3: ["1012", "11"]}
        by_second = {0: ["1567", "157"], 1: ["1467", "17"], 2: ["1457", "157"], 3: ["1456", "15"]}
        assert temperatures == {
            fold: [float(each) for each in digits] for fold, digits in (by_first if seed == 5 else by_second).items()
        }
    assert (
        "from other folds than 3, each by the network that has not heard it"
        in run.exported["fold-3-seed-5"]["calibrated_by"]
    )
    assert [(each.seed, each.fold) for each in tested.records["genre"]] == [(s, f) for s in (5, 6) for f in FOLDS]
    assert [(each.seed, each.fold) for each in tested.records["mood"]] == [
        (s, f) for s in (5, 6) for f in sorted(run.mood)
    ]
    assert len(tested.answers) == len(tested.fitted) == len(FOLDS)  # of the first seed


def test_of_two_folds_each_is_calibrated_by_the_other_if_that_answers(run: FakeRun) -> None:
    run.folds, run.mood = frozenset({0, 1}), frozenset({1})
    cross_validate(run, resume=False)  # type: ignore[arg-type]
    temperatures = [
        [head.temperature for head in run.exported[f"fold-{fold}-seed-5"]["calibration"].heads] for fold in (0, 1)
    ]
    assert temperatures == [[11.0, 11.0], [10.0, 1.0]]  # a plain 1 is nobody's


def test_the_model_of_all_is_calibrated_by_all_and_trained_as_the_network_in_the_middle(run: FakeRun) -> None:
    tested = cross_validate(run, seeds=2, resume=False)  # type: ignore[arg-type]
    make_model_of_all(run, tested, run.folder / "of-all.onnx", resume=False)  # type: ignore[arg-type]
    ((stage, training, like),) = run.trained
    assert (stage, training, like.epochs) == ("final", set(FOLDS), 20)
    made = run.exported["final"]
    assert made["path"] == run.folder / "of-all.onnx"
    assert [head.temperature for head in made["calibration"].heads] == [10123.0, 113.0]
    files = len(tested.records["genre"][0].files)
    assert made["figures"]["files"] == len(FOLDS) * files  # once, whatever the seeds
    assert "ece_vote_after" in made["figures"]
    assert made["to_ship"]
    assert not any(name.startswith("mood.") for name in made["figures"])  # asked in training only


def test_of_networks_that_stopped_alike_the_rate_in_the_middle_is_taken(run: FakeRun) -> None:
    tested = cross_validate(run, resume=False)  # type: ignore[arg-type]
    alike = [fitted("x", epochs=7, rate=rate) for rate in (0.3, 0.1, 0.2)]
    make_model_of_all(run, replace(tested, fitted=alike), run.folder / "x.onnx", resume=False)  # type: ignore[arg-type]
    assert run.trained[0][2].learning_rate == 0.2


def said_of(random: np.random.Generator, tracks: int) -> HeardTracks:
    """By both heads, of tracks that differ by more than their windows do; a window shares no sound with the next."""
    middles = random.normal(0, 2, (tracks, 2, 1, 3))
    powers = np.exp(middles + random.normal(0, 0.5, (tracks, 2, 12, 3)))
    shares = powers / powers.sum(axis=-1, keepdims=True)
    answers = [{head.name: said for head, said in zip(HEADS, each, strict=True)} for each in shares]
    paths = [Path(str(at)) for at in range(tracks)]
    targets = middles[:, 0, 0].argmax(axis=1)
    targets[::4] = (targets[::4] + 1) % 3  # it is not always right
    return HeardTracks(paths, answers, targets, 0.34, 0.34)


def test_a_head_that_nothing_was_said_to_stays_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    found = calibrate_heads(HEADS, {"genre": said_of(np.random.default_rng(0), 20)}, by="fold 3")
    genre, mood = found.heads
    assert genre.temperature != 1.0
    assert mood == HEADS[1]
    assert found.novelty is not None
    assert found.novelty.heads == ("genre",)
    told = capsys.readouterr().err
    assert "genre: calibrated by fold 3: temperature " in told
    assert "mood: no track in fold 3, not calibrated" in told
    assert "half-life alone" not in told


def test_novelty_is_of_the_answers_at_the_temperatures_that_were_found() -> None:
    said = said_of(np.random.default_rng(1), 20)
    found = calibrate_heads(HEADS, {"genre": said, "mood": said}, by="fold 3")
    temperatures = {head.name: head.temperature for head in found.heads}
    assert all(abs(each - 1.0) > 0.05 for each in temperatures.values())
    expected = fit_novelty(said.tempered(temperatures).answers, HEADS, hop_s=0.34, window_s=0.34)
    assert found.novelty == expected  # each track once, though two questions were asked of it


def test_thresholds_are_those_of_a_vote_that_forgets_where_sound_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[float] = []

    def calibrate(head: Head, scored: calibration.ScoredTracks) -> Head:
        heard.append(float(np.concatenate(scored.aged_s).max()))
        return head

    monkeypatch.setattr(calibration, "calibrate", calibrate)
    said = said_of(np.random.default_rng(1), 20)
    # Another track begins in the middle of each.
    joined = [
        {name: np.concatenate([each[name], other[name]]) for name in each}
        for each, other in zip(said.answers, said.answers[1:] + said.answers[:1], strict=True)
    ]
    assert calibrate_heads(HEADS, {"genre": replace(said, answers=joined)}, by="fold 3").novelty is not None
    assert heard[0] > 2 * 0.34


def test_folds_in_which_not_every_question_is_asked_are_calibrated_together() -> None:
    """As two folds' networks answer, one of which has no track of mood: both heads are heard in both."""
    both, genre_alone = said_of(np.random.default_rng(0), 10), said_of(np.random.default_rng(1), 10)
    genre_alone = replace(genre_alone, paths=[Path(f"other-{path}") for path in genre_alone.paths])
    joined = cross_validation._joined([{"genre": both, "mood": both}, {"genre": genre_alone}])
    assert len(joined["genre"].paths) == 20
    assert len(joined["mood"].paths) == 10
    found = calibrate_heads(HEADS, joined, by="all folds")
    assert found.novelty is not None
    assert found.novelty.heads == ("genre", "mood")


def test_too_few_tracks_tell_no_novelty_and_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert calibrate_heads(HEADS, {"genre": said_of(np.random.default_rng(0), 2)}, by="fold 3").novelty is None
    assert "tracks of fold 3 are too few or too short to tell pieces apart by" in capsys.readouterr().err
