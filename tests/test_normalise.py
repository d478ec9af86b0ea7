"""The normalising layers: streamed fits agree with whole ones, and what was fitted is what is applied."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.errors import DatasetError
from models.normalise import Normaliser, Standardise, UnitRange

BANDS = 5


def training_frames() -> torch.Tensor:
    """Mel-like: each band at its own level, the last above the bandwidth of every file."""
    frames = torch.randn(500, BANDS, generator=torch.Generator().manual_seed(0))
    frames = frames * torch.linspace(0.5, 3, BANDS) + torch.linspace(-80, 1, BANDS)
    frames[:, -1] = -100.0
    return frames


@pytest.mark.parametrize("normaliser", [Standardise(BANDS), UnitRange()])
def test_unfitted_it_is_the_identity_and_keeps_the_shape(normaliser: Normaliser) -> None:
    features = torch.rand(2, BANDS, 7)
    assert torch.equal(normaliser(features), features)


def test_standardise_centres_each_band() -> None:
    frames = training_frames()
    normaliser = Standardise(BANDS)
    normaliser.fit([frames])
    after = normaliser(frames.T[None])[0]
    assert torch.allclose(after.mean(1), torch.zeros(BANDS), atol=1e-3)
    assert torch.allclose(after[:-1].std(1, correction=0), torch.ones(BANDS - 1), atol=1e-3)
    assert not after[-1].any()


@given(cuts=st.lists(st.integers(0, 500), max_size=6).map(sorted))
def test_chunks_make_no_difference(cuts: list[int]) -> None:
    frames = training_frames()
    ends = [*cuts, len(frames)]
    for whole, streamed in ((Standardise(BANDS), Standardise(BANDS)), (UnitRange(), UnitRange())):
        whole.fit([frames])
        streamed.fit(frames[start:end] for start, end in zip([0, *cuts], ends, strict=True))
        for name, expected in whole.state_dict().items():
            assert torch.allclose(streamed.state_dict()[name], expected, rtol=1e-6)


def test_a_million_frames_far_from_zero_keep_their_digits() -> None:
    chunk = torch.tensor([[-500.0], [-500.5]]).repeat(5_000, 1)
    normaliser = Standardise(1)
    normaliser.fit(chunk for _ in range(100))
    assert normaliser.mean.item() == pytest.approx(-500.25, rel=1e-7)
    assert normaliser.deviation.item() == pytest.approx(0.25, rel=1e-6)


def test_unit_range_takes_the_training_extremes_to_zero_and_one_and_clamps() -> None:
    frames = training_frames()
    normaliser = UnitRange()
    normaliser.fit([frames])
    after = normaliser(frames.T[None])
    assert after.min() == 0.0
    assert after.max() == 1.0
    beyond = torch.tensor([[[-1e4, (frames.min() + frames.max()) / 2, 1e4]]])
    assert torch.allclose(normaliser(beyond), torch.tensor([[[0.0, 0.5, 1.0]]]))


def test_features_that_never_move_stay_finite() -> None:
    normaliser = UnitRange()
    normaliser.fit([torch.full((10, BANDS), -100.0)])
    assert not normaliser(torch.full((1, BANDS, 3), -100.0)).any()


@pytest.mark.parametrize("chunks", [[], [torch.zeros(0, BANDS)]])
@pytest.mark.parametrize("normaliser", [Standardise(BANDS), UnitRange()])
def test_nothing_to_fit_is_an_error(normaliser: Normaliser, chunks: list[torch.Tensor]) -> None:
    with pytest.raises(DatasetError, match="at least one frame"):
        normaliser.fit(chunks)


def test_what_is_fitted_is_saved_and_not_trained() -> None:
    for normaliser in (Standardise(BANDS), UnitRange()):
        assert len(normaliser.state_dict()) == 2
        assert not list(normaliser.parameters())
