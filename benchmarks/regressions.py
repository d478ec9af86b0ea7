"""What a network knows of a question beyond what its own head says of it.

    python benchmarks/regressions.py --runs RUNS

A logistic regression that has learned a question from what the teachers say of labelled tracks, as those do that soft
targets come from, is asked of what the network hears of the teachers: a linear map of its embedding, as a head is.
Beside it the head itself, and the same regression asked of the teachers, which is what a network with all of their ear
would say. Every network of ``benchmarks/base.py`` in RUNS is asked of the fold that it has not heard, and neither has
the regression.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Final

from base import keep, pupil_of, read_store, without_fold
from base_page import fold_of

from train.checkpoints import CHECKPOINT_NAME
from train.evaluate import windows_of
from train.pipeline import Run, open_run
from train.plan import PLAN_NAME, Plan
from train.progress import say
from train.question import all_tracks
from train.soft_targets import regression_on

QUESTIONS: Final = ("genre", "mood", "style")
"""Those with one label a track."""
TEACHERS: Final = "teachers"


def ask(run: Run, checkpoints: Mapping[str, Path], fold: int) -> dict[str, dict[str, float]]:
    """By question and by who is asked, the share of a fold's files that the regression names rightly: from what the
    network of each checkpoint hears, by its name, and from what the teachers say (``TEACHERS``)."""
    rest, teacher = without_fold(run, fold)
    said = {TEACHERS: {path: answers for path, (_, answers) in teacher.said.items()}}
    for name, checkpoint in checkpoints.items():
        card, hear = pupil_of(checkpoint)
        said[name] = {}
        for track in all_tracks(
            [question.in_folds({fold}) for question in run.questions if question.name in QUESTIONS]
        ):
            (windows,) = windows_of(run.features.features[track.path], card)
            said[name][track.path] = hear(windows).numpy()
    found = {}
    for question, learned in zip(run.questions, rest, strict=True):
        if question.name not in QUESTIONS:
            continue
        heard = [track for track in learned.tracks if track.path in teacher.said]
        regression = regression_on(teacher, question, heard, balance=run.plan.make_recipe().balance)
        assert regression is not None
        labels = [question.labels[place] for place in regression.classes_]
        tracks = [track for track in question.in_folds({fold}).tracks if track.path in teacher.said]
        found[question.name] = {
            who: mean(
                labels[regression.predict_proba(answers[track.path]).mean(0).argmax()] == track.label
                for track in tracks
            )
            for who, answers in said.items()
        }
    return found


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="the folder of benchmarks/base.py")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "genrescope" / "features")
    parser.add_argument("--name", default="base", help="the variant of benchmarks/base.py")
    arguments = parser.parse_args()
    folder = arguments.runs / arguments.name
    plan = Plan.model_validate_json((folder / PLAN_NAME).read_text(encoding="utf-8"))
    if plan.teacher is None:
        parser.error(f"{arguments.name} has no teacher")
    run = open_run(plan, folder, cache=arguments.cache, workers=2, resume=True)
    networks = read_store()["variants"][arguments.name]["networks"]
    found: dict[str, dict[str, list[float]]] = {
        question: {"head": [each["figures"][question]["file_accuracy"] for each in networks.values()]}
        for question in QUESTIONS
    }
    for fold in sorted({fold_of(network) for network in networks}):
        of_fold = [network for network in networks if fold_of(network) == fold]
        for question, figures in ask(run, {each: folder / each / CHECKPOINT_NAME for each in of_fold}, fold).items():
            found[question].setdefault("network", []).extend(figures[each] for each in of_fold)
            found[question].setdefault("teachers", []).append(figures[TEACHERS])
            say(f"fold {fold}, {question}: {', '.join(f'{who} {figure:.3f}' for who, figure in figures.items())}")
    means = {
        question: {who: round(mean(figures), 4) for who, figures in of_question.items()}
        for question, of_question in found.items()
    }
    keep("regressions", arguments.name, {"networks": len(networks), "questions": means})


if __name__ == "__main__":
    main()
