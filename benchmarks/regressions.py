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
from pathlib import Path
from statistics import mean
from typing import Final

import numpy as np
import numpy.typing as npt
from base import keep, pupil_of, read_store
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


def ask(run: Run, checkpoint: Path, fold: int) -> dict[str, dict[str, float]]:
    """By question, the share of a fold's files that the regression names rightly: from what the network of
    ``checkpoint`` hears, and from what the teachers say."""
    assert run.teacher is not None
    rest = [question.in_folds(run.folds - {fold}).with_copies(run.copies) for question in run.questions]
    teacher = run.teacher.standardised([track.path for track in all_tracks(rest)])
    card, hear = pupil_of(checkpoint)
    heard: dict[Path, npt.NDArray[np.float32]] = {}
    found = {}
    for question, learned in zip(run.questions, rest, strict=True):
        if question.name not in QUESTIONS:
            continue
        regression = regression_on(teacher, question, learned.tracks, balance=run.plan.make_recipe().balance)
        assert regression is not None
        tracks = question.in_folds({fold}).tracks
        for track in tracks:
            if track.path not in heard:
                (windows,) = windows_of(run.features.features[track.path], card)
                heard[track.path] = hear(windows).numpy()
        labels = [question.labels[place] for place in regression.classes_]
        found[question.name] = {
            who: mean(
                labels[regression.predict_proba(said[track.path]).mean(0).argmax()] == track.label for track in tracks
            )
            for who, said in (
                ("network", heard),
                ("teachers", {track.path: teacher.said[track.path][1] for track in tracks}),
            )
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
    by_network = {}
    for network in networks:
        by_network[network] = ask(run, folder / network / CHECKPOINT_NAME, fold_of(network))
        figures = (f"{question} {each['network']:.3f}" for question, each in by_network[network].items())
        say(f"{network}: {', '.join(figures)}")
    found = {}
    for question in QUESTIONS:
        every = [each[question] for each in by_network.values()]
        found[question] = {
            "head": round(mean(each["figures"][question]["file_accuracy"] for each in networks.values()), 4),
            **{who: round(mean(each[who] for each in every), 4) for who in ("network", "teachers")},
        }
    keep("regressions", arguments.name, {"networks": len(networks), "questions": found})


if __name__ == "__main__":
    main()
