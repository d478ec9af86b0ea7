"""How far to trust a network: its temperatures and its thresholds, from tracks that it was not trained on.

What a person sees of live audio is the running vote (``models.vote``), so temperature and thresholds are fitted to it,
at its default half-life; of a file it is the mean of all windows, which has a temperature of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.optimize

from models.confidence import of_whole_file, side_by_side, temper
from models.errors import DatasetError
from models.half_life import DEFAULT_HALF_LIFE_S
from models.novelty import Novelty, pace
from models.spec import Head, NoveltySpec
from models.vote import RunningVote
from train.novelty_fit import fit_novelty
from train.progress import say

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.int64]

TARGET_ACCURACY = 0.75
"""How often a decided label should be right on the calibration tracks."""
LEAVE_BELOW_ENTER = 0.15
"""A label is given up at a confidence so much lower than it needs to enter."""

_ENTER_CHOICES = np.arange(0.30, 0.905, 0.02)
_MIN_DECIDED = 0.05
"""Thresholds reached less often than this say nothing about accuracy."""
_TEMPERATURE_RANGE = (0.1, 10.0)
_AT_THE_END = 1.02
"""The search comes so near to an end of the range."""
_TINY = 1e-30


@dataclass(frozen=True, slots=True)
class Calibration:
    """What tracks that a network has not heard tell: its ``heads``, with temperatures and thresholds, and how to tell
    another piece; None where they do not tell."""

    heads: tuple[Head, ...]
    novelty: NoveltySpec | None = None


@dataclass(frozen=True, slots=True)
class HeardTracks:
    """What a network says of tracks that a question is asked of: ``answers[i]`` the probabilities (n_i, classes) of the
    windows of the track at ``paths[i]`` by each head, ``hop_s`` apart and ``window_s`` long; ``targets`` (tracks,) of
    the question."""

    paths: Sequence[Path]
    answers: Sequence[Mapping[str, FloatArray]]
    targets: IntArray
    hop_s: float
    window_s: float

    @classmethod
    def joined(cls, parts: Sequence[HeardTracks]) -> HeardTracks:
        """The tracks of all parts."""
        return replace(
            parts[0],
            paths=[each for part in parts for each in part.paths],
            answers=[each for part in parts for each in part.answers],
            targets=np.concatenate([part.targets for part in parts]),
        )

    def tempered(self, temperatures: Mapping[str, float]) -> HeardTracks:
        """As they would be if the logits of some heads had been divided by a temperature (again)."""
        return replace(
            self,
            answers=[
                {name: temper(said, temperatures.get(name, 1.0)) for name, said in each.items()}
                for each in self.answers
            ],
        )

    def scored(self, name: str, novelty: NoveltySpec | None) -> ScoredTracks:
        """By one of the heads, aged as ``novelty`` says."""
        return ScoredTracks(
            windows=[each[name] for each in self.answers],
            aged_s=[ages(each, novelty, hop_s=self.hop_s, window_s=self.window_s) for each in self.answers],
            targets=self.targets,
            hop_s=self.hop_s,
            window_s=self.window_s,
        )


@dataclass(frozen=True, slots=True)
class ScoredTracks:
    """``windows[i]`` (n_i, classes): probabilities of track ``i``'s windows, ``hop_s`` apart, and ``aged_s[i]`` (n_i,)
    what ``ages`` says of them; ``targets`` (tracks,). A window is ``window_s`` long."""

    windows: Sequence[FloatArray]
    aged_s: Sequence[FloatArray]
    targets: IntArray
    hop_s: float
    window_s: float

    def tempered(self, temperature: float) -> ScoredTracks:
        """As they would be if the logits had been divided by ``temperature`` (again)."""
        return replace(self, windows=[temper(each, temperature) for each in self.windows])

    def smoothed(self, half_life_s: float = DEFAULT_HALF_LIFE_S) -> ScoredTracks:
        """As the running vote of a head that is never unsure would show them, started anew for each track."""
        head = _never_unsure(self.windows[0].shape[1])
        return replace(self, windows=[smoothed for smoothed, _ in self._votes(head, half_life_s)])

    def shown(self, head: Head, half_life_s: float = DEFAULT_HALF_LIFE_S) -> tuple[IntArray, IntArray]:
        """The labels that the running vote of ``head`` would show, -1 for none, and the true ones, both (windows,)."""
        labels = [labels for _, labels in self._votes(head, half_life_s)]
        return np.concatenate(labels), np.repeat(self.targets, [len(each) for each in self.windows])

    def flat(self) -> tuple[FloatArray, IntArray]:
        """All windows (windows, classes) and the target of each (windows,)."""
        return np.concatenate(self.windows), np.repeat(self.targets, [len(each) for each in self.windows])

    def _votes(self, head: Head, half_life_s: float) -> list[tuple[FloatArray, IntArray]]:
        tracks = zip(self.windows, self.aged_s, strict=True)
        return [vote(each, aged_s, head, half_life_s=half_life_s, hop_s=self.hop_s) for each, aged_s in tracks]


def ages(
    answers: Mapping[str, FloatArray], novelty: NoveltySpec | None, *, hop_s: float, window_s: float
) -> FloatArray:
    """Seconds (n,) by which the running votes' memories age at each of a track's windows, ``hop_s`` apart and
    ``window_s`` long, from their probabilities (n, classes) by each head: a hop, or more where the sound is new."""
    new = Novelty(novelty, window_s)
    windows = (dict(zip(answers, each, strict=True)) for each in zip(*answers.values(), strict=True))
    return np.array([hop_s * pace(new.update(each, elapsed_s=hop_s)) for each in windows])


def vote(
    probabilities: FloatArray, aged_s: FloatArray, head: Head, *, half_life_s: float, hop_s: float
) -> tuple[FloatArray, IntArray]:
    """What the running vote makes of a track's windows (n, classes), ``hop_s`` apart and aged as ``ages`` says: the
    smoothed probabilities (n, classes), and the index of the label shown (n,), -1 where there is none."""
    running = RunningVote(head, hop_s=hop_s, half_life_s=half_life_s)
    windows = zip(probabilities.astype(np.float32), aged_s, strict=True)
    standings = [running.update(window, elapsed_s=hop_s, aged_s=float(aged)) for window, aged in windows]
    labels = np.array([-1 if standing.label is None else standing.label for standing in standings], dtype=np.int64)
    return np.array([standing.smoothed for standing in standings]), labels


def _never_unsure(classes: int) -> Head:
    return Head(name="any", labels=tuple(map(str, range(classes))), enter=0.0, leave=0.0)


def fit_temperature(scored: ScoredTracks) -> float:
    """The temperature at which the smoothed probabilities of the true labels have the greatest likelihood.

    Guo et al. 2017 fit it to single outputs; here it is fitted to the running vote, whose averaging takes confidence
    away and must be made up for. ``scored`` is at temperature 1.
    """
    return _likeliest_temperature(lambda temperature: scored.tempered(temperature).smoothed().flat())


def fit_file_temperature(scored: ScoredTracks) -> float:
    """The same for whole tracks, as ``of_whole_file`` applies it. ``scored`` is at the head's temperature."""
    means = [(each.mean(axis=0), side_by_side(len(each), scored.hop_s, scored.window_s)) for each in scored.windows]

    def at(temperature: float) -> tuple[FloatArray, IntArray]:
        return np.array([of_whole_file(mean, temperature, windows=n) for mean, n in means]), scored.targets

    return _likeliest_temperature(at)


