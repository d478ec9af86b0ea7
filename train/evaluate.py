"""What a model file is worth on tracks it has not seen: scored window by window, and judged by file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.confidence import of_whole_file, side_by_side, temper
from models.errors import ConfigError, DatasetError, ModelFileError
from models.half_life import DEFAULT_HALF_LIFE_S
from models.scorer import AskedFirst, Scorer, WindowBatch
from models.spec import FeatureSpec, LogMel, Magnitude, ModelCard, Raw
from models.windowing import filled
from train.calibration import HeardTracks, ages, vote
from train.decision import LIVE, Answer, cut, decide, judge, places, score, seed_of
from train.progress import say, track_progress
from train.record import FileAnswer, FileResult, Record, Training, Trust
from train.reliability import Reliability
from train.track import Track

FloatArray = npt.NDArray[np.float32]
Sounds = Mapping[Path, Sequence[FloatArray]]
"""Features (frames, bands) of each of the card's inputs, by file."""

_DIGITS = 6


class _Heard(NamedTuple):
    track: Track
    features: tuple[FloatArray, ...]
    answers: Mapping[str, FloatArray]
    """Probabilities (n, classes) by each head of all windows that live audio looks at."""


def evaluate(
    scorer: Scorer,
    tracks: Sequence[Track],
    features: Sounds,
    *,
    level_db: float = 0.0,
    tested_on: str = "",
    model: Path | None = None,
    training: Training | None = None,
) -> Record:
    """Score all tracks that have features, and judge each both as live audio is and as the card's recipe does.

    Live, a file's label is the likeliest by the mean of its windows' probabilities, one window every hop: as
    ``genrescope classify`` decides, but for its gates, which leave out quiet windows and those that the head is not
    meant for: what is measured is the answer to a question, of files that it is meant for. Only counts of windows
    are kept, so that memory does not grow with the length of the audio.

    Args:
        level_db: as if all audio were so many decibels louder.
        tested_on: what these tracks are, where they are not those of the card's protocol.
        model: the scorer's file, to tell its size.
        training: how the network came about.

    Raises:
        DatasetError: a label that the model does not know, or no track to score.
        ConfigError: the level of such features cannot be changed, or the decision does not fit the window.
    """
    card = scorer.card
    used = tuple(track for track in tracks if track.path in features)
    names = _names(used)
    trust, files = Trust(), []
    for track, sound, answers in _heard(scorer, used, features, level_db):
        target = card.head.labels.index(track.label)
        windows = answers[card.head.name]
        mean = decide(windows, LIVE)
        heard = side_by_side(len(windows), card.hop_seconds, card.window_seconds)
        live = mean._replace(probabilities=of_whole_file(mean.probabilities, card.head.file_temperature, windows=heard))
        published = live
        if card.decision != LIVE:
            seed = seed_of(names[track], card.provenance.seed)
            published = judge(scorer, sound, seed=seed)
        trust += _trust(answers, target, card)
        files.append(
            FileResult(
                name=names[track],
                label=track.label,
                source=track.source,
                group=track.group,
                live=_kept(live),
                published=_kept(published),
                windows=tuple(np.bincount(windows.argmax(axis=1), minlength=len(card.head.labels)).tolist()),
            )
        )
    if not files:
        raise DatasetError(f"expected tracks of at least one window of {card.window_seconds:.2f} s, got none")
    folds = {track.fold for track in used}
    return Record(
        card=card,
        fold=folds.pop() if len(folds) == 1 else None,
        parameters=trainable_parameters(card),
        file_bytes=model.stat().st_size if model else None,
        level_db=level_db,
        tested_on=tested_on,
        skipped=len(tracks) - len(files),
        training=training or Training(),
        trust=trust,
        files=tuple(files),
    )


def score_windows(
    scorer: Scorer, asked: Mapping[str, Sequence[Track]], features: Sounds, *, heads: Collection[str]
) -> dict[str, HeardTracks]:
    """For each head that is ``asked`` about tracks, what some ``heads`` say of all windows of those that have features,
    as live audio looks at them: what calibration is fitted to.

    Raises:
        DatasetError: a label that the model does not know, or no track to score.
    """
    card = scorer.card
    labels = {head.name: head.labels for head in card.heads}
    found = {}
    for name, tracks in asked.items():
        used = tuple(track for track in tracks if track.path in features)
        heard = list(_heard(AskedFirst(scorer, name), used, features, 0.0))
        found[name] = HeardTracks(
            paths=[track.path for track, _, _ in heard],
            answers=[{each: answers[each] for each in heads} for _, _, answers in heard],
            targets=np.array([labels[name].index(track.label) for track, _, _ in heard], dtype=np.int64),
            hop_s=card.hop_seconds,
            window_s=card.window_seconds,
        )
    return found


