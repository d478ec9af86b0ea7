"""What is done to training windows: only what was asked for, and nothing that a recording could not be."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from models.frontend import band_centres_hz
from models.spec import LogMel
from train.augment import Augmentation

SPEC = LogMel(sample_rate_hz=16_000, n_fft=512, hop_samples=256, n_mels=40, fmax_hz=8_000, floor=1e-6)
NOTHING = Augmentation(SPEC)
LOWEST = -6.0


def windows(n: int = 8) -> Tensor:
    return torch.randn(n, 40, 60, generator=torch.Generator().manual_seed(1))


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def apply(augmentation: Augmentation, given: Tensor, seed: int = 0) -> Tensor:
    return augmentation.apply(given, (), drawn(seed))[0]


def test_nothing_asked_for_changes_nothing() -> None:
    answers = (torch.eye(8), torch.full((8, 2), torch.nan))
    changed, kept = NOTHING.apply(windows(), answers, drawn())
    torch.testing.assert_close(changed, windows())
    torch.testing.assert_close(kept, answers, equal_nan=True)


@given(
    st.builds(
        Augmentation,
        spec=st.sampled_from([SPEC, SPEC.model_copy(update={"unit": "dB"})]),
        gain_db=st.floats(0, 60),
        equaliser_db=st.floats(0, 20),
        room=st.floats(0, 1),
        behind=st.floats(0, 1),
        noise=st.floats(0, 1),
        bandwidth=st.floats(0, 1),
        small_speaker=st.floats(0, 1),
        masks=st.integers(0, 4),
        mixup=st.sampled_from([0.0, 0.1, 1.0, 4.0]),
    ),
    st.integers(1, 5),
    st.integers(0, 2**32),
)
def test_whatever_is_asked_for_gives_windows_that_follow_from_the_draw(
    augmentation: Augmentation, n: int, seed: int
) -> None:
    scale = 10 * augmentation.spec.per_decibel
    given = windows(n) * scale
    given[0] = LOWEST * scale  # digital silence
    answers = (torch.eye(n, 3),)
    changed, mixed = augmentation.apply(given, answers, drawn(seed))
    assert changed.shape == given.shape
    assert changed.isfinite().all()
    assert changed.min() >= LOWEST * scale * 1.000_01
    assert ((mixed[0] >= 0) & (mixed[0].sum(1, keepdim=True) <= 1.000_01)).all()
    again, _ = augmentation.apply(given, answers, drawn(seed))
    torch.testing.assert_close(again, changed)


def test_a_gain_moves_each_window_as_a_whole() -> None:
    moved = apply(replace(NOTHING, gain_db=10.0), windows()) - windows()
    level = moved.mean((1, 2))
    torch.testing.assert_close(moved, level[:, None, None].expand_as(moved), atol=1e-5, rtol=0)
    assert level.abs().max() <= 1.0  # 10 dB in log10 units
    assert level.unique().numel() == len(level)


def test_an_equaliser_is_a_curve_over_the_bands_that_does_not_move() -> None:
    curve = apply(replace(NOTHING, equaliser_db=6.0), windows()) - windows()
    torch.testing.assert_close(curve, curve[:, :, :1].expand_as(curve), atol=1e-5, rtol=0)
    assert curve[:, :, 0].std(1).min() > 0
    assert curve[:, :, 0].diff(dim=1).abs().max() < 0.3 * curve[:, :, 0].abs().max()


def test_a_room_only_adds_and_only_afterwards() -> None:
    click = torch.full((8, 40, 60), LOWEST)
    click[:, 7, 20] = 2.0
    heard = apply(replace(NOTHING, room=1.0), click)
    floors_echo = 0.2
    assert (heard[:, :, :20] < LOWEST + floors_echo).all()
    assert (heard[:, :7] < LOWEST + floors_echo).all()
    torch.testing.assert_close(heard[:, 7, 20], click[:, 7, 20])
    tail = heard[:, 7, 21:]
    assert (tail[:, 0] > LOWEST + floors_echo).all()
    assert (tail.diff(dim=1) < 0.01).all()
    echo = torch.pow(10.0, tail).sum(1) / 100
    assert ((echo > 10**-1.9) & (echo < 10**-0.2)).all()


def test_what_sounds_along_is_softer_and_of_the_same_batch() -> None:
    heard = apply(replace(NOTHING, behind=1.0), windows())
    added = torch.pow(10.0, heard) - torch.pow(10.0, windows())
    assert added.min() > -1e-4
    share = added.mean((1, 2)) / torch.pow(10.0, windows()).mean((1, 2))
    assert ((share > 10**-2.6) & (share < 10**-0.4)).all()


def test_noise_is_softer_and_steady() -> None:
    power = torch.pow(10.0, windows())
    added = torch.pow(10.0, apply(replace(NOTHING, noise=1.0), windows())) - power
    share = added.mean((1, 2)) / power.mean((1, 2))
    assert ((share > 10**-3.1) & (share < 10**-0.7)).all()
    loud = added[share > 0.01]  # the softest are lost in rounding
    fluctuates = loud.std(2) / loud.mean(2)
    assert ((fluctuates > 0.1) & (fluctuates < 0.6)).all()
    rises = loud.mean(2)[:, -1] > loud.mean(2)[:, 0]  # from a rumble to a hiss
    assert rises.any()
    assert not rises.all()


@pytest.mark.parametrize("name", ["noise", "small_speaker", "room", "behind", "bandwidth"])
def test_a_share_of_the_windows_is_changed(name: str) -> None:
    loud = windows(64) + 6
    changed = (apply(replace(NOTHING, **{name: 0.5}), loud) - loud).abs().amax((1, 2)) > 1e-4
    assert 16 < changed.sum() < 48


def test_a_narrower_bandwidth_takes_the_highest_bands_only() -> None:
    loud = windows() + 6  # far above the floor
    cut = loud - apply(replace(NOTHING, bandwidth=1.0), loud)
    assert (cut[:, :24].abs() < 1e-6).all()
    assert (cut.diff(dim=1).clamp_max(0).abs() < 1e-5).all()  # once cut, all above is
    assert cut.max() > 2.0


def test_a_small_speaker_takes_the_lowest_bands_only() -> None:
    loud = windows() + 12  # far above the floor
    taken = loud - apply(replace(NOTHING, small_speaker=1.0), loud)
    centres = torch.tensor(band_centres_hz(SPEC))
    assert (taken[:, centres > 800].abs() < 1e-5).all()
    assert (taken.diff(dim=1) < 1e-5).all()  # the lower, the more
    slope = (taken[:, 0] - taken[:, 1]) / (centres[1] / centres[0]).log2()
    slope = slope[taken[:, 1] > 0]  # decades an octave
    assert len(slope)
    assert ((slope > 0.89) & (slope < 2.41)).all()


def test_masks_hide_stretches_behind_the_mean() -> None:
    hidden = apply(replace(NOTHING, masks=1), windows())
    same = hidden == windows()
    share = same.float().mean((1, 2))
    assert ((share > 0.7) & (share <= 1.0)).all()
    assert share.min() < 1.0
    means = windows().mean((1, 2), keepdim=True).expand_as(hidden)
    torch.testing.assert_close(hidden[~same], means[~same])


def test_two_windows_as_one_share_what_is_known_of_both() -> None:
    labels, lessons = torch.eye(8), torch.arange(16.0).reshape(8, 2) + 1
    labels[3], lessons[5] = 0.0, torch.nan
    mixed, (targets, taught) = replace(NOTHING, mixup=1.0).apply(windows(), (labels, lessons), drawn())
    assert not torch.equal(mixed, windows())
    assert (targets[3] == 0).all()  # what is not known of the greater part is not known
    known = [row for row in range(8) if row != 3]
    assert (targets[known, known] >= 0.5).all()
    assert taught[5].isnan().all()
    row = next(row for row in known if 0.5 <= targets[row, row] < 0.95 and targets[row].sum() > 0.999)
    partner = int(targets[row].masked_fill(torch.arange(8) == row, 0).argmax())
    share = targets[row, row]
    torch.testing.assert_close(mixed[row], share * windows()[row] + (1 - share) * windows()[partner])


def test_the_draw_of_others_is_left_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    apply(replace(NOTHING, mixup=0.4), windows())
    torch.testing.assert_close(torch.rand(3), expected)


@pytest.mark.parametrize("unit", ["log10", "dB"])
def test_units_do_not_matter(unit: str) -> None:
    everything = replace(
        NOTHING,
        gain_db=6.0,
        equaliser_db=3.0,
        room=0.5,
        behind=0.5,
        noise=0.5,
        bandwidth=0.5,
        small_speaker=0.5,
        masks=2,
        mixup=0.4,
    )
    scale = 1.0 if unit == "log10" else 10.0
    other = replace(everything, spec=SPEC.model_copy(update={"unit": unit}))
    torch.testing.assert_close(
        apply(other, windows() * scale) / scale, apply(everything, windows()), atol=1e-4, rtol=1e-4
    )
