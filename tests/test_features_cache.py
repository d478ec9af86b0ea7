import numpy as np
import pytest
from labelled_audio import clip, write_wav

from models import audio, frontend
from models.errors import DatasetError
from train import features_cache
from train.features_cache import FeatureCache
from train.recipes import make_recipe

SPEC = make_recipe("lidy-parallel").feature_spec


@pytest.fixture
def song(tmp_path):
    return write_wav(tmp_path / "song.wav", clip("low", 0))


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "cache", SPEC)


def test_features_are_those_of_live_audio_and_are_kept(cache, song, monkeypatch):
    expected = frontend.features(audio.load(song, SPEC.sample_rate_hz), SPEC)
    first = cache.load_all([song], min_frames=80, workers=0).features[song]
    np.testing.assert_array_equal(first, expected)
    assert first.dtype == np.float32
    monkeypatch.setattr(audio, "load", lambda *_: pytest.fail("decoded again"))
    np.testing.assert_array_equal(cache.load_all([song], min_frames=80, workers=0).features[song], expected)
    assert [path.suffix for path in cache.folder.iterdir()] == [".npz"]  # nothing temporary is left


def test_two_processes_give_the_same(cache, song, tmp_path):
    other = write_wav(tmp_path / "other.wav", clip("noise", 0))
    both = cache.load_all([song, other], min_frames=80, workers=2)
    assert set(both.features) == {song, other}
    np.testing.assert_array_equal(both.features[other], cache.compute(other))


def test_another_file_spec_or_code_is_another_entry(cache, song, monkeypatch):
    entry = cache.entry(song)
    assert FeatureCache(cache.folder, SPEC.model_copy(update={"n_mels": 80})).entry(song) != entry
    write_wav(song, clip("low", 1))
    assert cache.entry(song) != entry
    entry = cache.entry(song)
    monkeypatch.setattr(features_cache, "_code_version", lambda: "newer")
    assert cache.entry(song) != entry


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "foreign", "other shape"])
def test_a_damaged_entry_is_made_again(cache, song, damage):
    expected = cache.compute(song)
    entry = cache.entry(song)
    whole = bytearray(entry.read_bytes())
    if damage == "truncated":
        entry.write_bytes(whole[: len(whole) // 2])
    elif damage == "empty":
        entry.write_bytes(b"")
    elif damage == "flipped":
        whole[len(whole) // 2] ^= 0x10
        entry.write_bytes(whole)
    elif damage == "foreign":
        np.savez(entry, something=np.zeros(3))
    else:
        np.savez(entry, features=np.zeros((3, 7), dtype=np.float32))
    assert cache.read(song) is None
    np.testing.assert_array_equal(cache.load_all([song], min_frames=80, workers=0).features[song], expected)
    np.testing.assert_array_equal(cache.read(song), expected)


def test_bad_and_short_files_are_skipped_with_the_reason(cache, song, tmp_path):
    text = tmp_path / "text.wav"
    text.write_text("not audio")
    short = write_wav(tmp_path / "short.wav", clip("low", 0, seconds=1.0))
    loaded = cache.load_all([song, text, short], min_frames=80, workers=0)
    assert set(loaded.features) == {song}
    assert "text.wav" in loaded.skipped[text]
    assert "shorter than one window of 2.82 s" in loaded.skipped[short]


def test_nothing_usable_is_an_error(cache, tmp_path):
    text = tmp_path / "text.wav"
    text.write_text("not audio")
    with pytest.raises(DatasetError, match=r"none of 1 audio files can be used: .*text\.wav"):
        cache.load_all([text], min_frames=80, workers=0)
