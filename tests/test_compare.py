import json

import numpy as np
import pytest
from records import LABELS, file, random_record, record

import genrescope
from train.compare import compare
from train.record import RecordError, read_record


def pair(only_a, only_b, both, neither):
    """Records of two networks by the files on which each is right."""
    rights = [(True, False)] * only_a + [(False, True)] * only_b + [(True, True)] * both + [(False, False)] * neither
    sides = []
    for side in (0, 1):
        files = [
            file(f"{number}.mp3", LABELS[number % 3], LABELS[number % 3 if right[side] else (number + 1) % 3])
            for number, right in enumerate(rights)
        ]
        sides.append([record(files, name="AB"[side] + "-net")])
    return sides


def test_a_real_difference_is_named_with_its_size():
    found = compare(*pair(5, 30, 60, 25))
    assert found.real
    assert found.files == 120
    assert (found.only_a_right, found.only_b_right) == (5, 30)
    assert found.accuracy.difference == pytest.approx(25 / 120)
    # McNemar's exact p: twice the chance of 5 or fewer heads in 35 tosses.
    assert found.p == pytest.approx(2.2e-5, rel=0.05)
    spread = np.sqrt((35 / 120 - (25 / 120) ** 2) / 120)
    assert found.accuracy.interval.low == pytest.approx(25 / 120 - 1.96 * spread, abs=0.01)
    assert found.accuracy.interval.high == pytest.approx(25 / 120 + 1.96 * spread, abs=0.01)
    assert found.sentence.startswith("The difference is real: B-net is better than A-net by 20.8 points")
    assert found.caution.startswith("Only one seed of A and of B: ")
    assert found.discordance.startswith("Only A right: 5 files, only B right: 30. McNemar's exact test")


def test_the_better_one_is_named_whichever_side_it_stands_on():
    a, b = pair(5, 30, 60, 25)
    assert "B-net is better than A-net" in compare(b, a).sentence
    assert compare(b, a).accuracy.difference == pytest.approx(-compare(a, b).accuracy.difference)


def test_chance_is_called_chance():
    found = compare(*pair(10, 13, 60, 25))
    assert not found.real
    assert found.sentence.startswith("No difference is shown")
    assert found.accuracy.interval.low < 0 < found.accuracy.interval.high


def test_networks_that_answer_alike_do_not_differ():
    found = compare(*pair(0, 0, 30, 10))
    assert (found.real, found.p, found.accuracy.interval, found.accuracy.difference) == (False, 1.0, None, 0.0)


def test_chance_alone_is_seldom_called_real():
    calls = [
        compare([random_record(0.6, draw=2 * draw)], [random_record(0.6, draw=2 * draw + 1)]).real for draw in range(40)
    ]
    assert sum(calls) <= 6


def test_classes_are_compared_too():
    found = compare(*pair(6, 30, 60, 24))
    assert [line.name for line in found.recall] == list(LABELS)
    assert sum(line.files for line in found.recall) == found.files
    weighted = sum(line.difference * line.files for line in found.recall) / found.files
    assert weighted == pytest.approx(found.accuracy.difference)


def test_labels_in_another_order_are_the_same_labels():
    turned = ("c", "a", "b")
    a = [record([file("x", "a", "b"), file("y", "b", "b"), file("z", "c", "a")])]
    same = [
        record(
            [file(each.name, each.label, LABELS[each.live.given], labels=turned) for each in a[0].files], labels=turned
        )
    ]
    found = compare(a, same)
    assert found.accuracy.difference == 0.0
    assert (found.only_a_right, found.only_b_right) == (0, 0)


