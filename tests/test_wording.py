"""Numbers in sentences."""

import pytest

from train.wording import counted, size_of


@pytest.mark.parametrize(("number", "words"), [(0, "0 pairs"), (1, "1 pair"), (2, "2 pairs")])
def test_one_is_no_plural(number, words):
    assert counted(number, "pair") == words


@pytest.mark.parametrize(
    ("count", "words"), [(3_400, "3.4 kB"), (12_000_000, "12.0 MB"), (2_500_000_000_000, "2,500.0 GB")]
)
def test_a_size_is_told_in_the_unit_that_suits_it(count, words):
    assert size_of(count) == words
