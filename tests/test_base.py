"""genrescope-base: its size, its shapes, and what it must tell apart."""

from __future__ import annotations

import pytest
import torch

from models.base import BaseNetwork
from models.errors import ConfigError
from train.recipes import make_recipe


def network(**settings: int) -> BaseNetwork:
    torch.manual_seed(0)
    return BaseNetwork(bands=80, frames=138, heads={"genre": 10, "mood": 4}, **settings).eval()


def test_it_is_small() -> None:
    assert sum(values.numel() for values in network().parameters()) < 5_000_000


def test_its_maps_are_halved_four_times_and_summed_up_over_time() -> None:
    ours = network(width=8, embedding=32)
    maps = ours.blocks(ours.stem(torch.zeros(2, 1, 80, 138)) + ours.band_bias)
    assert maps.shape == (2, 48, 5, 9)
    assert ours.embed(torch.zeros(2, 80, 138)).shape == (2, 32)


def test_answers_are_those_of_the_embedding() -> None:
    windows = torch.randn(3, 80, 138)
    ours = network()
    for name, logits in ours(windows).items():
        torch.testing.assert_close(logits, ours.answer(ours.embed(windows))[name])


def test_each_window_is_judged_by_itself() -> None:
    windows, ours = torch.randn(3, 80, 138), network()
    torch.testing.assert_close(ours.embed(windows)[1:2], ours.embed(windows[1:2]), atol=1e-5, rtol=1e-4)


def test_louder_music_is_the_same_picture() -> None:
    windows, ours = torch.randn(3, 80, 138), network()
    picture = []
    ours.stem.register_forward_hook(lambda _layer, _given, maps: picture.append(maps))
    ours.embed(windows)
    ours.embed(windows + 1.0)  # log10 of power: ten decibels
    torch.testing.assert_close(picture[1], picture[0], atol=1e-4, rtol=1e-4)
    assert not torch.equal(ours.embed(windows), ours.embed(windows + 1.0))  # but it is told that it is louder


@pytest.mark.parametrize("shape", [(15, 138), (80, 31)])
def test_an_input_too_small_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=f"{shape[0]} mel bands x {shape[1]} frames"):
        BaseNetwork(bands=shape[0], frames=shape[1], heads={"genre": 2})


def test_its_window_is_2_8_seconds_below_8_khz() -> None:
    recipe = make_recipe("base")
    (spec,) = recipe.inputs
    assert (spec.fmax_hz, recipe.window_s) == (8_000, pytest.approx(2.804))
