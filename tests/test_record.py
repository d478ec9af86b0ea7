import json

import pytest
from records import LABELS, card, file, random_record, record

from models.spec import FileDecision
from train.record import RecordError, read_curves, read_record, read_records, training_in


@pytest.fixture
def written(tmp_path):
    return random_record(0.7, fold=2).write(tmp_path / "fold-2-seed-0.json")


def test_a_record_comes_back_as_it_was(tmp_path):
    first = random_record(
        0.7,
        fold=3,
        curves={"train_loss": (1.0, None)},
        decision=FileDecision(windows="random", count=15, rule="majority"),
    )
    assert first.name == "fold-3-seed-0"
    assert read_record(first.write(tmp_path / "x.json")) == first


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "damaged"),
        (lambda text: "[1, 2]", "with a card and files"),
        (lambda text: "{}", "with a card and files"),
        (lambda text: "[" * 100_000, "damaged"),
        (
            lambda text: text.replace('"format_version":1,"card"', '"format_version":9,"card"'),
            "expected format 1, got 9",
        ),
        (lambda text: text.replace('"given":0', '"given":7', 1), "expected figures of 3 labels"),
        (lambda text: text.replace('"label":"a"', '"label":"q"', 1), "label 'q', not one of"),
        (lambda text: text.replace('"music/1.mp3"', '"music/0.mp3"', 1), "music/0.mp3 stand twice"),
        (lambda text: text.replace('"skipped":0', '"skiped":0'), "skiped"),
        (lambda text: text.replace('"hop_frames":', '"hops":'), "hop"),
    ],
)
def test_a_damaged_record_is_refused_with_its_path(written, damage, message):
    text = written.read_text()
    assert damage(text) != text
    written.write_text(damage(text))
    with pytest.raises(RecordError, match=message) as caught:
        read_record(written)
    assert str(written) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_record_is_refused(written):
    written.write_text(json.dumps({**json.loads(written.read_text()), "files": []}))
    with pytest.raises(RecordError, match="it has none"):
        read_record(written)


def test_a_missing_record_is_refused(tmp_path):
    with pytest.raises(RecordError, match="cannot be read"):
        read_record(tmp_path / "gone.json")
    with pytest.raises(RecordError, match="there are none"):
        read_records(tmp_path)


def test_records_of_a_run_are_read_by_seed_and_fold(tmp_path):
    for seed in (1, 0):
        for fold in (1, 0):
            one = random_record(0.5, files=6, start=6 * fold, fold=fold, seed=seed)
            one.write(tmp_path / "records" / f"{one.name}.json")
    found = [(each.seed, each.fold) for each in read_records(tmp_path)]
    assert found == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_records_of_other_labels_or_of_the_same_files_do_not_go_together(tmp_path):
    random_record(0.5, fold=0).write(tmp_path / "records/fold-0-seed-0.json")
    random_record(0.5, fold=1).write(tmp_path / "records/fold-1-seed-0.json")
    with pytest.raises(RecordError, match=r"both test 'music/0\.mp3' with seed 0"):
        read_records(tmp_path)
    other = record([file("x", "d", "d", labels=(*LABELS, "d"))], labels=(*LABELS, "d"), fold=1)
    other.write(tmp_path / "records/fold-1-seed-0.json")
    with pytest.raises(RecordError, match="different labels"):
        read_records(tmp_path)


def test_a_card_of_the_first_format_is_still_read(written):
    fields = json.loads(written.read_text())
    fields["card"]["format_version"] = 1
    del fields["card"]["decision"]
    written.write_text(json.dumps(fields))
    assert read_record(written).card == card()


def test_curves(tmp_path):
    path = tmp_path / "curves.csv"
    assert read_curves(path) == {}
    path.write_text("epoch,train_loss,seconds\n1,0.5,30\n2,nan,60\n")
    assert read_curves(path) == {"epoch": (1, 2), "train_loss": (0.5, None), "seconds": (30, 60)}
    assert training_in(tmp_path).minutes == 1.5
    path.write_text("epoch,train_loss\n1,much\n")
    with pytest.raises(RecordError, match="table of numbers"):
        read_curves(path)


def test_a_runs_network_learned_on_all_shows_the_validation_of_the_first(tmp_path):
    for stage, text in (
        ("final", "epoch,train_loss\n1,0.5\n"),
        ("held-out", "epoch,train_loss,validation_loss\n1,9,0.7\n"),
    ):
        (tmp_path / stage).mkdir()
        (tmp_path / stage / "curves.csv").write_text(text)
    training = training_in(tmp_path)
    assert training == training_in(tmp_path / "final")
    assert training.held_out
    assert training.curves == {"epoch": (1,), "train_loss": (0.5,), "validation_loss": (0.7,)}
    assert training.minutes is None
    assert not training_in(tmp_path / "held-out").held_out
