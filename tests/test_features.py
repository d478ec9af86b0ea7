"""Which files' features are used, and how the others are named."""

import numpy as np
import pytest
from labelled_audio import clip, write_wav

from models.audio import load
from models.errors import DatasetError
from models.frontend import features
from models.recode import Recoding, recode
from train.features import LEAST_S, read_features
from train.recipes import make_recipe
from train.track import Track


def read(recipe, paths, cache):
    tracks = [Track(path, "low", 0) for path in paths]
    return read_features(recipe.inputs, recipe.window_spec, tracks, cache=cache, workers=0)


@pytest.mark.parametrize("name", ["xu", "benito-both"])
def test_near_nothing_is_not_repeated_into_a_window(tmp_path, name, capsys):
    click = write_wav(tmp_path / "click.wav", np.full(100, 0.5))
    short = write_wav(tmp_path / "short.wav", clip("low", 0, seconds=0.8 * LEAST_S))
    enough = write_wav(tmp_path / "enough.wav", clip("low", 0, seconds=1.1 * LEAST_S))
    recipe = make_recipe(name)
    assert recipe.window_spec.short == "tile"
    assert recipe.window_s > 1.1 * LEAST_S
    read_ = read(recipe, [click, short, enough], tmp_path / "cache")
    assert list(read_.features) == [enough]
    said = capsys.readouterr().err
    for path in (click, short):
        assert f"skipped: {path}: shorter than " in said
    assert "skipped 2 of 3 files" in said
    with pytest.raises(DatasetError, match=r"none of 1 audio files can be used: .*click\.wav: shorter than"):
        read(recipe, [click], tmp_path / "cache")


def test_hundreds_that_are_missing_are_summed_up(tmp_path, capsys):
    song = write_wav(tmp_path / "song.wav", clip("low", 0))
    missing = [tmp_path / f"{number}.wav" for number in range(120)]
    read_ = read(make_recipe("xu"), [song, *missing], tmp_path / "cache")
    assert list(read_.skipped) == missing
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("skipped")]
    assert len(said) == 22
    assert "0.wav" in said[0]
    assert said[-2:] == ["skipped: ... and 100 more", "skipped 120 of 121 files"]


def test_recoded_features_are_what_the_front_end_makes_of_a_lossy_codec_of_as_many_frames(tmp_path):
    song, broken = write_wav(tmp_path / "song.wav", clip("noise", 0)), tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    recipe = make_recipe("base")
    (spec,) = recipe.inputs
    tracks = [Track(path, "low", 0) for path in (song, broken)]
    low = Recoding("opus", 16)
    read_ = read_features(
        recipe.inputs, recipe.window_spec, tracks, cache=tmp_path / "cache", workers=0, recodings=(low,)
    )
    assert list(read_.skipped) == [broken]
    (recoded,) = read_.recoded
    assert list(recoded) == [song]
    heard = recode(load(song, spec.sample_rate_hz), spec.sample_rate_hz, codec="opus", kbit_s=16)
    np.testing.assert_allclose(recoded[song][0], features(heard, spec), atol=1e-4)
    assert recoded[song][0].shape == read_.features[song][0].shape
    assert np.abs(recoded[song][0] - read_.features[song][0]).mean() > 0.01
