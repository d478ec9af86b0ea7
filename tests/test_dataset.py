import pytest
from labelled_audio import FOLDS, LABELS, write_folders, write_table, write_wav

from models.errors import ConfigError, DatasetError
from train.dataset import read_tracks
from train.tables import read_folders, read_table
from train.track import NO_FOLD, Track, describe_counts, describe_folds, labels_of, parse_joins


def read(**given):
    defaults = {"tables": [], "folders": [], "label_column": "genre", "group_column": None, "join": [], "seed": 0}
    return read_tracks(**(defaults | given))


def row(path="low/0.wav", genre="low", fold: object = 0, artist=""):
    return {"path": path, "genre": genre, "artist": artist, "fold": fold}


def test_a_table_gives_tracks_with_paths_beside_it(tmp_path):
    tracks = read_table(write_table(tmp_path), group_column="artist")
    assert len(tracks) == len(LABELS) * FOLDS
    assert tracks[6] == Track(tmp_path / "low/1.wav", "low", 1, group="low 1", source=tmp_path.name)
    assert all(track.path.is_file() for track in tracks)
    assert labels_of(tracks) == LABELS
    assert describe_counts(tracks) == "high 5, low 5, noise 5"


def test_another_column_can_be_the_label(tmp_path):
    rows = [{"path": f"low/{n}.wav", "mood": "calm" if n else "tense", "fold": n} for n in range(2)]
    write_folders(tmp_path)
    tracks = read_table(write_table(tmp_path, rows, audio=False), label_column="mood")
    assert [track.label for track in tracks] == ["tense", "calm"]


def test_a_row_without_a_label_is_not_used(tmp_path):
    write_wav(tmp_path / "low/0.wav", [0.0])
    # The audio of an unused row need not be there.
    table = write_table(tmp_path, [row(), row("not/there.wav", genre=" ")], audio=False)
    assert [track.path.name for track in read_table(table)] == ["0.wav"]


def test_tables_are_put_together_and_labels_joined(tmp_path):
    tables = [write_table(tmp_path / name) for name in ("a", "b")]
    tracks = read(tables=tables, join=["tone=low,high"])
    assert describe_counts(tracks) == "noise 10, tone 20"
    assert {track.source for track in tracks} == {"a", "b"}


def test_a_file_listed_twice_is_refused(tmp_path):
    table = write_table(tmp_path)
    with pytest.raises(DatasetError, match=r"15 are listed more than once: .*0\.wav"):
        read(tables=[table, table])


def test_joins():
    assert parse_joins(["pop_rock=pop, rock", "x=y"]) == {"pop": "pop_rock", "rock": "pop_rock", "y": "x"}


@pytest.mark.parametrize("text", ["pop_rock", "=pop", "pop_rock=", "pop_rock=,"])
def test_a_join_that_says_nothing_is_refused(text):
    with pytest.raises(ConfigError, match="NEW=OLD,OLD"):
        parse_joins([text])


def test_one_label_cannot_become_two():
    with pytest.raises(ConfigError, match="'pop'"):
        parse_joins(["a=pop", "b=pop"])


def test_a_join_of_no_label_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="nothing became tone"):
        read(tables=[write_table(tmp_path)], join=["tone=lo"])


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"none\.csv: cannot be read"):
        read_table(tmp_path / "none.csv")


def test_a_table_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "tracks.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DatasetError, match="UTF-8 CSV"):
        read_table(tmp_path / "tracks.csv")


def test_missing_columns_are_listed_beside_those_there_are(tmp_path):
    with pytest.raises(DatasetError, match=r"\['style'\] missing; it has \['path', 'genre', 'artist', 'fold'\]"):
        read_table(write_table(tmp_path), label_column="style")


def test_missing_files_are_counted_and_three_are_named(tmp_path):
    rows = [row(f"gone/{n}.wav") for n in range(5)]
    with pytest.raises(DatasetError, match=r"5 of 5 audio files are missing: .*gone/0.*gone/1.*gone/2\.wav and 2 more"):
        read_table(write_table(tmp_path, rows, audio=False))


def test_a_fold_must_be_a_whole_number(tmp_path):
    with pytest.raises(DatasetError, match="line 3: expected a whole number from 0 as fold, got 'two'"):
        read_table(write_table(tmp_path, [row(), row(fold="two")]))


def test_a_table_without_any_label_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="all 2 are empty"):
        read_table(write_table(tmp_path, [row(genre=""), row(genre="")]))


def test_a_table_without_folds_leaves_them_open_and_read_tracks_draws_them(tmp_path):
    rows = [
        {key: value for key, value in row(f"low/{n}.wav", genre=label).items() if key != "fold"}
        for n, label in enumerate(["low", "high"] * 5)
    ]
    for n in range(10):
        write_wav(tmp_path / f"low/{n}.wav", [0.0])
    table = write_table(tmp_path, rows, audio=False)
    assert {track.fold for track in read_table(table)} == {NO_FOLD}
    tracks = read(tables=[table])
    assert sorted(track.fold for track in tracks if track.label == "low") == list(range(FOLDS))
    assert "random" in describe_folds(tracks)
    assert "artists not known" in describe_folds(tracks)


def test_the_words_on_folds_name_each_source_that_differs(tmp_path):
    given = read(tables=[write_table(tmp_path / "given")])
    assert describe_folds(given) == "folds as given"
    both = read(tables=[write_table(tmp_path / "given")], folders=[write_folders(tmp_path / "drawn")])
    assert describe_folds(both) == (
        "drawn: 5 random folds of each class (seed 0), artists not known; given: folds as given"
    )


def test_folders_give_even_folds_that_follow_from_the_seed(tmp_path):
    write_folders(tmp_path)
    tracks = read(folders=[tmp_path], seed=1)
    for label in LABELS:
        assert sorted(track.fold for track in tracks if track.label == label) == list(range(FOLDS))
    assert read(folders=[tmp_path], seed=1) == tracks
    assert read(folders=[tmp_path], seed=2) != tracks


def test_folders_need_two_classes_and_a_file_for_every_fold(tmp_path):
    with pytest.raises(DatasetError, match="sub-folder"):
        read_folders(tmp_path / "none")
    write_wav(tmp_path / "low/0.wav", [0.0])
    with pytest.raises(DatasetError, match="at least two classes"):
        read_folders(tmp_path)
    write_wav(tmp_path / "high/0.wav", [0.0])
    with pytest.raises(DatasetError, match=r"at least 5 tracks of every class.*high has 1, low has 1"):
        read(folders=[tmp_path])


def test_a_class_without_a_file_is_named_and_hidden_folders_are_not_classes(tmp_path):
    write_folders(tmp_path)
    (tmp_path / ".cache").mkdir()
    assert labels_of(read_folders(tmp_path)) == LABELS
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no audio in empty"):
        read_folders(tmp_path)


def test_nothing_to_read_is_refused():
    with pytest.raises(DatasetError, match="--table"):
        read(tables=[], join=[])
