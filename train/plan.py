"""What a training run is asked to do: kept beside its checkpoints, so that a resumed run is the same run."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.atomic_write import replacing
from models.errors import ConfigError
from models.spec import Given, Head, ModelCard, Provenance
from train.dataset import FOLDS, read_tracks
from train.leaks import Leaks
from train.question import Question, read_questions, require_free_name
from train.recipe import Recipe
from train.recipes import make_recipe
from train.track import describe_counts

PLAN_NAME = "plan.json"


class Plan(BaseModel):
    """Recipe, tracks, folds and what the card shall say. Paths are as the user gave them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str
    settings: dict[str, str | int | float] = {}
    """Settings of the recipe that differ from its own."""
    tables: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()
    label_column: str = "genre"
    group_column: str | None = None
    join: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    data_home: Path | None = None
    published_split: bool = True
    folds: Annotated[int, Field(ge=2)] = FOLDS
    shares: str | None = None
    leaks: Leaks = Leaks.REFUSE
    find_learning_rate: bool = False
    """By a range test, instead of the recipe's."""
    all_folds: bool = False
    """Every fold is tested on in turn; the two below are not asked then."""
    test_fold: int
    calibration_fold: int | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    name: str
    description: str = ""
    head: str = "genre"
    also: tuple[str, ...] = ()
    """Further questions, see ``train.question.read_questions``."""
    auxiliary: tuple[str, ...] = ()
    """Those of the further questions that only training asks: the model to ship does not answer them."""
    titles: tuple[str, ...] = ()
    """``rnb=R&B``: what people are shown of labels."""
    given: str | None = None
    """``kind=music``: all questions but this one are of sound that it answers so."""
    teacher: Path | None = None
    """What another model says of the tracks, see ``train.teacher.read_teacher``."""
    copies: Path | None = None
    """Further versions of the tracks, see ``train.tables.read_copies``: learned from, never tested."""
    start: Path | None = None
    """A model whose weights training begins with."""
    data: str = ""
    """Empty: the tracks, as far as they tell."""
    licence: str = "not stated"

    def make_recipe(self) -> Recipe:
        """The recipe with the plan's settings."""
        return make_recipe(self.recipe, self.settings)

    def read_questions(self) -> list[Question]:
        """The first question, of all tables, folders and data sets, and the others, of the tables."""
        tracks = read_tracks(
            tables=self.tables,
            folders=self.folders,
            datasets=self.datasets,
            data_home=self.data_home,
            published_split=self.published_split,
            folds=self.folds,
            shares=self.shares,
            label_column=self.label_column,
            group_column=self.group_column,
            join=self.join,
            seed=self.seed,
        )
        require_free_name(self.head, option="--head")
        others = read_questions(self.also, tables=self.tables, group_column=self.group_column)
        if self.head in {question.name for question in others}:
            raise ConfigError(f"expected each question once, {self.head!r} is the first one's name (--head, --also)")
        questions = [Question.about(self.head, tracks), *others]
        answers = {f"{question.name}={label}" for question in questions for label in question.labels}
        if self.given is not None and self.given not in answers:
            raise ConfigError(
                f"expected an answer to one of the questions (--given), such as kind=music, got {self.given!r}"
            )
        self._check_titles(questions)
        allowed = {question.name for question in others} - {(self.given or "").partition("=")[0]}
        if wrong := [name for name in self.auxiliary if name not in allowed]:
            raise ConfigError(
                f"expected --auxiliary to name a question of --also, other than that of --given, got {', '.join(wrong)}"
            )
        return questions

    def card(self, questions: Sequence[Question], *, protocol: str, epochs: int, seed: int) -> ModelCard:
        """The card of a network about to be trained: not yet calibrated or measured."""
        return self.make_recipe().card(
            name=self.name,
            description=self.description,
            heads=tuple(
                Head(
                    name=question.name,
                    labels=question.labels,
                    titles=self.titles_of(question.labels),
                    given=self._given(question.name),
                )
                for question in questions
            ),
            provenance=Provenance(
                data=self.data or self._describe_data(questions[0]),
                protocol=protocol,
                epochs=epochs,
                seed=seed,
                commit=commit_of_this_code(),
                licence=self.licence,
            ),
        )

    def _describe_data(self, question: Question) -> str:
        names = [path.resolve().name for path in self.folders] + list(self.datasets)
        names += [f"{path.resolve().parent.name}/{path.name}" for path in self.tables]
        return f"{', '.join(names)} ({describe_counts(question.tracks)})"

    def _given(self, name: str) -> Given | None:
        if self.given is None:
            return None
        head, _, label = self.given.partition("=")
        return Given(head=head, label=label) if name != head else None

    def _check_titles(self, questions: Sequence[Question]) -> None:
        labels = {label for question in questions for label in question.labels}
        for text in self.titles:
            label, _, title = text.partition("=")
            if label not in labels or not title:
                raise ConfigError(f"expected a label and its words (--title), such as rnb=R&B, got {text!r}")
        for question in questions:
            if titles := self.titles_of(question.labels):
                try:
                    Head(name=question.name, labels=question.labels, titles=titles)
                except ValidationError as error:
                    said = error.errors()[0]["msg"].removeprefix("Value error, ")
                    raise ConfigError(f"--title, {question.name}: {said}") from error

    def titles_of(self, labels: Iterable[str]) -> dict[str, str]:
        """What people are shown of those of the labels that have other words."""
        titles = dict(text.split("=", 1) for text in self.titles)
        return {label: titles[label] for label in labels if label in titles}

    def keep(self, folder: Path) -> None:
        """Write the plan into the run's folder, if there is none."""
        if not (folder / PLAN_NAME).exists():
            with replacing(folder / PLAN_NAME) as temporary:
                temporary.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    def require_same(self, folder: Path, *, resume: bool) -> None:
        """Refuse to go on with another run than this.

        Epochs may differ: at a constant learning rate, more of them continue the same run. So may what is only said or
        left out when a model is exported: titles and auxiliary questions. What the folder holds stays as it was begun.

        Raises:
            ConfigError: the folder holds another plan, or one and ``resume`` is not given.
        """
        path = folder / PLAN_NAME
        if not path.exists():
            return
        if not resume:
            raise ConfigError(f"{folder} holds a training run: give --resume to go on with it, or another --output")
        try:
            kept = Plan.model_validate_json(path.read_text(encoding="utf-8"))
        except (ValidationError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: expected the plan of a training run, cannot read it: {error}") from error
        old, new = _comparable(kept), _comparable(self)
        changed = [f"{key} {old.get(key)} -> {new.get(key)}" for key in {**old, **new} if old.get(key) != new.get(key)]
        if changed:
            # The name is the folder's unless one is given: one that was copied or renamed holds the same run.
            way_out = f"add --name {kept.name}" if old | {"name": self.name} == new else "give another --output"
            raise ConfigError(f"{folder} holds a run with other settings ({'; '.join(changed)}): {way_out}")


def _comparable(plan: Plan) -> dict[str, object]:
    # One by one, so that only the settings that differ are named. What ships does not change what is trained.
    return plan.model_dump(mode="json", exclude={"settings", "auxiliary", "titles"}) | plan.make_recipe().model_dump(
        exclude={"epochs"}
    )


@cache
def commit_of_this_code() -> str:
    """The git commit that this code is checked out from; ``unknown`` for an installed copy. That of the first call:
    what is committed while a process trains is not what it runs."""

    def git(*arguments: str) -> str:
        here = Path(__file__)
        command = ["git", "-C", str(here.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        # An installed copy may lie inside somebody else's checkout: only a tracked file says that the commit is ours.
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return git("rev-parse", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
