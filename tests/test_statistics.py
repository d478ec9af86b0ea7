import math

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from records import LABELS, file, random_record, record

from train.statistics import (
    Interval,
    arrange,
    bootstrap,
    confusion,
    exact_interval,
    figures,
    metrics,
    percentiles,
    spread,
    sums_by_file,
    units_of,
)


def drawn_from(records, name, *, seed=0, resamples=4000):
    units = units_of([records])
    return figures(bootstrap([arrange(records, "live", units)], seed=seed, resamples=resamples)[0])[name]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40))
def test_figures_are_those_of_scikit_learn(pairs):
    files = [file(str(number), LABELS[true], LABELS[given]) for number, (true, given) in enumerate(pairs)]
    found = figures(sums_by_file(record(files), "live").sum(axis=0))
    true, guess = zip(*pairs, strict=True)
    there = sorted(set(true))
    options = {"labels": [0, 1, 2], "average": None, "zero_division": np.nan}
    expected_f1 = sklearn.metrics.f1_score(true, guess, labels=there, average="macro", zero_division=0)
    assert found["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(true, guess))
    assert found["macro_f1"] == pytest.approx(expected_f1)
    expected_recall = sklearn.metrics.recall_score(true, guess, **options)
    np.testing.assert_allclose(found["recall"], expected_recall)
    np.testing.assert_allclose(found["precision"], sklearn.metrics.precision_score(true, guess, **options))
    assert found["balanced_accuracy"] == pytest.approx(np.nanmean(expected_recall))
    matrix = sklearn.metrics.confusion_matrix(true, guess, labels=[0, 1, 2])
    np.testing.assert_array_equal(confusion([record(files)], "live"), matrix)


def test_both_decisions_and_windows_are_counted():
    files = [file("x", "a", "a", published="b", windows=6), file("y", "b", "c", published="b", windows=2)]
    found = metrics(record(files))
    assert found["file_accuracy"] == 0.5
    assert found["published_accuracy"] == 0.5
    assert found["window_accuracy"] == 0.75
    assert "decided_accuracy" in found


def test_the_bootstrap_has_the_binomials_spread():
    accuracy = drawn_from([random_record(0.7, files=200)], "accuracy")
    share = figures(sums_by_file(random_record(0.7, files=200), "live").sum(axis=0))["accuracy"]
    assert accuracy.mean() == pytest.approx(share, abs=0.005)
    assert accuracy.std() == pytest.approx(math.sqrt(share * (1 - share) / 200), rel=0.1)


def test_the_bootstrap_is_that_of_drawing_files_one_by_one():
    one = random_record(0.6, files=30)
    sums = sums_by_file(one, "live")
    random = np.random.default_rng(5)
    plain = figures(np.array([sums[random.integers(30, size=30)].sum(axis=0) for _ in range(4000)]))["macro_f1"]
    ours = drawn_from([one], "macro_f1")
    np.testing.assert_allclose(
        np.quantile(ours, [0.025, 0.5, 0.975]), np.quantile(plain, [0.025, 0.5, 0.975]), atol=0.02
    )


def test_files_of_one_artist_are_drawn_together():
    def files(group):
        return [file(f"{number}", "a", "a" if number // 10 % 2 else "b", group=group(number)) for number in range(100)]

    alone = drawn_from([record(files(lambda number: ""))], "accuracy")
    together = drawn_from([record(files(lambda number: f"artist {number // 10}"))], "accuracy")
    # Ten artists, each wholly right or wrong: the spread of 10 draws, not of 100.
    assert alone.std() == pytest.approx(0.05, rel=0.1)
    assert together.std() == pytest.approx(math.sqrt(0.25 / 10), rel=0.1)


def test_seeds_that_disagree_widen_the_interval():
    same = [random_record(0.7, files=300, seed=seed, draw=0) for seed in (0,)]
    apart = [random_record(accuracy, files=300, seed=seed) for seed, accuracy in enumerate((0.5, 0.9))]
    assert drawn_from(apart, "accuracy").std() > 2 * drawn_from(same, "accuracy").std()


def test_the_same_seed_draws_the_same():
    records = [random_record(0.7)]
    np.testing.assert_array_equal(drawn_from(records, "accuracy", seed=3), drawn_from(records, "accuracy", seed=3))


def test_a_class_without_files_is_in_no_mean():
    found = metrics(record([file("x", "a", "a"), file("y", "b", "c")]))
    assert found["file_balanced_accuracy"] == 0.5
    assert found["file_macro_f1"] == 0.5
    assert all(math.isfinite(value) for value in found.values())


def test_intervals_at_the_ends_of_the_scale():
    assert percentiles(np.ones(100)) is None
    assert percentiles(np.array([np.nan, 1.0, np.nan])) is None
    interval = exact_interval(100, 100)
    assert interval.high == 1.0
    assert interval.low == pytest.approx(0.025 ** (1 / 100))


def test_spread_over_networks():
    plain = spread([0.5, 0.6, 0.7], shared=0.0)
    assert plain.mean == pytest.approx(0.6)
    assert plain.deviation == pytest.approx(0.1)
    # t(0.975, 2) = 4.3027
    assert plain.interval == pytest.approx(
        Interval(0.6 - 4.3027 * 0.1 / math.sqrt(3), 0.6 + 4.3027 * 0.1 / math.sqrt(3)), abs=1e-4
    )
    wider = spread([0.58, 0.6, 0.62], shared=0.25)
    assert wider.interval.high - 0.6 == pytest.approx(4.3027 * 0.02 * math.sqrt(1 / 3 + 0.25), abs=1e-4)
    assert spread([0.5], shared=0.0).interval is None
    assert spread([0.5, 0.5], shared=0.0) == (0.5, 0.0, None)
    assert spread([math.nan, 0.5], shared=0.0).mean == 0.5
