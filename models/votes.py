"""The running votes of all of a model's heads, and which of them stands back when another says that it is not meant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.half_life import DEFAULT_HALF_LIFE_S
from models.novelty import Novelty, pace
from models.spec import Head, ModelCard
from models.vote import FloatArray, RunningVote, Standing


@dataclass(frozen=True, slots=True)
class Shown:
    """What a head shows: its ``label``, None where nothing is likely enough or where ``instead`` of what it is given
    this is likelier; ``confidence`` is the smoothed probability of its label, or of the likeliest, None before a window
    was for it and beside ``instead``."""

    label: str | None
    confidence: float | None
    instead: str | None = None


@dataclass(slots=True)
class _Vote:
    head: Head
    running: RunningVote
    standing: Standing | None = None
    missed_s: float = 0.0

    @property
    def label(self) -> str | None:
        """What it would show by itself."""
        if self.standing is None or self.standing.label is None:
            return None
        return self.head.labels[self.standing.label]

    @property
    def answer(self) -> str | None:
        """What it would show by itself or, where it shows nothing, its likeliest label."""
        if self.standing is None or self.standing.label is not None:
            return self.label
        return self.head.labels[int(self.standing.smoothed.argmax())]


def is_for(head: Head, card: ModelCard, probabilities: Mapping[str, FloatArray]) -> bool:
    """Whether a window with these probabilities (classes,) of each of the card's heads counts for this one: what it is
    given is the likeliest label of the head that decides on it."""
    if head.given is None:
        return True
    (labels,) = (other.labels for other in card.heads if other.name == head.given.head)
    return labels[int(probabilities[head.given.head].argmax())] == head.given.label


class RunningVotes:
    """One ``RunningVote`` for each head of a card, on windows ``hop_s`` seconds apart. All heads together say how new
    the sound is, and all votes forget by it.

    A head that is ``given`` something, a genre music, takes only the windows that are likeliest so, as if there had
    been a gap in place of the others, and shows no label while the vote that decides on it has another answer.
    """

    def __init__(self, card: ModelCard, *, hop_s: float, half_life_s: float = DEFAULT_HALF_LIFE_S) -> None:
        running = {head.name: RunningVote(head, hop_s=hop_s, half_life_s=half_life_s) for head in card.heads}
        self._card = card
        self._novelty = Novelty(card.novelty, card.window_seconds)
        self._votes = {head.name: _Vote(head, running[head.name]) for head in card.heads}

    def set_half_life(self, seconds: float) -> None:
        """Give all another memory; they keep what they hold."""
        for vote in self._votes.values():
            vote.running.half_life_s = seconds

    def reset(self) -> None:
        """Forget everything: another source."""
        self._novelty.reset()
        for vote in self._votes.values():
            vote.running.reset()
            vote.standing, vote.missed_s = None, 0.0

    def update(self, probabilities: Mapping[str, FloatArray], *, elapsed_s: float) -> dict[str, Shown]:
        """Take one window's probabilities (classes,) of each head, ``elapsed_s`` seconds of sound after the previous
        one's; return what each shows."""
        aged_s = elapsed_s * pace(self._novelty.update(probabilities, elapsed_s=elapsed_s))
        for name, vote in self._votes.items():
            if is_for(vote.head, self._card, probabilities):
                vote.standing = vote.running.update(
                    probabilities[name], elapsed_s=vote.missed_s + elapsed_s, aged_s=vote.missed_s + aged_s
                )
                vote.missed_s = 0.0
            else:
                vote.missed_s += elapsed_s
        return {name: self._shown(vote) for name, vote in self._votes.items()}

    def smoothed(self, name: str) -> FloatArray | None:
        """The smoothed posterior (classes,) of a head; None before its first window."""
        return self._votes[name].running.smoothed

    def _shown(self, vote: _Vote) -> Shown:
        given = vote.head.given
        answer = None if given is None else self._votes[given.head].answer
        instead = None if given is None or answer == given.label else answer
        # What was likely of the music before is no answer about the speech after it.
        confidence = None if vote.standing is None or instead is not None else vote.standing.confidence
        return Shown(vote.label if instead is None else None, confidence, instead)
