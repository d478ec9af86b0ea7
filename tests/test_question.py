"""Several questions about the same sound: what is read, what is learned from, what is measured."""

import json
import sys

import pytest
import torch
from labelled_audio import LABELS, write_table
from networks import random_network
from tiny_training import frames

import genrescope
from models.errors import ConfigError, DatasetError
from models.example_windows import noise_windows
from models.onnx_scorer import OnnxScorer
from models.scorer import AskedFirst, load_scorer
from models.spec import Given, Head
from train.module import TrainingModule
from train.plan import Plan
from train.question import Question, all_tracks, read_questions
from train.recipes import make_recipe
from train.record import read_record
from train.segments import LabelledFrames
from train.track import Track


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Clips with their tone; some with how rough they are, some with what raters heard; one with neither."""
    folder = tmp_path_factory.mktemp("asked")
    rows = []
    for at, label in enumerate(LABELS):
        for fold in range(5):
            rough = {"high": "no", "low": "no", "noise": "yes"}[label] if fold != 2 else ""
            dark = {"high": (1, 3), "low": (3, 1), "noise": (2, 2)}[label] if fold % 2 else ("", "")
            rows.append(
                {
                    "path": f"{label}/{fold}.wav",
                    "genre": "" if (label, fold) == ("noise", 2) else label,
                    "rough": rough,
                    "dark": dark[0],
                    "bright": dark[1],
                    "fold": fold,
                    "number": at,
                    "same": "one",
                    "rare": "yes" if fold == 4 else "no",
                }
            )
    return write_table(folder, rows)


def test_answers_are_read_by_question(table):
    rough, tone = read_questions(["rough=rough", "tone=dark,bright"], tables=[table], group_column=None)
    assert (rough.name, rough.labels, len(rough.tracks)) == ("rough", ("no", "yes"), 12)
    assert tone.labels == ("dark", "bright")
    assert {track.path.parent.name: (track.label, track.shares) for track in tone.tracks} == {
        "high": ("bright", (0.25, 0.75)),
        "low": ("dark", (0.75, 0.25)),
        "noise": ("dark", (0.5, 0.5)),
    }
    assert len(all_tracks([rough, tone])) == 12


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (["rough"], "NAME=COLUMN"),
        (["rough="], "NAME=COLUMN"),
        (["Rough one=rough"], "NAME=COLUMN"),
        (["tone=dark,dark"], "NAME=COLUMN"),
        (["a=rough", "a=rough"], "'a' is asked twice"),
        (["a=nosuch"], "none has an answer"),
        (["a=genre,rough"], "shares that are numbers from 0"),
        (["a=same"], "at least two different answers, all are 'one'"),
        (["features_1=rough"], "which a model's input has"),
    ],
)
def test_questions_that_cannot_be_asked_are_refused(table, asked, says):
    with pytest.raises((ConfigError, DatasetError), match=says):
        read_questions(asked, tables=[table], group_column=None)


def test_a_file_in_two_folds_is_refused(tmp_path):
    here, there = Track(tmp_path / "a.wav", "x", 0), Track(tmp_path / "a.wav", "y", 1)
    with pytest.raises(DatasetError, match=r"a\.wav: expected one fold, it stands in 0 and, for mood, in 1"):
        all_tracks([Question.about("genre", [here]), Question.about("mood", [there])])


def test_a_file_with_two_answers_is_refused(table, tmp_path):
    text = table.read_text()
    twice = table.with_name("twice.csv")
    twice.write_text(text + text.splitlines()[1] + "\n")
    with pytest.raises(DatasetError, match=r"expected one answer a file, .*0\.wav have more"):
        read_questions(["rough=rough"], tables=[twice], group_column=None)


def test_a_label_that_nothing_teaches_is_refused_before_training(table, tmp_path, monkeypatch, capsys):
    arguments = ["train", "--table", table, "--also", "rare=rare", "--output", tmp_path / "run"]
    monkeypatch.setattr(sys, "argv", ["genrescope", *map(str, [*arguments, "--cache", tmp_path, "--workers", 0])])
    with pytest.raises(SystemExit) as stopped:
        genrescope.main()
    assert stopped.value.code == 2
    assert "rare: expected tracks of every label to learn from in folds [0, 1, 2, 3], there are none of yes" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "run/plan.json").exists()


SHARES = ((0.25, 0.75),) * 3
MOODS = ((1.0, 0.0), (0.0, 1.0), (0.0, 1.0))


def two_heads(others: float = 1.0, balance: float = 0.0, moods=SHARES, of_shares=True) -> TrainingModule:
    """Nine tracks, of which three answer the second question."""
    settings = {"segments_per_file": 2, "batch_size": 6, "other_heads": others, "balance": balance}
    recipe = make_recipe("lidy-timbral", settings)
    _, card = random_network("lidy-timbral")
    single = frames(card, tracks=9, seed=1)
    targets = torch.zeros(9, 2)
    targets[:3] = torch.tensor(moods)
    both = LabelledFrames(single.features, single.paths, single.lengths, (*single.targets, targets), (False, of_shares))
    heads = (*card.heads, Head(name="mood", labels=("calm", "wild")))
    return TrainingModule(card.model_copy(update={"heads": heads}), recipe, training=both, validation=None, seed=0)


def gradients(module: TrainingModule, targets) -> dict[str, torch.Tensor]:
    batch = next(iter(module.train_dataloader()))
    module.zero_grad()
    module._loss(module._answers(batch)[0], targets(batch.targets)).backward()
    return {name: values.grad.clone() for name, values in module.network.named_parameters() if values.grad is not None}


def test_what_has_no_answer_teaches_nothing():
    module = two_heads().eval()
    none = gradients(module, lambda targets: (targets[0], torch.zeros_like(targets[1])))
    assert all(not grad.abs().any() for name, grad in none.items() if ".1." in name and grad.shape[0] == 2)
    alone = gradients(two_heads(others=0.0).eval(), lambda targets: targets)
    for name, grad in alone.items():
        torch.testing.assert_close(grad, none[name])


def test_shares_of_raters_are_what_is_learned():
    module = two_heads().eval()
    batch = next(iter(module.train_dataloader()))
    with torch.no_grad():
        answers = module.network(*batch.windows)
        expected = sum(
            -(target * answers[head.name].log_softmax(1)).sum()
            for head, target in zip(module.card.heads, batch.targets, strict=True)
        )
        torch.testing.assert_close(module._loss(module._answers(batch)[0], batch.targets), expected)


def run(*arguments: object) -> None:
    sys.argv = ["genrescope", *map(str, arguments)]
    with pytest.raises(SystemExit) as stopped:
        genrescope.main()
    assert not stopped.value.code


def test_from_a_table_to_a_model_with_three_heads(table, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [])
    common = ["--set", "segments_per_file=4", "--epochs", 3, "--cache", tmp_path / "cache", "--workers", 0]
    asked = ["--also", "rough=rough", "--also", "tone=dark,bright", "--given", "rough=no"]
    asked += ["--also", "loud=rough", "--auxiliary", "loud", "--title", "no=smooth", "--title", "dark=a = b"]
    run("train", "--table", table, *asked, "--calibration-fold", 3, *common, "--output", tmp_path / "run")
    said = capsys.readouterr()
    assert "rough: no 6, yes 3" in said.err
    assert "loud: no 6, yes 3" in said.err  # learned, but the model has no head for it
    assert "tone: no track in fold 4, not measured there" in said.err
    assert "rough.file_accuracy" in said.out
    scorer = load_scorer(tmp_path / "run/model.onnx")
    assert [(head.name, head.labels) for head in scorer.card.heads] == [
        ("genre", LABELS),
        ("rough", ("no", "yes")),
        ("tone", ("dark", "bright")),
    ]
    assert scorer.card.titles == {"no": "smooth", "dark": "a = b"}
    given = Given(head="rough", label="no")
    assert [head.given for head in scorer.card.heads] == [given, None, given]
    assert "rough.file_accuracy" in scorer.card.metrics
    assert not any(name.startswith("loud.") for name in scorer.card.metrics)
    assert set(scorer.score(noise_windows(scorer.card))) == {"genre", "rough", "tone"}
    record = read_record(tmp_path / "run/records/rough/fold-4-seed-0.json")
    assert record.labels == ("no", "yes")
    assert len(record.files) == 3
    assert len(read_record(tmp_path / "run/records/fold-4-seed-0.json").files) == 3
    run("classify", "--json", "--model", tmp_path / "run/model.onnx", table.parent / "noise/0.wav")
    assert set(json.loads(capsys.readouterr().out)["heads"]) == {"genre", "rough", "tone"}
    evaluate = ["evaluate", tmp_path / "run/model.onnx", "--head", "rough", "--label-column", "rough", "--fold", 4]
    run(*evaluate, "--table", table, "--cache", tmp_path / "cache", "--workers", 0)
    assert "file_accuracy" in capsys.readouterr().out
    run("evaluate", tmp_path / "run", "--head", "rough", "--report", tmp_path / "report")
    assert "fold-4-seed-0:" in capsys.readouterr().out
    run("evaluate", tmp_path / "run", "--head", "genre", "--report", tmp_path / "report")
    assert {page.name for page in (tmp_path / "report").glob("*.html")} == {"run-genre.html", "run-rough.html"}
    monkeypatch.setattr(sys, "argv", ["genrescope", "evaluate", str(tmp_path / "run"), "--head", "mood"])
    with pytest.raises(SystemExit):
        genrescope.main()
    assert "has records of (genre, rough), got 'mood'" in capsys.readouterr().err


def test_another_head_asked_first(tmp_path):
    from toy import save_toy, toy_card

    scorer = OnnxScorer(save_toy(tmp_path / "two.onnx", toy_card(others=("hush",))))
    assert [head.name for head in AskedFirst(scorer, "hush").card.heads] == ["hush", "pitch"]
    with pytest.raises(ConfigError, match=r"expected a head of the model 'toy' \(pitch, hush\), got 'mood'"):
        AskedFirst(scorer, "mood")


def test_what_is_given_must_be_an_answer(table, tmp_path, capsys, monkeypatch):
    arguments = [
        "train",
        "--table",
        table,
        "--also",
        "rough=rough",
        "--given",
        "rough=maybe",
        "--output",
        tmp_path / "run",
    ]
    monkeypatch.setattr(sys, "argv", ["genrescope", *map(str, arguments)])
    with pytest.raises(SystemExit):
        genrescope.main()
    assert "expected an answer to one of the questions (--given), such as kind=music, got 'rough=maybe'" in " ".join(
        capsys.readouterr().err.split()
    )


@pytest.mark.parametrize(
    ("titles", "says"),
    [
        (("funk=Funk",), "expected a label and its words .* got 'funk=Funk'"),
        (("yes",), "got 'yes'"),
        (("yes=",), "got 'yes='"),
        (("yes=no",), "--title, rough: expected labels to be shown by different words"),
    ],
)
def test_titles_are_of_labels_and_tell_them_apart(table, titles, says):
    plan = Plan(recipe="base", tables=(table,), also=("rough=rough",), titles=titles, test_fold=4, name="x")
    with pytest.raises(ConfigError, match=says):
        plan.read_questions()


@pytest.mark.parametrize("auxiliary", ["mood", "genre", "rough"])
def test_only_a_further_question_that_no_other_hangs_on_is_auxiliary(table, auxiliary):
    plan = Plan(
        recipe="base",
        tables=(table,),
        also=("rough=rough",),
        given="rough=no",
        auxiliary=(auxiliary,),
        test_fold=4,
        name="x",
    )
    with pytest.raises(ConfigError, match=rf"other than that of --given, got {auxiliary}"):
        plan.read_questions()


def test_a_rare_label_may_count_for_more():
    module = two_heads(balance=1.0, moods=MOODS, of_shares=False)
    counts = module.training_frames.targets[1].sum(0)
    weights = module._weights_1
    torch.testing.assert_close(weights * counts, torch.full_like(counts, counts.sum() / len(counts)))
    assert (two_heads(moods=MOODS)._weights_1 == 1).all()
    half = two_heads(balance=0.5, moods=MOODS, of_shares=False)._weights_1
    torch.testing.assert_close((half * counts).sum(), counts.sum())
    batch = next(iter(module.train_dataloader()))
    others = batch._replace(targets=(torch.zeros_like(batch.targets[0]), batch.targets[1]))
    module.eval()
    with torch.no_grad():
        logits = module._answers(batch)[0]
        plain = -(batch.targets[1] * logits[1].log_softmax(1))
        expected = (plain * weights).sum() / batch.size
        torch.testing.assert_close(module.training_step(others, 0), expected)


def test_shares_of_raters_are_learned_as_they_are():
    assert (two_heads(balance=1.0)._weights_1 == 1).all()
    # Where they agree on every track, too.
    assert (two_heads(balance=1.0, moods=MOODS)._weights_1 == 1).all()