def windows_of(features: Sequence[FloatArray], card: ModelCard, *, at_most: int | None = None) -> WindowBatch:
    """The windows that live audio looks at, silent ones too, from features (frames, bands) of each input."""
    sound = filled(features, card)
    return cut(sound, places(len(sound[0]), card, LIVE)[:at_most], card)


def at_level(features: FloatArray, level_db: float, spec: FeatureSpec) -> FloatArray:
    """Features (frames, bands) as they would be of audio ``level_db`` decibels louder.

    Raises:
        ConfigError: cepstra, whose bands have gone through a floor that cannot be seen any more.
    """
    if isinstance(spec, LogMel):
        floor = np.log10(spec.floor) * 10 * spec.per_decibel
        return np.asarray(np.maximum(features + np.float32(level_db * spec.per_decibel), floor), dtype=np.float32)
    if isinstance(spec, Magnitude | Raw):
        return np.asarray(features * np.float32(10 ** (level_db / 20)), dtype=np.float32)
    raise ConfigError(f"expected a model whose input's level can be changed, this one hears {spec.words}")


def trainable_parameters(card: ModelCard) -> int | None:
    """Of the card's network; None if this version cannot build it."""
    from models.architectures import count_parameters

    try:
        return count_parameters(card)
    except ModelFileError:
        return None


def require_known_labels(tracks: Iterable[Track], card: ModelCard) -> None:
    """Refuse tracks of other labels than the model's.

    Raises:
        DatasetError: a label that the model does not know.
    """
    foreign = sorted({track.label for track in tracks} - set(card.head.labels))
    if foreign:
        raise DatasetError(
            f"expected labels of the model {card.name!r} ({', '.join(card.head.labels)}), the tracks have {foreign}; "
            "join or leave out labels"
        )


def _heard(scorer: Scorer, used: Sequence[Track], features: Sounds, level_db: float) -> Iterator[_Heard]:
    card = scorer.card
    require_known_labels(used, card)
    if not used:
        raise DatasetError("expected tracks to evaluate on, got none")
    for track in track_progress(used, total=len(used), title="scoring"):
        sound = tuple(features[track.path])
        if level_db:
            sound = tuple(at_level(each, level_db, spec) for each, spec in zip(sound, card.inputs, strict=True))
        repeated = filled(sound, card)
        starts = places(len(repeated[0]), card, LIVE)
        if len(starts):
            yield _Heard(track, sound, score(scorer, repeated, starts))
        else:
            say(f"skipped: {track.path}: shorter than one window of {card.window_seconds:.2f} s")


def _trust(answers: Mapping[str, FloatArray], target: int, card: ModelCard) -> Trust:
    windows = answers[card.head.name]
    aged_s = ages(answers, card.novelty, hop_s=card.hop_seconds, window_s=card.window_seconds)
    targets = np.full(len(windows), target, dtype=np.int64)
    before = temper(windows, 1.0 / card.head.temperature)
    (votes, labels), (votes_before, _) = (
        vote(each, aged_s, card.head, half_life_s=DEFAULT_HALF_LIFE_S, hop_s=card.hop_seconds)
        for each in (windows, before)
    )
    decided = labels >= 0
    return Trust(
        windows_before=Reliability.of(before, targets),
        windows_after=Reliability.of(windows, targets),
        vote_before=Reliability.of(votes_before, targets),
        vote_after=Reliability.of(votes, targets),
        decided=int(decided.sum()),
        decided_right=int((labels == target).sum()),
    )


def _kept(answer: Answer) -> FileAnswer:
    # Rounded for the file's size; a probability that is 1.0000001 in single precision is 1.
    probabilities = (min(1.0, round(float(value), _DIGITS)) for value in answer.probabilities)
    return FileAnswer(given=answer.given, probabilities=tuple(probabilities))


def _names(tracks: Sequence[Track]) -> dict[Track, str]:
    """A name for each track that is the same on another machine: its path from its table's or folder's name on."""

    def short(track: Track) -> str:
        parts = track.path.parts
        if track.source in parts:
            return "/".join(parts[len(parts) - 1 - parts[::-1].index(track.source) :])
        return "/".join(parts[-2:])

    times = Counter(short(track) for track in tracks)
    return {track: short(track) if times[short(track)] == 1 else str(track.path) for track in tracks}
