"""Further versions of tracks: learned from in the folds of their tracks, never tested."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from labelled_audio import FOLDS, LABELS, clip, write_table, write_wav

import genrescope
from models.errors import DatasetError
from models.model_file import open_model
from train.leaks import Leaks
from train.module import TrainingModule
from train.pipeline import open_run, train_fold
from train.plan import Plan
from train.question import Question
from train.record import read_record
from train.tables import read_copies, read_table
from train.track import Track


def write_copies(table: Path, rows: list[tuple[str, str]]) -> Path:
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "copy_of"), *rows])
    return table


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("music")
    return write_table(folder)


@pytest.fixture(scope="module")
def copies(music: Path) -> Path:
    """A softer copy of every clip but the noises, two of the first."""
    rows = []
    for label in ("high", "low"):
        for number in range(FOLDS):
            for copy in range(2 if (label, number) == ("high", 0) else 1):
                path = f"quiet/{label}-{number}-{copy}.wav"
                write_wav(music.parent / path, clip(label, number) * 0.5 ** (1 + copy))
                rows.append((path, f"{label}/{number}.wav"))
    return write_copies(music.with_name("copies.csv"), rows)


def test_copies_are_found_by_their_track(music: Path, copies: Path) -> None:
    found = read_copies(copies, read_table(music))
    folder = music.parent
    assert len(found) == 2 * FOLDS
    assert found[folder / "high" / "0.wav"] == (folder / "quiet/high-0-0.wav", folder / "quiet/high-0-1.wav")


def test_copies_have_the_answer_the_fold_and_the_artist_of_their_track() -> None:
    shares = Track(Path("a.wav"), "calm", 3, group="somebody", shares=(0.25, 0.75))
    question = Question("mood", ("calm", "wild"), (shares, Track(Path("b.wav"), "wild", 1)))
    both = question.with_copies({Path("a.wav"): (Path("a2.wav"),), Path("c.wav"): (Path("c2.wav"),)})
    assert [str(track.path) for track in both.tracks] == ["a.wav", "a2.wav", "b.wav"]
    assert (both.tracks[1].label, both.tracks[1].fold, both.tracks[1].group) == ("calm", 3, "somebody")
    assert both.tracks[1].shares == (0.25, 0.75)


def test_a_track_of_nobody_is_one_with_its_copies() -> None:
    """Or a teacher's regression, which must not have learned from whom it answers, would have learned from the copy."""
    question = Question("mood", ("wild",), (Track(Path("a.wav"), "wild", 0), Track(Path("b.wav"), "wild", 0)))
    a, copy, b = question.with_copies({Path("a.wav"): (Path("a2.wav"),)}).tracks
    assert a.group == copy.group != ""
    assert b.group == ""


def test_a_copy_of_a_file_that_is_two_tracks_is_one_of_both(music: Path, copies: Path, tmp_path: Path) -> None:
    """Which of them is left out, as the other's double, is not known when the table is read."""
    twice = [*read_table(music), Track(tmp_path / "link.wav", "high", 2)]
    (tmp_path / "link.wav").symlink_to(music.parent / "high" / "1.wav")
    found = read_copies(copies, twice)
    assert found[tmp_path / "link.wav"] == found[music.parent / "high" / "1.wav"]


def test_rows_of_no_track_are_named(music: Path, copies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("quiet/high-0-0.wav", "high/0.wav"), ("quiet/high-1-0.wav", "elsewhere.wav")]
    read_copies(write_copies(copies.with_name("some.csv"), rows), read_table(music))
    said = capsys.readouterr().err
    assert "copies: 1 of 2 rows are of no track here" in said
    assert "elsewhere.wav" in said