def test_folds_and_seeds_are_compared_together():
    def run(accuracy, seeds, draw):
        return [
            random_record(accuracy, files=60, start=60 * fold, seed=seed, fold=fold, draw=draw)
            for seed in range(seeds)
            for fold in range(3)
        ]

    found = compare(run(0.5, 3, 1), run(0.8, 2, 2))
    assert found.real
    assert found.seeds == (3, 2)
    assert found.test == "exact sign test"
    assert found.files == 180
    assert found.caution == ""
    assert found.discordance.startswith(
        f"Right with more of its seeds: A on {found.only_a_right} files, B on {found.only_b_right}."
    )
    lone = compare(run(0.5, 3, 1), run(0.8, 1, 2))
    assert lone.caution.startswith("Only one seed of B: ")
    assert lone.test == "exact sign test"


def test_a_network_beside_itself_gives_the_same_answers(tmp_path, capsys):
    a, b = pair(3, 4, 20, 10)
    found = compare(a, a)
    assert found.alike
    assert found.sentence == "A (A-net) and B (A-net) give the same answers on all 37 files: nothing tells them apart."
    assert not compare(a, b).alike
    # Both wrong on every file, but not with the same labels.
    mistaken = [[record([file(f"{n}", "a", label) for n in range(9)])] for label in "bc"]
    assert not compare(*mistaken).alike
    seeds = [random_record(0.5, seed=seed) for seed in range(2)]
    assert compare(seeds, seeds).alike
    assert not compare(seeds, seeds[:1]).alike
    path = a[0].write(tmp_path / "a.json")
    genrescope.app(["compare", str(path), str(path)], standalone_mode=False)
    said = capsys.readouterr().out
    assert said.count("none\n") == 5
    assert "none: no interval" in said


def test_the_test_says_that_it_takes_files_by_themselves_where_the_intervals_do_not():
    def side(given):
        return [record([file(f"{n}", "a", label, group=f"artist {n // 2}") for n, label in enumerate(given)])]

    grouped = compare(side("aabbab"), side("abbbaa"))
    assert grouped.grouped
    assert grouped.discordance.endswith("while the intervals draw the files of one group (an artist's) together.")
    assert compare(*pair(5, 3, 10, 2)).discordance.endswith("takes each file by itself.")


def test_a_model_file_is_no_record(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08\xff")
    with pytest.raises(RecordError, match="this is a model file; evaluate it with --report first"):
        read_record(path)


def test_the_published_decision_can_be_compared():
    a = [record([file(f"{n}", "a", "a", published="b") for n in range(20)])]
    b = [record([file(f"{n}", "a", "a") for n in range(20)])]
    assert compare(a, b).accuracy.difference == 0.0
    assert compare(a, b, decision="published").accuracy.difference == 1.0


def test_other_labels_files_or_truths_are_refused_by_name():
    a = [record([file("x", "a", "a"), file("y", "b", "b")])]
    four = (*LABELS, "d")
    with pytest.raises(RecordError, match="A lacks d"):
        compare(a, [record([file("x", "a", "a", labels=four)], labels=four)])
    with pytest.raises(RecordError, match=r"share none: A has x, y; B has z"):
        compare(a, [record([file("z", "a", "a")])])
    more = [record([file("x", "a", "a"), file("z", "b", "b")])]
    with pytest.raises(RecordError, match=r"1 only in A \(y\); 1 only in B \(z\); --common-only compares the 1"):
        compare(a, more)
    assert compare(a, more, common_only=True).files == 1
    with pytest.raises(RecordError, match=r"1 files differ: y \(b in A, c in B\)"):
        compare(a, [record([file("x", "a", "a"), file("y", "c", "b")])])


def test_the_command(tmp_path, capsys):
    for side, records in zip("ab", pair(5, 30, 60, 25), strict=True):
        records[0].write(tmp_path / f"{side}.json")
    paths = [str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    genrescope.app(["compare", *paths], standalone_mode=False)
    said = capsys.readouterr().out
    assert "The difference is real" in said
    assert "+20.8" in said
    genrescope.app(["compare", "--json", *paths], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert found["real"] is True
    assert found["accuracy"]["difference"] == pytest.approx(25 / 120)
    assert len(found["accuracy"]["interval"]) == 2
    assert [line["name"] for line in found["recall"]] == list(LABELS)
