import json
import math
import sys

import numpy as np
import pytest
from toy import RATE_HZ, save_toy, tone, toy_card

import genrescope
from models.onnx_scorer import OnnxScorer
from models.spec import Given, Head
from stream.decision_bench import (
    MAJORITY,
    NEVER_UNSURE,
    OURS,
    PLAIN,
    TOLD,
    UNSMOOTHED,
    HeardWindow,
    MajorityVote,
    MeanSince,
    OurVote,
    PlainVote,
    Smoothed,
    Told,
    Unsmoothed,
    compare_rules,
    hear,
    judge,
)
from stream.programme import Clip, Composer, Programme, Stretch

HALF_LIFE_S = 2.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Tones in a table, one fold each, and a model that names them."""
    import scipy.io.wavfile

    folder = tmp_path_factory.mktemp("tones")
    rows = ["path,genre,fold"]
    for label in ("low", "middle", "high"):
        for fold in (0, 1):
            scipy.io.wavfile.write(folder / f"{label}-{fold}.wav", RATE_HZ, tone(label, 30))
            rows.append(f"{label}-{fold}.wav,{label},{fold}")
    (folder / "tracks.csv").write_text("\n".join(rows) + "\n")
    save_toy(folder / "toy.onnx")
    return folder


@pytest.fixture(scope="module")
def heard(folder):
    clips = [Clip(folder / f"{label}-0.wav", label) for label in ("low", "middle", "high")]
    composer = Composer(clips, sample_rate_hz=RATE_HZ, seed=0)
    scorer = OnnxScorer(folder / "toy.onnx")
    return scorer, [hear(composer.compose(number, minutes=3), scorer, half_life_s=HALF_LIFE_S) for number in range(2)]


def test_the_vote_replayed_is_what_the_engine_showed(heard):
    scorer, programmes = heard
    for programme in programmes:
        assert judge(programme, OurVote(scorer.card, HALF_LIFE_S)) == programme.shown


def test_rules_are_compared_on_the_same_windows(heard):
    scorer, programmes = heard
    results = compare_rules(programmes, scorer.card, half_life_s=HALF_LIFE_S)
    rules = {setting.rule for setting, _ in results}
    assert rules == {UNSMOOTHED, PLAIN, MAJORITY, OURS, NEVER_UNSURE, TOLD}
    assert len({counts.minutes for _, counts in results}) == 1
    ours = next(counts for setting, counts in results if (setting.rule, setting.value) == (OURS, HALF_LIFE_S))
    # The tones are easily told apart: what is measured is the rule.
    assert ours.figures()["accuracy_settled"] > 0.9
    told = next(counts for setting, counts in results if (setting.rule, setting.value) == (TOLD, 0.0))
    assert told.figures()["accuracy"] > ours.figures()["accuracy"]
    assert told.figures()["false_switches_per_minute"] <= ours.figures()["false_switches_per_minute"]
    slow = [counts.figures()["delay_median_s"] for setting, counts in results if setting.rule == PLAIN]
    assert slow == sorted(slow)


def test_the_baselines_do_what_they_say():
    a, b = np.array([0.6, 0.4], np.float32), np.array([0.1, 0.9], np.float32)
    assert [Unsmoothed().update(p, 0.3) for p in (a, b, a)] == [0, 1, 0]
    majority = MajorityVote(3)
    assert [majority.update(p, 0.3) for p in (a, b, a, b, b)] == [0, 1, 0, 1, 1]
    plain, patient = PlainVote(1.0, hop_s=0.3), PlainVote(100.0, hop_s=0.3)
    assert [plain.update(p, 0.3) for p in (a, a, b, b)] == [0, 0, 1, 1]
    assert [patient.update(a, 0.3) for _ in range(9)] == [0] * 9
    assert patient.update(b, 5.0) == 0  # a window after a gap is no longer than others


def test_all_rules_are_given_the_windows_that_the_head_is_meant_for():
    genre = Head(name="genre", labels=("a", "b"), enter=0.8, leave=0.7, given=Given(head="kind", label="music"))
    card = toy_card().model_copy(update={"heads": (genre, Head(name="kind", labels=("music", "speech")))})
    a, b, music, speech = [0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.2, 0.8]
    plain, ours = Smoothed(card, Unsmoothed()), OurVote(card, 1.0)

    def window(genre, kind):
        return HeardWindow(0.0, {"genre": np.array(genre, np.float32), "kind": np.array(kind, np.float32)}, 0.3)

    for rule in (plain, ours):
        for _ in range(5):
            assert rule.update(window(a, music)) == "a"
    assert plain.update(window(b, speech)) == "a"
    assert OurVote(card, 1.0).update(window([0.4, 0.6], music)) is None
    for rule in (plain, ours):
        for _ in range(20):
            shown = rule.update(window(b, speech))
        assert shown is None  # speech has no genre


def test_who_is_told_forgets_when_a_piece_begins_and_not_before():
    """A window of more than half of the new piece is the first of it; below the threshold nothing is shown."""
    card = toy_card()
    length = card.window_seconds
    labels = card.head.labels
    programme = Programme(
        np.empty(0, np.float32),
        RATE_HZ,
        (
            Stretch(0.0, 4.0, labels[1]),
            Stretch(4.0, 5.0, None),
            Stretch(5.0, 10.0, labels[0]),
            Stretch(10.0, 20.0, labels[1]),
        ),
    )
    old, new = np.eye(len(labels), dtype=np.float32)[:2]

    def shown(threshold, times, answers):
        told = Told(card, threshold, programme)
        return [
            told.update(HeardWindow(at, {card.head.name: each}, 0.3)) for at, each in zip(times, answers, strict=True)
        ]

    times = [8.0, 9.0, 10.0 + 0.49 * length, 10.0 + 0.51 * length, 10.0 + 0.6 * length]
    assert shown(0.0, times, [old, old, new, new, new]) == [labels[0]] * 3 + [labels[1]] * 2
    # Two begin between two windows, where nobody looked; what is nameless in between begins nothing.
    assert shown(0.0, [3.9, 4.9 + length / 2, 10.0 + length], [new, new, old]) == [labels[1], labels[1], labels[0]]
    assert shown(0.7, times, [old, old, new, new, old]) == [labels[0], labels[0], None, labels[1], None]
    mean = MeanSince(0.6)
    assert [mean.update(each, 0.3) for each in (old, new, new)] == [0, None, 1]


def test_the_command_prints_a_table_and_writes_its_figures(folder, tmp_path, monkeypatch, capsys):
    arguments = ["bench", "decisions", "--table", folder / "tracks.csv", "--fold", 1, "--model", folder / "toy.onnx"]
    arguments += ["--programmes", 1, "--minutes", 1, "--report", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", ["genrescope", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        genrescope.main()
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    for words in ("false switches a minute", OURS, PLAIN, "1 programme of 3 clips"):
        assert words in said
    rules = json.loads((tmp_path / "out/decisions.json").read_text())["rules"]
    assert {rule["rule"] for rule in rules} == {UNSMOOTHED, PLAIN, MAJORITY, OURS, NEVER_UNSURE, TOLD}
    assert (tmp_path / "out/decisions.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--fold", "7"], "expected clips in fold 7; there are folds"),
        (["--table", "FOLDLESS", "--fold", "0"], "no table has any"),
        (["--label-column", "path"], "expected labels of the model 'toy'"),
        (["--speech", "nowhere"], "--speech: expected a folder with recordings"),
        (["--half-life", "0"], "half-life"),
    ],
)
def test_wrong_use_is_one_sentence(folder, more, says, monkeypatch, capsys):
    foldless = folder / "foldless.csv"
    foldless.write_text("path,genre\nlow-0.wav,low\nhigh-0.wav,high\n")
    tables = [] if "FOLDLESS" in more else ["--table", str(folder / "tracks.csv")]
    more = [str(foldless) if each == "FOLDLESS" else each for each in more]
    arguments = ["bench", "decisions", *tables, "--model", str(folder / "toy.onnx")]
    monkeypatch.setattr(sys, "argv", ["genrescope", *arguments, *more])
    with pytest.raises(SystemExit) as stopped:
        genrescope.main()
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert says in line


def test_never_is_written_so_that_json_can_be_read(folder, tmp_path, monkeypatch):
    arguments = ["bench", "decisions", "--table", folder / "tracks.csv", "--fold", 1, "--model", folder / "toy.onnx"]
    arguments += ["--programmes", 1, "--minutes", 1, "--report", tmp_path]
    monkeypatch.setattr(sys, "argv", ["genrescope", *map(str, arguments)])
    with pytest.raises(SystemExit):
        genrescope.main()
    text = (tmp_path / "decisions.json").read_text()
    assert "Infinity" not in text
    assert "NaN" not in text
    assert math.isfinite(json.loads(text)["rules"][0]["accuracy"])
