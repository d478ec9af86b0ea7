"""Copies are found whatever was done to them, and other music is not taken for a copy."""

from dataclasses import replace

import numpy as np
import pytest
from audio_files import write_audio
from labelled_audio import clip, write_wav

from models.errors import DatasetError
from train import leakage, near_duplicates
from train.fingerprint import RATE_HZ, UNKNOWN, words_of
from train.leakage import find_copies, shared_groups, without_leaks
from train.leaks import Leaks
from train.near_duplicates import difference
from train.track import Track

MUSIC_HZ = 44_100


def music(number: int, *, seconds: float = 12.0) -> np.ndarray:
    """Chords that change every third of a second, with a beat: (frames, 1), other ones for another number."""
    random = np.random.default_rng(number)
    at = np.arange(round(MUSIC_HZ / 3)) / MUSIC_HZ
    chords = []
    for _ in range(round(seconds * 3)):
        notes = 55 * 2 ** (random.integers(12, 60, 4) / 12)
        chord = sum(np.sin(2 * np.pi * hz * k * at) / k for hz in notes for k in (1, 2, 3))
        chords.append(chord * np.exp(-at * 4) + 0.5 * random.standard_normal(len(at)) * np.exp(-at * 60))
    wave = np.concatenate(chords)
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)[:, None]


def tracks_of(*paths, group=""):
    return [Track(path, "x", fold, group=group) for fold, path in enumerate(paths)]


def check(tracks, tmp_path, leaks=Leaks.REFUSE):
    return without_leaks(tracks, cache=tmp_path / "cache", workers=0, leaks=leaks)


def pairs(tracks, tmp_path):
    return [
        (leak.first.path.name, leak.second.path.name, leak.common)
        for leak in find_copies(tracks, cache=tmp_path / "cache", workers=0)
    ]


@pytest.mark.parametrize("suffix", [".mp3", ".opus", ".m4a", ".flac"])
def test_another_codec_level_and_start_is_the_same_recording(tmp_path, suffix):
    wave = music(1)
    original = write_audio(tmp_path / "original.wav", wave, rate_hz=MUSIC_HZ)
    rate_hz = 48_000 if suffix == ".opus" else MUSIC_HZ
    changed = 0.3 * wave[round(1.77 * MUSIC_HZ) :]
    if rate_hz != MUSIC_HZ:
        positions = np.arange(0, len(changed), MUSIC_HZ / rate_hz)
        changed = np.interp(positions, np.arange(len(changed)), changed[:, 0]).astype(np.float32)[:, None]
    copy = write_audio(tmp_path / f"copy{suffix}", changed, rate_hz=rate_hz)
    other = write_audio(tmp_path / "other.wav", music(2), rate_hz=MUSIC_HZ)
    ((first, second, common),) = pairs(tracks_of(original, copy, other), tmp_path)
    assert (first, second) == ("original.wav", f"copy{suffix}")
    assert "sound the same" in common


def test_a_passage_of_a_longer_recording_is_found(tmp_path):
    wave = music(1, seconds=40)
    whole = write_audio(tmp_path / "whole.wav", wave, rate_hz=MUSIC_HZ)
    passage = write_audio(tmp_path / "passage.wav", wave[25 * MUSIC_HZ : 35 * MUSIC_HZ], rate_hz=MUSIC_HZ)
    assert [found[:2] for found in pairs(tracks_of(whole, passage), tmp_path)] == [("whole.wav", "passage.wav")]


def test_other_music_steady_tones_noise_and_silence_are_no_copies(tmp_path):
    paths = [write_audio(tmp_path / f"{n}.wav", music(n), rate_hz=MUSIC_HZ) for n in range(6)]
    for label in ("low", "high", "noise"):
        paths += [write_wav(tmp_path / f"{label}{n}.wav", clip(label, n, seconds=6.0)) for n in range(4)]
    paths += [write_wav(tmp_path / f"silent{n}.wav", np.zeros(50_000 + n)) for n in range(2)]
    assert pairs(tracks_of(*paths), tmp_path) == []


def test_equal_files_are_found_even_where_nothing_can_be_heard(tmp_path):
    paths = [write_wav(tmp_path / f"{n}.wav", np.zeros(50_000)) for n in range(3)]
    equal = [("0.wav", "1.wav", "equal files"), ("1.wav", "2.wav", "equal files")]
    assert pairs(tracks_of(*paths), tmp_path) == equal
    # In one fold they do no harm.
    assert pairs([Track(path, "x", 0) for path in paths], tmp_path) == []


def test_the_same_file_twice_is_named_once(tmp_path):
    path = write_wav(tmp_path / "song.wav", clip("low", 0))
    assert pairs([Track(path, "x", 0), Track(path, "x", 0), Track(path, "x", 1)], tmp_path) == [
        ("song.wav", "song.wav", "the same file")
    ]