def _likeliest_temperature(at: Callable[[float], tuple[FloatArray, IntArray]]) -> float:
    """That of the greatest likelihood of the targets (n,), by the probabilities (n, classes) ``at`` it."""

    def loss(log_temperature: float) -> float:
        probabilities, targets = at(float(np.exp(log_temperature)))
        return -float(np.log(np.maximum(probabilities[np.arange(len(targets)), targets], _TINY)).mean())

    bounds = tuple(np.log(_TEMPERATURE_RANGE))
    return float(np.exp(scipy.optimize.minimize_scalar(loss, bounds=bounds, method="bounded").x))


def end_of_range(temperature: float) -> str:
    """A remark on a temperature that the search ended at, not the files; empty for any other."""
    least, greatest = _TEMPERATURE_RANGE
    if temperature < least * _AT_THE_END:
        return " (at the end of its range: too few mistakes on these files to fit it)"
    if temperature > greatest / _AT_THE_END:
        return " (at the end of its range: too few right answers on these files to fit it)"
    return ""


def choose_enter(head: Head, scored: ScoredTracks, *, target_accuracy: float = TARGET_ACCURACY) -> Head:
    """The head with the lowest threshold at which a label that is shown is right ``target_accuracy`` of the time, as
    the running vote shows labels. ``scored`` is calibrated. If no threshold gets there, the one that comes nearest.
    """
    best: Head | None = None
    best_accuracy = -1.0
    for enter in _ENTER_CHOICES:
        leave = round(float(enter) - LEAVE_BELOW_ENTER, 2)
        choice = head.model_copy(update={"enter": round(float(enter), 2), "leave": leave})
        labels, targets = scored.shown(choice)
        decided = labels >= 0
        if best is not None and decided.mean() < _MIN_DECIDED:
            break
        accuracy = float((labels == targets).sum() / max(1, decided.sum()))
        if accuracy > best_accuracy:
            best, best_accuracy = choice, accuracy
        if accuracy >= target_accuracy:
            break
    assert best is not None
    return best


