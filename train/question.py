"""What a network is asked: each question makes a head. The first is the verdict; others may be asked of the same sound.

Questions need not be about the same files: a file that has no answer to one of them teaches only the others.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from models.errors import ConfigError, DatasetError
from train.tables import read_answers
from train.track import NO_FOLD, Track, labels_of, some


@dataclass(frozen=True, slots=True)
class Question:
    """A head to be: its ``name``, its ``labels`` in the order of its outputs, and tracks labelled by it."""

    name: str
    labels: tuple[str, ...]
    tracks: tuple[Track, ...]

    @classmethod
    def about(cls, name: str, tracks: Sequence[Track]) -> Question:
        """Of tracks with one label each."""
        return cls(name, labels_of(tracks), tuple(tracks))

    @property
    def of_shares(self) -> bool:
        """Whether its tracks have shares of several labels, as columns of numbers give them."""
        return any(track.shares for track in self.tracks)

    def of(self, tracks: Sequence[Track]) -> Question:
        """The same question about some of its tracks."""
        return replace(self, tracks=tuple(tracks))

    def in_folds(self, folds: Collection[int]) -> Question:
        """The same question about the tracks of these folds."""
        return self.of([track for track in self.tracks if track.fold in folds])

    def with_copies(self, copies: Mapping[Path, Sequence[Path]]) -> Question:
        """The same question about the tracks and further versions of them, by track: they have the track's answer and
        its group; where it has none they are one with it."""
        versions = []
        for track in self.tracks:
            group = track.group or str(track.path)
            of_it = [replace(track, path=copy, group=group) for copy in copies.get(track.path, ())]
            versions += [replace(track, group=group), *of_it] if of_it else [track]
        return self.of(versions)

    def within(self, paths: Mapping[Path, object]) -> Question:
        """The same question about the tracks whose files are among these."""
        return self.of([track for track in self.tracks if track.path in paths])


def read_questions(texts: Sequence[str], *, tables: Sequence[Path], group_column: str | None) -> list[Question]:
    """Questions given as ``NAME=COLUMN`` or, of shares of raters, ``NAME=COLUMN,COLUMN,...``; the columns are looked
    for in all ``tables``. A table without them, and a row where they are empty, has no answer.

    Raises:
        ConfigError: not of this form, or a name given twice.
        DatasetError: no table has the columns, or as ``read_table``.
    """
    questions: list[Question] = []
    for text in texts:
        name, columns = _parsed(text)
        require_free_name(name, option="--also")
        if name in {question.name for question in questions}:
            raise ConfigError(f"expected each question once, {name!r} is asked twice (--also)")
        tracks: list[Track] = []
        for table in tables:
            tracks += read_answers(table, columns, group_column=group_column)
        if not tracks:
            raise DatasetError(f"--also {text}: expected a table with {some(columns)}, none has an answer")
        twice = [path for path, times in Counter(track.path for track in tracks).items() if times > 1]
        if twice:
            raise DatasetError(f"--also {text}: expected one answer a file, {some(twice)} have more")
        loose = [track.path for track in tracks if track.fold == NO_FOLD]
        if loose:
            raise DatasetError(f"--also {text}: expected tables with a column fold, {some(loose)} have none")
        labels = columns if len(columns) > 1 else labels_of(tracks)
        if len(labels) < 2:
            raise DatasetError(f"--also {text}: expected at least two different answers, all are {labels[0]!r}")
        questions.append(Question(name, labels, tuple(tracks)))
    return questions


def all_tracks(questions: Sequence[Question]) -> list[Track]:
    """Every file once, as the first question that has it labels it.

    Raises:
        DatasetError: a file stands in different folds.
    """
    first: dict[Path, Track] = {}
    for question in questions:
        for track in question.tracks:
            known = first.setdefault(track.path, track)
            if known.fold != track.fold:
                raise DatasetError(
                    f"{track.path}: expected one fold, it stands in {known.fold} and, for {question.name}, "
                    f"in {track.fold}"
                )
    return list(first.values())


def require_answers(questions: Sequence[Question], folds: Collection[int]) -> None:
    """Refuse to train heads that would learn nothing.

    Raises:
        DatasetError: of a question, a label that no track of these folds has.
    """
    for question in questions:
        learned = question.in_folds(folds).tracks
        absent = [] if question.of_shares else sorted(set(question.labels) - set(labels_of(learned)))
        if absent or not learned:
            raise DatasetError(
                f"{question.name}: expected tracks of every label to learn from in folds {sorted(folds)}, "
                f"there are none of {some(absent or question.labels)}"
            )


def require_free_name(name: str, *, option: str) -> None:
    """Refuse the name of a head that a model file needs for something else.

    Raises:
        ConfigError: it is the name of an input.
    """
    if re.fullmatch(r"features(_\d+)?", name):
        raise ConfigError(f"expected another name than {name!r}, which a model's input has ({option})")


def _parsed(text: str) -> tuple[str, tuple[str, ...]]:
    name, _, rest = text.partition("=")
    columns = tuple(column.strip() for column in rest.split(","))
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name.strip()) or not all(columns) or len(set(columns)) < len(columns):
        raise ConfigError(
            f"expected a question as NAME=COLUMN or NAME=COLUMN,COLUMN,... (mood=quadrant), got {text!r} (--also)"
        )
    return name.strip(), columns