def test_copies_are_refused_and_three_pairs_are_named(tmp_path):
    wave = music(3)
    paths = [write_audio(tmp_path / f"{n}.wav", wave[n * 1000 :], rate_hz=MUSIC_HZ) for n in range(4)]
    with pytest.raises(
        DatasetError, match=r"6 pairs of the same recording.*\(fold \d\) and .*and 3 more.*--leaks drop"
    ):
        check(tracks_of(*paths), tmp_path)


def test_of_copies_one_is_left_when_told_so(tmp_path, capsys):
    wave = music(3)
    paths = [write_audio(tmp_path / f"{n}.wav", wave[n * 1000 :], rate_hz=MUSIC_HZ) for n in range(7)]
    other = write_audio(tmp_path / "other.wav", music(4), rate_hz=MUSIC_HZ)
    kept = check(tracks_of(*paths, other), tmp_path, Leaks.DROP)
    assert len(kept) == 2
    assert kept[-1].path == other
    assert capsys.readouterr().err.count("left out") >= 6


def test_the_longer_of_two_copies_is_kept(tmp_path, capsys):
    cut_off = write_audio(tmp_path / "cut off.wav", music(3)[: 2 * MUSIC_HZ + MUSIC_HZ // 2], rate_hz=MUSIC_HZ)
    whole = write_audio(tmp_path / "whole.wav", music(3), rate_hz=MUSIC_HZ)
    for paths in ([cut_off, whole], [whole, cut_off]):
        kept = check(tracks_of(*paths), tmp_path, Leaks.DROP)
        assert [track.path for track in kept] == [whole]
        (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("left out")]
        assert said.startswith(f"left out {cut_off} (fold {paths.index(cut_off)}), kept {whole} (fold")


def test_a_fold_that_chance_chose_is_not_to_be_put_right(tmp_path):
    path = write_wav(tmp_path / "song.wav", clip("low", 0))
    given = [Track(path, "x", fold) for fold in range(2)]
    with pytest.raises(DatasetError, match=r"1 pair of .*\. Put each pair in one fold, or give --leaks drop"):
        check(given, tmp_path)
    drawn = [replace(track, chosen="2 random folds") for track in given]
    with pytest.raises(DatasetError, match=r"1 pair of .*\. Remove one of each, or give --leaks drop"):
        check(drawn, tmp_path)


def test_leaks_can_be_allowed(tmp_path, monkeypatch):
    path = write_wav(tmp_path / "song.wav", clip("low", 0))
    monkeypatch.setattr(leakage, "find_copies", lambda *_, **__: pytest.fail("looked"))
    tracks = tracks_of(path, path, group="A")
    assert check(tracks, tmp_path, Leaks.ALLOW) == tracks


@pytest.mark.parametrize("leaks", [Leaks.REFUSE, Leaks.DROP])
def test_an_artist_in_two_folds_is_refused(tmp_path, leaks):
    paths = [write_wav(tmp_path / f"{n}.wav", clip("low", n)) for n in range(2)]
    tracks = [Track(paths[0], "x", 0, group="Somebody"), Track(paths[1], "x", 3, group="SOMEBODY")]
    assert shared_groups(tracks) == ["'Somebody' in folds [0, 3]"]
    with pytest.raises(DatasetError, match=r"1 group \(artists\).*'Somebody' in folds \[0, 3\]"):
        check(tracks, tmp_path, leaks)
    apart = [Track(path, "x", fold) for fold, path in enumerate(paths)]
    assert check(apart, tmp_path, leaks) == apart  # no artist is no group


def test_a_file_that_does_not_decode_is_passed_over(tmp_path):
    text = tmp_path / "text.wav"
    text.write_text("not audio")
    tracks = tracks_of(text, write_wav(tmp_path / "song.wav", clip("low", 0)))
    assert check(tracks, tmp_path) == tracks


def test_a_sparse_index_still_finds_copies(tmp_path, monkeypatch):
    monkeypatch.setattr(near_duplicates, "INDEXED_AT_MOST", 250)
    wave = music(5, seconds=30)
    paths = [write_audio(tmp_path / f"{n}.wav", wave[n * 700 :], rate_hz=MUSIC_HZ) for n in range(2)]
    assert len(pairs(tracks_of(*paths), tmp_path)) == 1


def test_fingerprints_of_what_says_nothing():
    assert len(words_of(np.zeros(100, dtype=np.float32))) == 0
    assert set(words_of(np.zeros(RATE_HZ * 3, dtype=np.float32)).tolist()) == {int(UNKNOWN)}


def test_too_little_in_common_is_not_compared():
    words = words_of(np.random.default_rng(0).standard_normal(RATE_HZ * 10).astype(np.float32))
    assert difference(words, words, shift=0) == 0.0
    assert difference(words, words, shift=len(words) - 5) == 1.0
    assert difference(words, words, shift=-len(words) - 5) == 1.0
    assert 0.3 < difference(words, words, shift=40) < 0.7


def test_files_of_nothing_are_no_copies(tmp_path):
    empty = [tmp_path / f"{number}.mp3" for number in range(2)]
    for path in empty:
        path.write_bytes(b"")
    tracks = tracks_of(*empty)
    assert check(tracks, tmp_path) == tracks