def calibrate(head: Head, scored: ScoredTracks) -> Head:
    """The head with its temperature for files and its thresholds, fitted to tracks that were scored at its temperature.

    Raises:
        DatasetError: there is nothing to fit to.
    """
    if not len(scored.targets):
        raise DatasetError("expected tracks to calibrate on, got none")
    fitted = head.model_copy(update={"file_temperature": round(fit_file_temperature(scored), 4)})
    return choose_enter(fitted, scored)


def calibrate_heads(heads: Sequence[Head], answers: Mapping[str, HeardTracks], *, by: str) -> Calibration:
    """Each head calibrated by what was said to its question, at temperature 1; as it is where nothing was. Such a head
    has no say in how new the sound is. Tells what was found, and ``by`` what."""
    asked = [head for head in heads if head.name in answers]
    # How fast the vote forgets hangs on novelty, and temperatures on the vote; novelty hardly hangs on temperatures.
    novelty = _novelty(asked, answers)
    temperatures = {
        head.name: round(fit_temperature(answers[head.name].scored(head.name, novelty)), 4) for head in asked
    }
    warm = {name: said.tempered(temperatures) for name, said in answers.items()}
    novelty = _novelty(asked, warm)
    if novelty is None:
        say(f"tracks of {by} are too few or too short to tell pieces apart by: the vote forgets by its half-life alone")
    calibrated = []
    for head in heads:
        if head.name in temperatures:
            fitted = head.model_copy(update={"temperature": temperatures[head.name]})
            fitted = calibrate(fitted, warm[head.name].scored(head.name, novelty))
            words = (
                f"temperature {fitted.temperature:g}{end_of_range(fitted.temperature)}, "
                f"{fitted.file_temperature:g}{end_of_range(fitted.file_temperature)} for files, enter {fitted.enter:g}"
            )
            say(f"{head.name}: calibrated by {by}: {words}")
        else:
            fitted = head
            say(f"{head.name}: no track in {by}, not calibrated")
        calibrated.append(fitted)
    return Calibration(tuple(calibrated), novelty)


def _novelty(heads: Sequence[Head], answers: Mapping[str, HeardTracks]) -> NoveltySpec | None:
    """By every track once, of however many questions it is asked."""
    tracks = {path: said for heard in answers.values() for path, said in zip(heard.paths, heard.answers, strict=True)}
    if not tracks:
        return None
    heard = next(iter(answers.values()))
    return fit_novelty(list(tracks.values()), heads, hop_s=heard.hop_s, window_s=heard.window_s)
