"""A toy model from audio to file, through the commands that people type."""

import csv
import json
import re
import sys

import numpy as np
import pytest
import torch
from labelled_audio import FOLDS, LABELS, clip, write_folders, write_table, write_wav

import genrescope
from models.audio import load
from models.errors import ConfigError, DatasetError, GenrescopeError
from models.frontend import features
from models.model_file import CARD_KEY
from models.scorer import load_scorer
from models.scorer_kind import ScorerKind
from models.spec import ModelCard, NoveltySpec
from train import calibration
from train.checkpoints import CHECKPOINT_NAME
from train.curves import Curves
from train.evaluate import windows_of
from train.learning_rate import CURVE_NAME
from train.loop import FITTED_NAME
from train.recipes import RECIPES
from train.record import read_record, read_records
from train.run_folder import CURVES_NAME


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("music"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def run(*arguments):
    """Run a command of the front door in this process."""
    genrescope.app([str(argument) for argument in arguments], standalone_mode=False)


def train(music, cache, output, *more, epochs=3):
    source = ["--folder", music] if music.is_dir() else ["--table", music]
    small = ["--set", "segments_per_file=8", "--set", "batch_size=10", "--set", "learning_rate=0.05"]
    run("train", *source, "--output", output, "--cache", cache, "--workers", 0, "--epochs", epochs, *small, *more)


@pytest.fixture(scope="module")
def trained(music, cache, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "toy"
    train(music, cache, output, "--calibration-fold", 3, "--group-column", "artist", "--set", "random_gain_db=6")
    return output


def read_card(checkpoint):
    return ModelCard.from_json(torch.load(checkpoint, weights_only=True)[CARD_KEY])


def test_the_model_has_learned_and_says_how(trained):
    scorer = load_scorer(trained / "model.onnx")
    for label in LABELS:
        unheard = features(clip(label, 77), scorer.card.clock)
        scores = scorer.score(windows_of([unheard], scorer.card))["genre"]
        assert scorer.card.head.labels[scores.mean(axis=0).argmax()] == label
    card = scorer.card
    assert card.name == "toy"
    assert card.metrics["files"] == len(LABELS)
    assert card.metrics["file_accuracy"] == 1.0
    assert card.provenance.epochs == 3
    assert "folds [0, 1, 2, 3], tested on fold 4 (folds as given; no artist" in card.provenance.protocol
    assert card.head.temperature != 1.0


def test_onnx_and_torch_score_it_alike(trained, music):
    scorers = [load_scorer(trained / "model.onnx", kind) for kind in (ScorerKind.ONNX, ScorerKind.TORCH)]
    card = scorers[0].card
    real = features(load(music.parent / "low/0.wav", card.clock.sample_rate_hz), card.clock)
    by_onnx, by_torch = (scorer.score(windows_of([real], card))["genre"] for scorer in scorers)
    np.testing.assert_allclose(by_onnx, by_torch, atol=1e-4)


def test_the_calibration_network_has_not_heard_the_calibration_fold(trained):
    held_out, final = (read_card(trained / stage / CHECKPOINT_NAME) for stage in ("held-out", "final"))
    assert "folds 3 (calibration) and 4 (test)" in held_out.provenance.protocol
    assert held_out.head.temperature == final.head.temperature == 1.0
    rows = list(csv.DictReader((trained / "held-out" / CURVES_NAME).open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    assert 0 <= float(rows[-1]["validation_file_accuracy"]) <= 1


def test_a_killed_run_resumes_to_the_same_weights(music, cache, trained, tmp_path, monkeypatch):
    class Killed(Exception):
        pass

    whole = Curves.on_train_epoch_start

    def kill(self, trainer, module):
        whole(self, trainer, module)
        if trainer.current_epoch == 2 and "final" in str(self.path):
            raise Killed

    monkeypatch.setattr(Curves, "on_train_epoch_start", kill)
    options = ["--calibration-fold", 3, "--group-column", "artist", "--set", "random_gain_db=6", "--name", "toy"]
    with pytest.raises(Killed):
        train(music, cache, tmp_path / "run", *options)
    assert read_card(tmp_path / "run/final" / CHECKPOINT_NAME).provenance.epochs == 2
    monkeypatch.undo()
    train(music, cache, tmp_path / "run", *options, "--resume")
    for stage in ("held-out", "final"):
        ours, whole_run = (
            torch.load(folder / stage / CHECKPOINT_NAME, weights_only=True)["state_dict"]
            for folder in (tmp_path / "run", trained)
        )
        assert all(torch.equal(ours[name], whole_run[name]) for name in whole_run)
        rows = list(csv.DictReader((tmp_path / "run" / stage / CURVES_NAME).open()))
        assert [row["epoch"] for row in rows] == ["1", "2", "3"]


def test_a_found_rate_is_that_of_both_networks(music, cache, tmp_path):
    train(music, cache, tmp_path / "run", "--calibration-fold", 3, "--lr", "auto", epochs=1)
    held_out, final = (
        json.loads((tmp_path / "run" / stage / FITTED_NAME).read_text()) for stage in ("held-out", "final")
    )
    assert held_out["learning_rate"] == final["learning_rate"] != 0.05
    assert [path.parent.name for path in (tmp_path / "run").rglob(CURVE_NAME)] == ["held-out"]


def test_a_run_is_not_overwritten_or_mixed_with_another(music, cache, trained):
    with pytest.raises(ConfigError, match="give --resume"):
        train(music, cache, trained, "--calibration-fold", 3, "--group-column", "artist", "--set", "random_gain_db=6")
    changed = r"other settings \(calibration_fold 3 -> 2; random_gain_db 6\.0 -> 0\.0\):"
    with pytest.raises(ConfigError, match=changed):
        train(music, cache, trained, "--calibration-fold", 2, "--group-column", "artist", "--resume")
    settings = ["--calibration-fold", 3, "--group-column", "artist", "--set", "random_gain_db=6"]
    with pytest.raises(ConfigError, match=r"\(name toy -> other\): add --name toy"):
        train(music, cache, trained, *settings, "--name", "other", "--resume")


def test_evaluate_measures_the_shipped_file(trained, music, cache, tmp_path, capsys):
    report = tmp_path / "report"
    run("evaluate", trained / "model.onnx", "--table", music, "--fold", 4, "--cache", cache, "--report", report)
    assert "file_accuracy            1" in capsys.readouterr().out
    page = (report / "toy.md").read_text()
    assert f"tested on {music}, fold 4, by a model that was itself trained on folds" in page.replace("\\", "")
    # Speed and hardware are those of the moment.
    facts = ("- Latency", "- Training", "- Protocol", "| here |")
    ours, shipped = (
        [line for line in text.splitlines() if not line.startswith(facts)]
        for text in (page, (trained / "toy.md").read_text())
    )
    assert ours == shipped
    for label in LABELS:
        assert f"| {label} | 1 | 100.0 % | 100.0 % |" in page
    assert "the network that calibration was fitted to" in page
    assert read_record(report / "toy.json").fold == 4
    # Training has left the record of the very same answers.
    (kept,), again = read_records(trained), read_record(report / "toy.json")
    assert [(file.name, file.live) for file in kept.files] == [(file.name, file.live) for file in again.files]
    assert (report / "toy-confusion.png").read_bytes().startswith(b"\x89PNG")


def test_a_checkpoint_can_be_exported_by_itself(trained, tmp_path):
    run("export", trained / "final" / CHECKPOINT_NAME, "--output", tmp_path / "look.onnx")
    card = load_scorer(tmp_path / "look.onnx").card
    assert card.metrics == {}
    assert card.head.temperature == 1.0


def test_folders_train_too_and_bad_files_are_named(cache, tmp_path, capsys):
    folder = write_folders(tmp_path / "sounds")
    write_wav(folder / "low/short.wav", clip("low", 0, seconds=0.5))
    (folder / "low/text.wav").write_text("not audio")
    train(folder, cache, tmp_path / "run", epochs=1)
    said = capsys.readouterr().err
    assert "text.wav" in said
    assert "short.wav: shorter than 2.82 s, the least that is used" in said
    assert "skipped 2 of 17 files" in said
    assert load_scorer(tmp_path / "run/model.onnx").card.head.temperature == 1.0


def test_the_report_counts_the_bad_files_of_the_fold_that_is_tested(cache, tmp_path):
    table = write_table(tmp_path / "music")
    bad = {"learned.wav": 0, "tested.wav": 4, "tested too.wav": 4}
    with table.open("a") as file:
        for name, fold in bad.items():
            (table.parent / name).write_text("not audio")
            file.write(f"{name},low,nobody {name},{fold}\n")
    train(table, cache, tmp_path / "run", epochs=1)
    (record,) = read_records(tmp_path / "run")
    assert record.skipped == 2
    assert len(record.files) == len(LABELS)
    assert "2 files that do not decode or are too short" in (tmp_path / "run/run.md").read_text()


def test_evaluate_tests_what_training_has_left_in_the_fold(cache, tmp_path, capsys):
    table = write_table(tmp_path / "music")
    (table.parent / "copy.wav").write_bytes((table.parent / "low/0.wav").read_bytes())
    with table.open("a") as file:
        file.write("copy.wav,low,nobody,4\n")
    train(table, cache, tmp_path / "run", "--leaks", "drop", epochs=1)
    model = tmp_path / "run/model.onnx"
    again = ("evaluate", model, "--table", table, "--cache", cache)
    with pytest.raises(DatasetError, match=r"--leaks drop .* the one that `train` was given"):
        run(*again, "--fold", 4)

    def files_of(*arguments):
        capsys.readouterr()
        run(*again, *arguments)
        return float(capsys.readouterr().out.split("files", 1)[1].split()[0])

    assert files_of("--fold", 4, "--leaks", "drop") == load_scorer(model).card.metrics["files"] == len(LABELS)
    assert files_of("--fold", 4, "--leaks", "allow") == len(LABELS) + 1
    # All folds at once: that a recording stands in two of them means nothing.
    assert files_of() == len(LABELS) * FOLDS + 1
    assert files_of("--leaks", "drop") == len(LABELS) * FOLDS


def test_every_fold_in_turn(music, cache, tmp_path, capsys, monkeypatch):
    # Clips of a window tell nothing of how answers move: as if they had.
    weights = tuple(map(tuple, np.eye(len(LABELS))))
    novelty = NoveltySpec(heads=("genre",), weights=weights, bias=1.0)
    monkeypatch.setattr(calibration, "fit_novelty", lambda *_tracks, **_steps: novelty)
    train(music, cache, tmp_path / "run", "--all-folds", epochs=1)
    told = capsys.readouterr().out
    assert re.search(r"% of 15 files named rightly .* over 5 networks together; 95 % interval \d.*\nfew files: ", told)
    assert "model:  none to ship, " in told
    assert f"report: {tmp_path / 'run/report/run.html'}" in told
    train(music, cache, tmp_path / "run", "--all-folds", "--resume", epochs=1)
    assert "fold-0-seed-0: done, 1 epoch\n" in capsys.readouterr().err
    records = read_records(tmp_path / "run")
    assert [each.fold for each in records] == list(range(FOLDS))
    assert all(each.training.curves["train_loss"] and each.training.hardware for each in records)
    run("evaluate", tmp_path / "run", "--report", tmp_path / "again")
    for report in (tmp_path / "run/report", tmp_path / "again"):
        text = (report / "run.md").read_text()
        assert f"{FOLDS} networks ({FOLDS} folds, 1 seed), 15 files" in text
        assert "tested on fold 0 (folds as given; no recording in two folds); recipe lidy-parallel with batch" in text
        assert "not calibrated" not in text
    capsys.readouterr()
    run("compare", tmp_path / "run", tmp_path / "run")
    assert "give the same answers on all 15 files" in capsys.readouterr().out
    model = tmp_path / "of-all.onnx"
    other_words = ("--title", f"{LABELS[0]}=other words")
    train(music, cache, tmp_path / "run", "--all-folds", "--resume", "--export", model, *other_words, epochs=1)
    assert f"model:  {model}" in capsys.readouterr().out
    card = load_scorer(model).card
    assert card.head.temperature != 1.0
    assert card.novelty == novelty
    assert card.titles == {LABELS[0]: "other words"}
    assert card.metrics["files"] == 15
    assert card.metrics["file_accuracy"] == pytest.approx(
        sum(file.live.given == record.labels.index(file.label) for record in records for file in record.files) / 15,
        abs=1e-4,
    )
    assert "trained on all folds; figures, temperature and thresholds by cross-validation" in card.provenance.protocol
    heads = [load_scorer(tmp_path / f"run/fold-{fold}-seed-0/model.onnx").card.head for fold in range(FOLDS)]
    assert all(each.temperature != 1.0 for each in heads)
    assert len({each.temperature for each in heads}) > 1  # each by other folds
    # Trained before there were other words for labels.
    assert all(each.titles == {LABELS[0]: "other words"} for each in heads)


def test_a_class_without_a_good_file_is_refused(cache, tmp_path):
    folder = write_folders(tmp_path / "sounds")
    (folder / "bad").mkdir()
    for number in range(FOLDS):
        (folder / f"bad/{number}.wav").write_text("not audio")
    with pytest.raises(DatasetError, match="no file of bad can be used"):
        train(folder, cache, tmp_path / "run", epochs=1)
    assert not (tmp_path / "run").exists()


def test_every_fold_must_do_before_the_first_is_trained(tmp_path, cache):
    table = write_table(tmp_path / "music")
    lines = [line for line in table.read_text().splitlines() if not (line.startswith("low") and line.endswith("3"))]
    table.write_text("\n".join(lines))
    with pytest.raises(DatasetError, match=r"the test side \(fold 3\) has no track of low"):
        train(table, cache, tmp_path / "run", "--all-folds", epochs=1)
    assert not (tmp_path / "run").exists()


def test_a_model_of_other_labels_is_refused(trained, music, cache):
    with pytest.raises(GenrescopeError, match="the tracks have \\['tone'\\]"):
        run("evaluate", trained / "model.onnx", "--table", music, "--join", "tone=low,high", "--cache", cache)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "--output", "x", "--table", "none.csv"], "none.csv"),
        (["train", "--output", "x", "--folder", ".", "--recipe", "lidy"], "lidy-timbral"),
        (["train", "--output", "x", "--folder", ".", "--set", "epochs"], "KEY=VALUE"),
        (["train", "--output", "x", "--folder", ".", "--all-folds", "--calibration-fold", "3"], "--calibration-fold"),
        (["train", "--output", "x", "--folder", ".", "--all-folds", "--test-fold", "4"], "leave out --test-fold 4"),
        (["train", "--output", "x", "--folder", ".", "--seeds", "2"], "goes with --all-folds"),
        (["train", "--output", "x", "--folder", ".", "--accelerator", "foo"], "auto, cpu, gpu, got 'foo'"),
        (["train", "--output", "x", "--folder", ".", "--lr", "fast"], "--lr RATE"),
        (["train", "--output", "x", "--folder", ".", "--set", "nosuch=1"], "no such setting as 'nosuch'"),
        (["train", "--output", f"{__file__}/run", "--folder", "."], "--output"),
        (["train", "--output", "x", "--folder", ".", "--export", f"{__file__}/sub/model.onnx"], "--export"),
        (["train", "--output", "x", "--folder", ".", "--export", "."], "this is a folder"),
        (["export", "none.ckpt", "--output", f"{__file__}/model.onnx"], "--output"),
        (["export", "none.ckpt", "--output", "x.onnx"], "none.ckpt"),
    ],
)
def test_wrong_use_is_one_sentence(tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["genrescope", *arguments])
    with pytest.raises(SystemExit) as stopped:
        genrescope.main()
    assert stopped.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert says in said[0]
    assert list(tmp_path.iterdir()) == []


def test_without_torch_train_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(sys, "argv", ["genrescope", "train", "--output", "x"])
    with pytest.raises(SystemExit):
        genrescope.main()
    assert 'pip install -c constraints.txt -e ".[train]"' in capsys.readouterr().err


def test_help_says_where_the_recipes_are_listed(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "300")
    run("train", "--help")
    assert "genrescope recipes" in capsys.readouterr().out
    run("recipes")
    listed = capsys.readouterr().out
    assert all(name in listed for name in RECIPES)
