import os
import pickle
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from labelled_audio import clip, write_wav

from models import audio, frontend
from models.errors import DatasetError
from models.spec import Magnitude
from train import features_cache
from train.array_cache import key_of
from train.features_cache import FeatureCache
from train.recipes import make_recipe
from train.shards import read_index

SPEC = make_recipe("lidy-parallel").inputs[0]


@pytest.fixture
def song(tmp_path):
    return write_wav(tmp_path / "song.wav", clip("low", 0))


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "cache", SPEC)


def load(cache, *paths, min_frames=80, workers=0):
    return cache.load_all(list(paths), min_frames=min_frames, workers=workers)


def nothing_is_decoded(monkeypatch):
    monkeypatch.setattr(audio, "Decoder", lambda *_: pytest.fail("decoded again"))


def test_features_are_those_of_live_audio_and_are_kept(cache, song, monkeypatch):
    expected = frontend.features(audio.load(song, SPEC.sample_rate_hz), SPEC)
    np.testing.assert_array_equal(load(cache, song).features[song], expected)
    nothing_is_decoded(monkeypatch)
    kept = load(cache, song).features[song]
    np.testing.assert_array_equal(kept, expected)
    assert kept.dtype == np.float32
    assert not kept.flags.writeable


def test_a_long_file_in_pieces_is_the_same_as_whole(cache, song, monkeypatch):
    monkeypatch.setattr(features_cache, "_SAMPLES_AT_ONCE", 10_000)
    expected = frontend.features(audio.load(song, SPEC.sample_rate_hz), SPEC)
    np.testing.assert_allclose(load(cache, song).features[song], expected, atol=1e-4)


def test_two_processes_give_the_same_and_pass_only_places(cache, tmp_path):
    songs = [write_wav(tmp_path / f"{n}.wav", clip("noise", n)) for n in range(5)]
    loaded = load(cache, *songs, workers=2)
    assert list(loaded.features) == songs
    for path in songs:
        expected = frontend.features(audio.load(path, SPEC.sample_rate_hz), SPEC)
        np.testing.assert_array_equal(loaded.features[path], expected)
    assert len(list(cache.folder.glob("*.data"))) <= 2  # one a process, not one a file


def test_concurrent_runs_share_a_folder(cache, song, tmp_path):
    other = write_wav(tmp_path / "other.wav", clip("high", 0))
    early = FeatureCache(tmp_path / "cache", SPEC)
    first = load(cache, song)
    # This one has opened its folder before, and reads what the other has written since.
    np.testing.assert_array_equal(load(early, song, other).features[song], first.features[song])
    assert len(read_index(cache.folder)) == 2


def test_looked_up_features_can_travel_to_other_processes(cache, song):
    features = load(cache, song).features
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(features))[song], features[song])


def test_a_stopped_run_goes_on_where_it_was(cache, tmp_path, monkeypatch):
    songs = [write_wav(tmp_path / f"{n}.wav", clip("low", n)) for n in range(3)]

    class StopError(Exception):
        pass

    real, decoded = audio.Decoder, []

    def stop_at_the_third(path):
        if len(decoded) == 2:
            raise StopError
        decoded.append(path)
        return real(path)

    monkeypatch.setattr(audio, "Decoder", stop_at_the_third)
    with pytest.raises(StopError):
        load(cache, *songs)
    monkeypatch.setattr(audio, "Decoder", lambda path: decoded.append(path) or real(path))
    assert list(load(cache, *songs).features) == songs
    assert decoded == songs


