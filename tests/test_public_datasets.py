"""Data sets as they are unpacked: small folders with their true layout, names and tables, and real audio files."""

import csv
import hashlib
import tarfile
import threading
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import mirdata
import mirdata.core
import pytest
from labelled_audio import clip, write_wav

from models.errors import ConfigError, DatasetError
from train import public_datasets
from train.archives import ARCHIVES, Archive
from train.dataset import read_tracks
from train.features_cache import FeatureCache
from train.public_datasets import BALLROOM_DANCES, download, read_public
from train.recipes import make_recipe
from train.split import SIDE_FOLDS
from train.track import describe_folds, labels_of

GENRES = ("blues", "classical", "country", "disco", "hip-hop", "jazz", "metal", "pop", "reggae", "rock")


def gtzan(home: Path, *, genres: str = "gtzan_genre/genres", suffix: str = ".wav") -> Path:
    """The first file of each genre and of each side of the artist split, with the one that is broken."""
    wanted = {}
    for line in Path(public_datasets.__file__).with_name("gtzan_split.txt").read_text().splitlines():
        if not line.startswith("#"):
            side, stem = line.split()
            wanted.setdefault((stem.split(".")[0], side), stem)
    for stem in (*wanted.values(), "jazz.00054"):
        write_wav(home / genres / stem.split(".")[0] / f"{stem}{suffix}", clip("low", 0))
    (home / genres / f"jazz/jazz.00054{suffix}").write_bytes(b"\0" * 5_000)
    return home


def read(name, home, **given):
    defaults = {"tables": [], "folders": [], "label_column": "genre", "group_column": None, "join": [], "seed": 0}
    return read_tracks(**(defaults | given), datasets=[name], data_home=home)


def test_gtzan_has_the_published_artist_split(tmp_path):
    tracks = read("gtzan", gtzan(tmp_path))
    assert labels_of(tracks) == GENRES
    counts = Counter(track.fold for track in tracks)
    assert counts == {SIDE_FOLDS["training"]: 443, SIDE_FOLDS["validation"]: 197, SIDE_FOLDS["test"]: 290}
    assert describe_folds(tracks) == "fault-filtered artist split"
    # The file that does not decode is in the published lists too.
    assert sum(track.path.is_file() for track in tracks) == 31


def test_gtzan_at_random_says_random_and_its_broken_file_is_skipped_by_name(tmp_path):
    tracks = read("gtzan", gtzan(tmp_path), published_split=False, seed=3)
    assert len(tracks) == 1000
    assert Counter(track.fold for track in tracks) == dict.fromkeys(range(5), 200)
    assert "5 random folds of each class (seed 3), artists not known" in describe_folds(tracks)
    there = [track.path for track in tracks if track.path.is_file()]
    cache = FeatureCache(tmp_path / "cache", make_recipe("lidy-parallel").inputs[0])
    loaded = cache.load_all(there, min_frames=80, workers=0)
    assert [path.stem for path in loaded.skipped] == ["jazz.00054"]
    assert "could not decode" in next(iter(loaded.skipped.values()))


@pytest.mark.parametrize(("genres", "suffix"), [("genres", ".au"), ("Data/genres_original", ".wav")])
def test_gtzan_is_found_however_it_was_unpacked(tmp_path, genres, suffix):
    tracks = read("gtzan", gtzan(tmp_path, genres=genres, suffix=suffix))
    assert sum(track.path.is_file() for track in tracks) == 31


def test_one_of_two_files_of_a_name_is_not_taken_for_the_missing_one(tmp_path):
    gtzan(tmp_path, genres="genres")
    (rock, *_) = sorted(tmp_path.rglob("rock.*.wav"))
    write_wav(tmp_path / "other" / rock.name, clip("high", 0))
    tracks = read("gtzan", tmp_path)
    assert sum(track.path.is_file() for track in tracks) == 30
    assert not next(track.path for track in tracks if track.path.stem == rock.stem).is_file()


def test_a_class_without_audio_is_named(tmp_path):
    for path in gtzan(tmp_path).rglob("rock.*.wav"):
        path.unlink()
    with pytest.raises(DatasetError, match=r"audio of every class .* none of rock: .*--data-home"):
        read("gtzan", tmp_path)


def test_a_data_set_that_is_not_there_says_what_to_do(tmp_path):
    with pytest.raises(DatasetError, match=r"gtzan: expected its files in .*none: give --data-home.*--download"):
        read("gtzan", tmp_path / "none")


def test_an_unknown_data_set_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(ConfigError, match=r"gtzan, ballroom, fma-small, .*medley_solos_db.*got 'millions'"):
        read("millions", tmp_path)


