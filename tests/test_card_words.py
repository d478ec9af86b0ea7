"""The figures of a card, in words."""

from __future__ import annotations

from toy import toy_card

from models.card_words import figures_in_words

FIGURES = {"files": 1923.0, "file_accuracy": 0.7, "decided_share": 0.826, "decided_accuracy": 0.7482}


def test_each_head_says_how_good_it_is() -> None:
    metrics = {
        **FIGURES,
        "file_balanced_accuracy": 0.6314,
        "accuracy_at_80": 0.78,
        "ece_vote_after": 0.027,
        "window_accuracy": 0.66,
        "b.files": 12.0,
        "b.file_accuracy": 0.25,
    }
    words = figures_in_words(toy_card(others=("a", "b")).model_copy(update={"metrics": metrics}))
    assert words == {
        "pitch": "70 % of 1,923 files named rightly (mean of the labels 63 %); 78 % of the 80 % that it is surest of; "
        "live it names one 83 % of the time, 75 % of it rightly; its confidence is 2.7 points off",
        "b": "25 % of 12 files named rightly",
    }


def test_other_figures_are_told_as_they_are_and_none_is_no_word() -> None:
    card = toy_card()
    assert figures_in_words(card) == {}
    foreign = card.model_copy(update={"metrics": {"test_accuracy": 0.51234}})
    assert figures_in_words(foreign) == {"pitch": "test accuracy 0.5123"}