def test_another_file_spec_or_code_is_another_entry(cache, song, monkeypatch):
    assert FeatureCache(cache.folder.parent, SPEC.model_copy(update={"n_mels": 80})).folder != cache.folder
    key = key_of(song)
    write_wav(song, clip("low", 1))
    assert key_of(song) != key
    monkeypatch.setattr(features_cache, "_code_version", lambda: "newer")
    assert FeatureCache(cache.folder.parent, SPEC).folder != cache.folder


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "gone", "torn line", "foreign line", "cut number"])
def test_a_damaged_entry_is_made_again(cache, song, damage, monkeypatch):
    expected = np.array(load(cache, song).features[song])
    (data,), (index,) = cache.folder.glob("*.data"), cache.folder.glob("*.index")
    whole = bytearray(data.read_bytes())
    if damage == "truncated":
        data.write_bytes(whole[:-1])
    elif damage == "empty":
        data.write_bytes(b"")
    elif damage == "flipped":
        whole[len(whole) // 2] ^= 0x10
        data.write_bytes(whole)
    elif damage == "gone":
        data.unlink()
    elif damage == "torn line":
        index.write_bytes(index.read_bytes()[:40])
    elif damage == "cut number":
        index.write_bytes(index.read_bytes()[:-2])
    else:
        index.write_bytes(b"\xff\x00 1 2\nfoo\n" + key_of(song).encode() + b" -4 3 7\n")
    made = []
    real = audio.Decoder
    monkeypatch.setattr(audio, "Decoder", lambda path: made.append(path) or real(path))
    np.testing.assert_array_equal(load(cache, song).features[song], expected)
    assert made == [song]
    nothing_is_decoded(monkeypatch)
    np.testing.assert_array_equal(load(cache, song).features[song], expected)


def test_a_shard_is_closed_when_it_is_full(cache, tmp_path, monkeypatch):
    monkeypatch.setattr("train.shards.SHARD_BYTES", 1)
    songs = [write_wav(tmp_path / f"{n}.wav", clip("low", n)) for n in range(3)]
    load(cache, *songs)
    assert len(list(cache.folder.glob("*.data"))) == 3
    assert list(load(cache, *songs).features) == songs


def test_bad_and_short_files_are_skipped_with_the_reason(cache, song, tmp_path):
    text = tmp_path / "text.wav"
    text.write_text("not audio")
    short = write_wav(tmp_path / "short.wav", clip("low", 0, seconds=1.0))
    gone = tmp_path / "gone.wav"
    loaded = load(cache, song, text, short, gone)
    assert list(loaded.features) == [song]
    assert "text.wav" in loaded.skipped[text]
    assert "shorter than 2.82 s, the least that is used" in loaded.skipped[short]
    assert "no such file" in loaded.skipped[gone]
    assert list(load(cache, song, short, min_frames=1).features) == [song, short]


def test_a_file_that_breaks_in_the_middle_leaves_nothing(cache, song, tmp_path, monkeypatch):
    broken = write_wav(tmp_path / "broken.wav", clip("low", 1))
    real = features_cache.mono_pieces

    def breaking(path, rate_hz, *, at_least):
        for piece in real(path, rate_hz, at_least=10_000):
            yield piece
            if path == broken:
                raise features_cache.audio.AudioError("it broke")

    monkeypatch.setattr(features_cache, "mono_pieces", breaking)
    loaded = load(cache, broken, song)
    assert loaded.skipped == {broken: "it broke"}
    (data,) = cache.folder.glob("*.data")
    assert data.stat().st_size == loaded.features[song].nbytes


def test_nothing_usable_is_an_error(cache, tmp_path):
    text = tmp_path / "text.wav"
    text.write_text("not audio")
    with pytest.raises(DatasetError, match=r"none of 1 audio files can be used: .*text\.wav"):
        load(cache, text)
    assert not list(cache.folder.glob("*"))  # no empty shard is left


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs limits of a process, which this system has not")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_full_disk_is_one_clear_error_and_leaves_nothing_half_written(tmp_path, workers):
    songs = [write_wav(tmp_path / f"{n}.wav", clip("noise", n)) for n in range(5)]
    # The limit on a file's size stands in for a full disk: one file of magnitudes fits, the next does not.
    script = f"""
        import resource, sys
        from pathlib import Path
        from models.errors import DatasetError
        from models.spec import Magnitude
        from train.features_cache import FeatureCache

        if __name__ == "__main__":
            resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
            songs = [Path(path) for path in sys.argv[1:]]
            spec = Magnitude(sample_rate_hz=22_050, n_fft=2048, hop_samples=1024)
            try:
                FeatureCache(Path({str(tmp_path / "cache")!r}), spec).load_all(songs, min_frames=1, workers={workers})
            except DatasetError as error:
                print(error)
    """
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(script))
    environment = {**os.environ, "PYTHONPATH": str(Path(features_cache.__file__).parents[1])}
    result = subprocess.run(
        [sys.executable, program, *songs], capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    assert "no room left" in result.stdout, result.stderr
    assert re.search(r"at least \d+\.\d kB .* [GM]B free", result.stdout)
    assert "files are done and kept, the others need about" in result.stdout
    assert "Traceback" not in result.stderr
    spec = Magnitude(sample_rate_hz=22_050, n_fft=2048, hop_samples=1024)
    folder = FeatureCache(tmp_path / "cache", spec).folder
    records = read_index(folder)
    assert records
    kept = sum(record.rows * spec.bands * 4 for record in records.values())
    assert sum(path.stat().st_size for path in folder.glob("*.data")) == kept