def medley_solos(home: Path) -> Path:
    index = mirdata.initialize("medley_solos_db", data_home=str(home))
    ids = [next(each for each in index.track_ids if f"_{side}-" in index.track(each).audio_path)
           for side in ("training", "validation", "test")]  # fmt: skip
    (home / "annotation").mkdir(parents=True)
    with (home / "annotation/Medley-solos-DB_metadata.csv").open("w", newline="") as file:
        rows = csv.DictWriter(file, ["subset", "instrument", "instrument_id", "song_id", "uuid4"])
        rows.writeheader()
        for number, (side, track_id) in enumerate(zip(("training", "validation", "test"), ids, strict=True)):
            instrument = {"instrument": "flute", "instrument_id": 3, "song_id": number}
            rows.writerow({"subset": side, **instrument, "uuid4": track_id})
            write_wav(Path(index.track(track_id).audio_path), clip("low", number))
    return home


def test_another_data_set_of_mirdata_has_its_label_split_and_groups(tmp_path):
    tracks = read_public("medley-solos-db", data_home=medley_solos(tmp_path))
    assert [(track.label, track.group) for track in sorted(tracks, key=lambda track: track.group)] == [
        ("flute", f"medley_solos_db {number}") for number in range(3)
    ]
    assert sorted(track.fold for track in tracks) == [0, 3, 4]
    assert describe_folds(tracks) == "published split"
    loose = read_public("medley-solos-db", data_home=tmp_path, published_split=False)
    assert {(track.fold, track.chosen) for track in loose} == {(-1, "")}


def test_a_table_of_mirdata_that_is_missing_is_our_error(tmp_path):
    medley_solos(tmp_path)
    (tmp_path / "annotation/Medley-solos-DB_metadata.csv").unlink()
    with pytest.raises(DatasetError, match=r"medley_solos_db: mirdata cannot read .*Metadata not found"):
        read_public("medley-solos-db", data_home=tmp_path)


def test_an_attribute_that_is_none_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(
        ConfigError, match=r"--label-column to name an attribute .*got 'flavour'; there are .*audio_path"
    ):
        read_public("orchset", data_home=tmp_path, label_attribute="flavour")


def test_a_data_set_whose_reader_needs_another_package_says_which(tmp_path, monkeypatch):
    def not_installed(*_, **__):
        raise ModuleNotFoundError("No module named 'DALI'")

    monkeypatch.setattr(mirdata, "initialize", not_installed)
    with pytest.raises(ConfigError, match="dali: mirdata needs more packages for it: No module named 'DALI'"):
        read_public("dali", data_home=tmp_path)


def test_ballroom_is_read_by_its_dances(tmp_path):
    for number, dance in enumerate(BALLROOM_DANCES):
        write_wav(tmp_path / f"BallroomData/{dance}/Media-{number}.wav", clip("low", number))
    write_wav(tmp_path / "BallroomData/Rumba-American/Media-9.wav", clip("low", 9))
    (tmp_path / "BallroomData/allBallroomFiles").write_text("./Jive/Media-1.wav\n")
    (tmp_path / "BallroomData/nada").mkdir()
    tracks = read_public("ballroom", data_home=tmp_path)
    assert labels_of(tracks) == BALLROOM_DANCES
    assert Counter(track.label for track in tracks)["Rumba"] == 2
    (tmp_path / "BallroomData/Jive/Media-1.wav").unlink()
    with pytest.raises(DatasetError, match=r"folders of 8 dances in .*no Jive"):
        read_public("ballroom", data_home=tmp_path / "BallroomData")


