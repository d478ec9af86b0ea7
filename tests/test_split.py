from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_audio import write_table

from models.errors import ConfigError, DatasetError
from train.split import SIDE_FOLDS, assign_folds, parse_shares, split_by_fold
from train.tables import read_table
from train.track import NO_FOLD, Track


def loose(counts, *, groups=None):
    """Tracks without a fold: ``counts`` by label, ``groups`` by label the number of artists."""
    return [
        Track(Path(f"{label}/{n}.wav"), label, NO_FOLD, group=f"{label} {n % groups[label]}" if groups else "")
        for label, count in counts.items()
        for n in range(count)
    ]


def test_a_split_has_every_track_once(tmp_path):
    tracks = read_table(write_table(tmp_path))
    split = split_by_fold(tracks, test_fold=4, calibration_fold=3)
    assert {track.fold for track in split.training} == {0, 1, 2}
    assert {track.fold for track in split.calibration} == {3}
    assert {track.fold for track in split.test} == {4}
    assert len(split.training) + len(split.calibration) + len(split.test) == len(tracks)


def test_unknown_and_equal_folds_are_refused(tmp_path):
    tracks = read_table(write_table(tmp_path))
    with pytest.raises(DatasetError, match=r"test fold among \[0, 1, 2, 3, 4\], got 7"):
        split_by_fold(tracks, test_fold=7)
    with pytest.raises(DatasetError, match="got 4 for both"):
        split_by_fold(tracks, test_fold=4, calibration_fold=4)


def test_one_class_is_refused(tmp_path):
    tracks = [track for track in read_table(write_table(tmp_path)) if track.label == "low"]
    with pytest.raises(DatasetError, match="at least two classes, got low"):
        split_by_fold(tracks, test_fold=4)


def test_a_class_absent_from_a_side_is_named(tmp_path):
    tracks = [track for track in read_table(write_table(tmp_path)) if (track.label, track.fold) != ("low", 4)]
    with pytest.raises(DatasetError, match=r"the test side \(fold 4\) has no track of low"):
        split_by_fold(tracks, test_fold=4)
    only_there = [track for track in tracks if track.label != "low" or track.fold == 0]
    with pytest.raises(DatasetError, match="the training side has no track of low"):
        split_by_fold(only_there, test_fold=0)


@settings(max_examples=20)
@given(
    counts=st.dictionaries(st.sampled_from("abcd"), st.integers(5, 40), min_size=2),
    seed=st.integers(0, 2**32),
)
def test_every_class_is_spread_evenly_over_the_folds(counts, seed):
    tracks = assign_folds(loose(counts), folds=5, seed=seed)
    for label, count in counts.items():
        sizes = [sum(track.label == label and track.fold == fold for track in tracks) for fold in range(5)]
        assert sum(sizes) == count
        assert max(sizes) - min(sizes) <= 1


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32))
def test_a_group_stays_in_one_fold_and_every_fold_has_every_class(seed):
    tracks = assign_folds(loose({"a": 60, "b": 30, "c": 25}, groups={"a": 20, "b": 10, "c": 12}), folds=5, seed=seed)
    folds_of = {}
    for track in tracks:
        folds_of.setdefault(track.group, set()).add(track.fold)
    assert all(len(folds) == 1 for folds in folds_of.values())
    assert {(track.label, track.fold) for track in tracks} == {(label, fold) for label in "abc" for fold in range(5)}
    assert "no group (artist) in two" in tracks[0].chosen


def test_folds_that_are_given_stay():
    fixed = Track(Path("fixed.wav"), "a", 7)
    tracks = assign_folds([fixed, *loose({"a": 5, "b": 5})], folds=5, seed=0)
    assert tracks[0] is fixed
    assert NO_FOLD not in {track.fold for track in tracks}


def test_shares_become_sides():
    tracks = assign_folds(loose({"a": 100, "b": 200}), folds=5, shares=parse_shares("75/15/10"), seed=0)
    counts = {side: sum(track.fold == fold for track in tracks) for side, fold in SIDE_FOLDS.items()}
    assert counts == {"training": 225, "validation": 45, "test": 30}
    halves = assign_folds(loose({"a": 10, "b": 10}), folds=5, shares=parse_shares("80/20"), seed=0)
    assert sorted(track.fold for track in halves) == [0] * 16 + [4] * 4
    assert "random split 80/20" in halves[0].chosen


@pytest.mark.parametrize("text", ["", "80", "80/10", "50/25/15/10", "a/b", "100/0", "110/-10"])
def test_shares_must_add_up(text):
    with pytest.raises(ConfigError, match="add up to 100"):
        parse_shares(text)


def test_small_classes_are_named():
    with pytest.raises(DatasetError, match=r"at least 5 tracks of every class.*b has 1, c has 4: add some"):
        assign_folds(loose({"a": 5, "b": 1, "c": 4}), folds=5, seed=0)
    with pytest.raises(DatasetError, match=r"different groups \(artists\).*b has 3"):
        assign_folds(loose({"a": 10, "b": 10}, groups={"a": 10, "b": 3}), folds=5, seed=0)


def test_small_classes_are_told_of_shares_that_need_fewer():
    tracks = loose({"a": 30, "b": 12})
    told = (
        r"at least 20 tracks of every class.*b has 12: .*"
        r" or choose --shares of fewer equal parts than 20 \(80/20: 5, 80"
    )
    with pytest.raises(DatasetError, match=told) as caught:
        assign_folds(tracks, folds=5, shares=parse_shares("75/15/10"), seed=0)
    assert "--folds" not in str(caught.value)
    sides = [assign_folds(tracks, folds=5, shares=parse_shares(shares), seed=0) for shares in ("80/20", "80/10/10")]
    assert [len({(track.label, track.fold) for track in each}) for each in sides] == [4, 6]


def test_groups_that_cannot_be_spread_are_an_error():
    # Each class has two artists, and each two artists share a class: no way to put the three into two folds.
    made = {"a": "xy", "b": "xz", "c": "yz"}
    tracks = [Track(Path(f"{label}{name}"), label, NO_FOLD, group=name) for label in made for name in made[label]]
    with pytest.raises(
        DatasetError, match=r"cannot spread the classes over 2 parts.*fold \d without [abc]; choose fewer --folds"
    ):
        assign_folds(tracks, folds=2, seed=0)