def test_a_copy_of_a_track_that_is_left_out_is_too(music: Path, tmp_path: Path) -> None:
    """The same recording stands in two folds: the second is left out, and so is its copy."""
    rows = [(label, n, f"{label}/{n}.wav") for label in LABELS for n in range(FOLDS)]
    for label, number, path in rows:
        write_wav(tmp_path / path, clip(label, 0 if (label, number) == ("noise", 4) else number))
    table = write_table(tmp_path, [{"path": path, "genre": label, "fold": n} for label, n, path in rows], audio=False)
    for copy in ("first", "second"):
        write_wav(tmp_path / f"{copy}.wav", clip("noise", 0) * 0.5)
    copies = write_copies(tmp_path / "copies.csv", [("first.wav", "noise/0.wav"), ("second.wav", "noise/4.wav")])
    plan = Plan(tables=(table,), copies=copies, leaks=Leaks.DROP, test_fold=3, name="x", recipe="lidy-timbral")
    run = open_run(plan, tmp_path / "run", cache=tmp_path / "cache", workers=0, resume=False)
    assert run.copies == {tmp_path / "noise/0.wav": (tmp_path / "first.wav",)}
    back = plan.model_copy(update={"copies": write_copies(copies, [("noise/4.wav", "noise/0.wav")])})
    with pytest.raises(DatasetError, match=r"4\.wav is a track itself"):
        open_run(back, tmp_path / "other", cache=tmp_path / "cache", workers=0, resume=False)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([("high/1.wav", "high/0.wav")], r"high/1\.wav is a track itself"),
        (
            [("quiet/high-0-0.wav", "high/0.wav"), ("quiet/high-0-0.wav", "high/1.wav")],
            r"high-0-0\.wav is listed twice",
        ),
        ([("quiet/none.wav", "high/0.wav")], r"1 of 1 audio files are missing"),
        ([("quiet/high-0-0.wav", "elsewhere.wav")], r"none of 1 rows is \(copy_of\)"),
    ],
)
def test_a_wrong_table_is_refused(music: Path, copies: Path, rows: list[tuple[str, str]], says: str) -> None:
    table = write_copies(copies.with_name("wrong.csv"), rows)
    with pytest.raises(DatasetError, match=says):
        read_copies(table, read_table(music))


def test_training_learns_from_copies_and_tests_none(music: Path, copies: Path, tmp_path: Path, capsys) -> None:
    arguments = ["train", "--table", music, "--copies", copies, "--group-column", "artist", "--epochs", 1]
    arguments += ["--output", tmp_path / "out", "--cache", tmp_path / "cache", "--workers", 0]
    genrescope.app([str(argument) for argument in arguments], standalone_mode=False)
    said = capsys.readouterr().err
    assert "11 copies of 10 tracks: learned from where the track is, never tested" in said
    # Of four folds; of the first clip there are two.
    assert "training on 12 tracks and 9 of their copies (high 4, low 4, noise 4)" in said
    (path,) = (tmp_path / "out" / "records").glob("*.json")
    assert sorted(file.label for file in read_record(path).files) == sorted(LABELS)
    _, card = open_model(tmp_path / "out" / "model.onnx")
    assert "learned from the copies in copies.csv too" in card.provenance.protocol


def test_copies_are_not_watched_while_training_learns(
    music: Path, copies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Seen(Exception):
        pass

    def fit(module: TrainingModule, **_others: object) -> None:
        raise Seen(module)

    monkeypatch.setattr("train.pipeline.fit", fit)
    plan = Plan(tables=(music,), copies=copies, test_fold=4, name="x", recipe="lidy-timbral")
    run = open_run(plan, tmp_path / "run", cache=tmp_path / "cache", workers=0, resume=False)
    with pytest.raises(Seen) as seen:
        train_fold(run, test_fold=4, watched_fold=3, seed=0, resume=False)
    (module,) = seen.value.args
    # Three folds of three clips with the copies of two, and two of the first one; one fold of clips alone.
    assert len(module.training_frames.paths) == 3 * (len(LABELS) + 2) + 1
    assert sorted(path.parent.name for path in module.validation_frames.paths) == sorted(LABELS)