def fma(home: Path, *, columns=("artist", "set", "set", "track")) -> Path:
    rows = [
        # track, artist, split, subset, top genre
        (2, "1", "training", "small", "Hip-Hop"),
        (5, "1", "training", "small", "Hip-Hop"),
        (140, "54", "validation", "small", "Folk"),
        (10_250, "77", "test", "medium", "Pop"),
        (155_320, "9", "test", "large", ""),
    ]
    (home / "fma_metadata").mkdir(parents=True)
    with (home / "fma_metadata/tracks.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["", "album", *columns, "track"])
        table.writerow(["", "comments", "id", "split", "subset", "genre_top", "title"])
        table.writerow(["track_id", "", "", "", "", "", ""])
        for number, artist, split, subset, genre in rows:
            table.writerow([number, 0, artist, split, subset, genre, "Wörds,\nin two lines"])
    for number in (2, 5, 140):
        write_wav(home / f"fma_small/000/{number:06}.mp3", clip("low", number))
    return home


def test_fma_is_read_by_its_own_table(tmp_path):
    tracks = read_public("fma-small", data_home=fma(tmp_path))
    assert [(track.path.name, track.label, track.fold) for track in tracks] == [
        ("000002.mp3", "Hip-Hop", 0),
        ("000005.mp3", "Hip-Hop", 0),
        ("000140.mp3", "Folk", 3),
    ]
    assert all(track.path.is_file() for track in tracks)
    assert tracks[0].group == tracks[1].group != tracks[2].group
    assert describe_folds(tracks) == "published split"
    assert {track.fold for track in read_public("fma-small", data_home=tmp_path, published_split=False)} == {-1}


def test_a_long_biography_is_read_and_the_limit_of_other_tables_stays(tmp_path):
    table = fma(tmp_path) / "fma_metadata/tracks.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("Wörds", "Wörds " * 50_000), encoding="utf-8")
    before = csv.field_size_limit()
    assert len(read_public("fma-small", data_home=tmp_path)) == 3
    assert csv.field_size_limit() == before
    table.write_text("damaged", encoding="utf-8")
    with pytest.raises(DatasetError):
        read_public("fma-small", data_home=tmp_path)
    assert csv.field_size_limit() == before


def test_a_larger_fma_holds_the_smaller(tmp_path):
    fma(tmp_path)
    write_wav(tmp_path / "fma_medium/010/010250.mp3", clip("low", 1))
    assert labels_of(read_public("fma-medium", data_home=tmp_path)) == ("Folk", "Hip-Hop", "Pop")


def test_an_fma_that_is_not_as_published_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"expected fma_metadata/tracks\.csv and fma_large/"):
        read_public("fma-large", data_home=fma(tmp_path / "a"))
    with pytest.raises(
        DatasetError, match=r"two lines of column names \(artist\.id, track\.genre_top, set\.split and 1"
    ):
        read_public("fma-small", data_home=fma(tmp_path / "b", columns=("artist", "set", "album", "track")))
    for path in (fma(tmp_path / "c") / "fma_small").rglob("*.mp3"):
        path.unlink()
    with pytest.raises(DatasetError, match=r"fma_small/000/000002\.mp3, none of 3 is there"):
        read_public("fma-small", data_home=tmp_path / "c")


def test_a_download_that_fails_is_our_error(tmp_path, monkeypatch):
    def no_network(self, *_, **__):
        raise OSError("no network")

    monkeypatch.setattr(mirdata.core.Dataset, "download", no_network)
    with pytest.raises(DatasetError, match=r"gtzan: could not be fetched into .*no network"):
        download("gtzan", data_home=tmp_path)


@pytest.fixture
def ballroom_archive(tmp_path, monkeypatch):
    """The archive of a small Ballroom on a web server of this machine, in place of its authors'; returns the file."""
    site = tmp_path / "site"
    for dance in BALLROOM_DANCES:
        write_wav(tmp_path / "packed/BallroomData" / dance / f"{dance}-1.wav", clip("low", 0))
    site.mkdir()
    file = site / "data1.tar.gz"
    with tarfile.open(file, "w:gz") as packed:
        packed.add(tmp_path / "packed/BallroomData", "BallroomData")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        checksum = "md5:" + hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
        address = f"http://127.0.0.1:{server.server_port}/data1.tar.gz"
        monkeypatch.setitem(ARCHIVES, "ballroom", (Archive(address, checksum),))
        yield file
        server.shutdown()


def test_a_data_set_that_mirdata_does_not_know_is_fetched_and_unpacked_once(tmp_path, ballroom_archive):
    home = tmp_path / "home"
    download("ballroom", data_home=home)
    assert len(read_public("ballroom", data_home=home)) == len(BALLROOM_DANCES)
    ballroom_archive.unlink()
    (home / "BallroomData/Tango/Tango-1.wav").unlink()  # as a kill while it is unpacked leaves it
    download("ballroom", data_home=home)
    assert len(read_public("ballroom", data_home=home)) == len(BALLROOM_DANCES)


def test_an_archive_of_another_content_or_that_is_gone_is_our_error(tmp_path, ballroom_archive):
    ballroom_archive.write_bytes(b"another")
    with pytest.raises(DatasetError, match=r"ballroom: could not fetch http://.*data1\.tar\.gz .*hash"):
        download("ballroom", data_home=tmp_path / "home")
    ballroom_archive.unlink()
    with pytest.raises(DatasetError, match=r"ballroom: could not fetch http://.*404"):
        download("ballroom", data_home=tmp_path / "home")
    assert not list((tmp_path / "home").iterdir())
