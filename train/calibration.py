"""How far to trust a network: its temperature and its thresholds, from tracks that it was not trained on.

What a person sees is the running vote (``models.vote``), so both are fitted to it, at its default half-life.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.optimize

from models.errors import DatasetError
from models.half_life import DEFAULT_HALF_LIFE_S
from models.spec import Head
from models.vote import RunningVote
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
class ScoredTracks:
    """``windows[i]`` (n_i, classes): probabilities of track ``i``'s windows, ``hop_s`` apart; ``targets`` (tracks,)."""

    windows: Sequence[FloatArray]
    targets: IntArray
    hop_s: float

    @classmethod
    def joined(cls, parts: Sequence[ScoredTracks]) -> ScoredTracks:
        """The tracks of all parts."""
        windows = [each for part in parts for each in part.windows]
        return cls(windows, np.concatenate([part.targets for part in parts]), parts[0].hop_s)

    def tempered(self, temperature: float) -> ScoredTracks:
        """As they would be if the logits had been divided by ``temperature`` (again)."""
        return ScoredTracks([temper(p, temperature) for p in self.windows], self.targets, self.hop_s)

    def smoothed(self, half_life_s: float = DEFAULT_HALF_LIFE_S) -> ScoredTracks:
        """As the running vote of a head that is never unsure would show them, started anew for each track."""
        head = _never_unsure(self.windows[0].shape[1])
        votes = [vote(p, head, half_life_s=half_life_s, hop_s=self.hop_s)[0] for p in self.windows]
        return ScoredTracks(votes, self.targets, self.hop_s)

    def shown(self, head: Head, half_life_s: float = DEFAULT_HALF_LIFE_S) -> tuple[IntArray, IntArray]:
        """The labels that the running vote of ``head`` would show, -1 for none, and the true ones, both (windows,)."""
        labels = [vote(p, head, half_life_s=half_life_s, hop_s=self.hop_s)[1] for p in self.windows]
        return np.concatenate(labels), np.repeat(self.targets, [len(p) for p in self.windows])

    def flat(self) -> tuple[FloatArray, IntArray]:
        """All windows (windows, classes) and the target of each (windows,)."""
        return np.concatenate(self.windows), np.repeat(self.targets, [len(p) for p in self.windows])


def temper(probabilities: FloatArray, temperature: float) -> FloatArray:
    """Softmax of the logits divided by ``temperature``, from the softmax of the logits themselves."""
    powers = np.power(np.maximum(probabilities, _TINY).astype(np.float64), 1.0 / temperature)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def vote(probabilities: FloatArray, head: Head, *, half_life_s: float, hop_s: float) -> tuple[FloatArray, IntArray]:
    """What the running vote makes of a track's windows (n, classes), ``hop_s`` apart: the smoothed probabilities (n,
    classes), and the index of the label shown (n,), -1 where there is none."""
    running = RunningVote(head, hop_s=hop_s, half_life_s=half_life_s)
    standings = [running.update(window, elapsed_s=hop_s) for window in probabilities.astype(np.float32)]
    labels = np.array([-1 if standing.label is None else standing.label for standing in standings], dtype=np.int64)
    return np.array([standing.smoothed for standing in standings]), labels


def _never_unsure(classes: int) -> Head:
    return Head(name="any", labels=tuple(map(str, range(classes))), enter=0.0, leave=0.0)


def fit_temperature(scored: ScoredTracks) -> float:
    """The temperature at which the smoothed probabilities of the true labels have the greatest likelihood.

    Guo et al. 2017 fit it to single outputs; here it is fitted to the running vote, whose averaging takes confidence
    away and must be made up for. ``scored`` is at temperature 1.
    """

    def loss(log_temperature: float) -> float:
        probabilities, targets = scored.tempered(float(np.exp(log_temperature))).smoothed().flat()
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
    """The head with temperature and thresholds fitted to tracks that were scored at temperature 1.

    Raises:
        DatasetError: there is nothing to fit to.
    """
    if not len(scored.targets):
        raise DatasetError("expected tracks to calibrate on, got none")
    temperature = round(fit_temperature(scored), 4)
    return choose_enter(head.model_copy(update={"temperature": temperature}), scored.tempered(temperature))


def calibrate_heads(heads: Sequence[Head], answers: Mapping[str, ScoredTracks], *, by: str) -> tuple[Head, ...]:
    """Each head calibrated by what was said to its question, at temperature 1; as it is where nothing was. Tells what
    was found, and ``by`` what."""
    calibrated = []
    for head in heads:
        if head.name in answers:
            fitted = calibrate(head, answers[head.name])
            words = f"temperature {fitted.temperature:g}{end_of_range(fitted.temperature)}, enter {fitted.enter:g}"
            say(f"{head.name}: calibrated by {by}: {words}")
        else:
            fitted = head
            say(f"{head.name}: no track in {by}, not calibrated")
        calibrated.append(fitted)
    return tuple(calibrated)
