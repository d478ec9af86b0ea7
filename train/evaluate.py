"""What a model file is worth on tracks it has not seen: scored window by window, as live, and judged by file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.errors import ConfigError, DatasetError
from models.scorer import Scorer, WindowBatch
from models.spec import LogMel, ModelCard
from train.calibration import ScoredTracks, expected_calibration_error
from train.dataset import Track
from train.progress import track_progress

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Evaluation:
    """The scores of ``tracks`` by the model of ``card``.

    A file's label is the likeliest by the mean of its windows' probabilities (Lidy & Schindler 2016), one window every
    hop of the live model: as ``genrescope classify`` decides, but for its silence gate, which leaves quiet windows out.
    """

    card: ModelCard
    tracks: tuple[Track, ...]
    scored: ScoredTracks

    @property
    def decisions(self) -> npt.NDArray[np.int64]:
        """The label given to each file, (files,), as an index."""
        return np.array([np.mean(p, axis=0).argmax() for p in self.scored.windows])

    @property
    def confusion(self) -> npt.NDArray[np.int64]:
        """Files by true label (rows) and given label (columns)."""
        n = len(self.card.head.labels)
        pairs = self.scored.targets * n + self.decisions
        return np.bincount(pairs, minlength=n * n).reshape(n, n)

    @property
    def precision(self) -> npt.NDArray[np.float64]:
        """Of the files given each label, the share that has it; nan for a label never given."""
        return _shares(np.diag(self.confusion), self.confusion.sum(axis=0))

    @property
    def recall(self) -> npt.NDArray[np.float64]:
        """Of the files with each label, the share that was given it; nan for a label without files."""
        return _shares(np.diag(self.confusion), self.confusion.sum(axis=1))

    def metrics(self) -> dict[str, float]:
        """Figures for a model card. ``ece_...`` are expected calibration errors, of windows and of the running vote, at
        temperature 1 (before) and at the card's (after); ``decided_...`` the vote at or above the enter threshold."""
        before = self.scored.tempered(1.0 / self.card.head.temperature)
        windows, targets = self.scored.flat()
        votes, _ = self.scored.smoothed().flat()
        decided = votes.max(axis=1) >= self.card.head.enter
        hits = votes.argmax(axis=1) == targets
        figures = {
            "files": len(self.tracks),
            "file_accuracy": float((self.decisions == self.scored.targets).mean()),
            "file_balanced_accuracy": float(np.nanmean(self.recall)),
            "window_accuracy": float((windows.argmax(axis=1) == targets).mean()),
            "ece_windows_before": expected_calibration_error(*before.flat()),
            "ece_windows_after": expected_calibration_error(windows, targets),
            "ece_vote_before": expected_calibration_error(*before.smoothed().flat()),
            "ece_vote_after": expected_calibration_error(votes, targets),
            "vote_accuracy": float(hits.mean()),
            "decided_share": float(decided.mean()),
            # A card holds no nan: without decided time there is no such figure.
            **({"decided_accuracy": float(hits[decided].mean())} if decided.any() else {}),
        }
        return {name: round(value, 4) for name, value in figures.items()}

    def recall_by_source(self) -> dict[str, dict[str, tuple[int, int]]]:
        """For each label that comes from several sources: (files named rightly, files) of each."""
        by_label: dict[str, dict[str, tuple[int, int]]] = {}
        for track, given, true in zip(self.tracks, self.decisions, self.scored.targets, strict=True):
            by_source = by_label.setdefault(track.label, {})
            right, files = by_source.get(track.source, (0, 0))
            by_source[track.source] = (right + int(given == true), files + 1)
        return {label: sources for label, sources in sorted(by_label.items()) if len(sources) > 1}


def evaluate(scorer: Scorer, tracks: Sequence[Track], features: Mapping[Path, FloatArray]) -> Evaluation:
    """Score all windows of all tracks that have features.

    Raises:
        DatasetError: a label that the model does not know, or no track to score.
    """
    card = scorer.card
    used = tuple(track for track in tracks if track.path in features)
    foreign = sorted({track.label for track in used} - set(card.head.labels))
    if foreign:
        raise DatasetError(
            f"expected labels of the model {card.name!r} ({', '.join(card.head.labels)}), the tracks have {foreign}; "
            "join or leave out labels"
        )
    if not used:
        raise DatasetError("expected tracks to evaluate on, got none")
    windows = [
        scorer.score(windows_of(features[track.path], card))[card.head.name]
        for track in track_progress(used, total=len(used), title="scoring")
    ]
    targets = np.array([card.head.labels.index(track.label) for track in used])
    hop_s = card.window.hop_frames * card.clock.seconds_per_frame
    return Evaluation(card, used, ScoredTracks(windows, targets, hop_s))


def windows_of(features: FloatArray, card: ModelCard) -> WindowBatch:
    """All windows that live audio looks at, silent ones too, from features (frames, bands) of the one input."""
    views = np.lib.stride_tricks.sliding_window_view(features, card.window.frames, axis=0)
    return (np.ascontiguousarray(views[:: card.window.hop_frames]),)


def at_level(features: FloatArray, level_db: float, card: ModelCard) -> FloatArray:
    """Features (frames, n_mels) as they would be of audio ``level_db`` decibels louder."""
    # In log10 of power, 10 dB are one unit.
    (spec,) = card.inputs
    if not isinstance(spec, LogMel):
        raise ConfigError(f"expected a model of mel bands to change the level of, this one hears {spec.words}")
    floor = np.log10(spec.floor)
    return np.asarray(np.maximum(features + np.float32(level_db / 10), floor), dtype=np.float32)


def _shares(parts: npt.NDArray[np.int64], wholes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    shares: npt.NDArray[np.float64] = np.divide(parts, wholes, out=np.full(len(parts), np.nan), where=wholes > 0)
    return shares
