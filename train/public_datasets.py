"""Public data sets by name: found in a local folder, through mirdata where it knows them, else by their own tables."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.errors import ConfigError, DatasetError
from train.archives import ARCHIVES, fetch
from train.fma import read_fma
from train.split import SIDE_FOLDS
from train.track import NO_FOLD, Track, some

GTZAN = "gtzan_genre"
"""mirdata's name of GTZAN."""

BALLROOM_DANCES = ("ChaChaCha", "Jive", "Quickstep", "Rumba", "Samba", "Tango", "VienneseWaltz", "Waltz")

_LABELS = {
    GTZAN: "genre",
    "giantsteps_tempo": "genre",
    "irmas": "predominant_instrument",
    "medley_solos_db": "instrument",
    "mridangam_stroke": "stroke_name",
    "tinysol": "instrument_full",
}
"""Which attribute of mirdata's tracks is the class. Others: give it as the label's column."""

_SIDES = {
    "train": "training", "training": "training", "valid": "validation", "validation": "validation", "test": "test"
}  # fmt: skip
_SIDE_ATTRIBUTES = ("subset", "split")
_GROUP_ATTRIBUTES = ("artist", "song_id")
_AUDIO = re.compile(r"\.(wav|au|mp3|flac|ogg|opus|m4a|aiff?)$", re.IGNORECASE)


def read_public(
    name: str, *, data_home: Path | None = None, published_split: bool = True, label_attribute: str = "genre"
) -> list[Track]:
    """Tracks of a public data set in the folder ``data_home`` (None: mirdata's, in the home folder).

    Folds are ``SIDE_FOLDS`` of the published split if there is one and it is asked for; tracks that it leaves out are
    left out. Otherwise tracks have ``NO_FOLD``. A file that is missing here and there is the features' to name.

    Raises:
        ConfigError: no such data set, or no such attribute.
        DatasetError: it is not in the folder, or not whole.
    """
    known = _mirdata_name(name)
    home = data_home or Path.home() / "mir_datasets" / known
    if not home.is_dir():
        raise DatasetError(f"{name}: expected its files in {home}: give --data-home, or fetch it with --download")
    if known.startswith("fma-"):
        return read_fma(home, size=known.removeprefix("fma-"), published_split=published_split)
    if known == "ballroom":
        return _read_ballroom(home)
    tracks = _read_mirdata(known, home, label_attribute=_LABELS.get(known, label_attribute))
    if known == GTZAN and published_split:
        tracks = _gtzan_artist_split(tracks)
    if not published_split:
        tracks = [replace(track, fold=NO_FOLD, chosen="") for track in tracks]
    _refuse_empty_classes(name, home, tracks)
    return tracks


def download(name: str, *, data_home: Path | None = None) -> None:
    """Fetch a data set; what is already there is kept.

    Raises:
        ConfigError: no such data set.
        DatasetError: it cannot be fetched.
    """
    known = _mirdata_name(name)
    home = data_home or Path.home() / "mir_datasets" / known
    if known in ARCHIVES:
        fetch(known, home)
        return
    dataset = _dataset(known, home)
    try:
        dataset.download()
    except (OSError, ValueError) as error:  # no network, a wrong checksum, a full disk; an archive that is none
        raise DatasetError(f"{name}: could not be fetched into {dataset.data_home}: {error}") from error


def _mirdata_name(name: str) -> str:
    if name in ARCHIVES:
        return name
    import mirdata

    known = GTZAN if name == "gtzan" else name.replace("-", "_")
    if known not in mirdata.list_datasets():
        raise ConfigError(
            f"expected --dataset to be gtzan, {', '.join(ARCHIVES)} or one of mirdata's "
            f"({', '.join(sorted(_LABELS))}, ...), got {name!r}"
        )
    return known


def _dataset(known: str, home: Path) -> Any:
    import mirdata

    try:
        return mirdata.initialize(known, data_home=str(home))
    except ImportError as error:
        raise ConfigError(f"{known}: mirdata needs more packages for it: {error}") from error


def _read_mirdata(known: str, home: Path, *, label_attribute: str) -> list[Track]:
    dataset = _dataset(known, home)
    by_stem: dict[str, list[Path]] | None = None
    tracks = []
    try:
        loaded = dataset.load_tracks()
    except (OSError, ValueError, AttributeError) as error:  # its index, or a table beside the audio, is missing
        raise DatasetError(f"{known}: mirdata cannot read {home}: {error}") from error
    for track in loaded.values():
        try:
            label = getattr(track, label_attribute)
            side = _first_of(track, _SIDE_ATTRIBUTES)
            group = _first_of(track, _GROUP_ATTRIBUTES)
        except AttributeError:
            attributes = sorted(key for key, value in vars(track).items() if isinstance(value, str))
            raise ConfigError(
                f"{known}: expected --label-column to name an attribute of mirdata's tracks, got {label_attribute!r}; "
                f"there are {', '.join(attributes)}"
            ) from None
        except OSError as error:
            raise DatasetError(f"{known}: mirdata cannot read {home}: {error}") from error
        if not isinstance(label, str) or not label:
            continue
        path = Path(track.audio_path)
        if not path.is_file():
            # Copies of a data set are unpacked in many ways: the one file of that name below the folder will do.
            if by_stem is None:
                by_stem = _by_stem(home)
            found = by_stem.get(path.stem, [])
            path = found[0] if len(found) == 1 else path
        fold = SIDE_FOLDS[_SIDES[side]] if side in _SIDES else NO_FOLD
        chosen = "" if fold == NO_FOLD else "published split"
        tracks.append(Track(path, label, fold, group=f"{known} {group}" if group else "", source=known, chosen=chosen))
    return tracks


def _by_stem(home: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for file in home.rglob("[!.]*"):
        if _AUDIO.search(file.name):
            files.setdefault(file.stem, []).append(file)
    return files


def _first_of(track: object, names: tuple[str, ...]) -> str:
    value = next((getattr(track, name) for name in names if hasattr(track, name)), None)
    return "" if value is None else str(value)


def _gtzan_artist_split(tracks: list[Track]) -> list[Track]:
    lines = (Path(__file__).parent / "gtzan_split.txt").read_text(encoding="utf-8").splitlines()
    sides = {stem: side for side, stem in (line.split() for line in lines if line and not line.startswith("#"))}
    return [
        replace(track, fold=SIDE_FOLDS[sides[track.path.stem]], chosen="fault-filtered artist split")
        for track in tracks
        if track.path.stem in sides
    ]


def _read_ballroom(home: Path) -> list[Track]:
    root = home / "BallroomData" if (home / "BallroomData").is_dir() else home
    tracks = [
        Track(path, dance, NO_FOLD, source="ballroom")
        for dance in BALLROOM_DANCES
        for folder in sorted([root / dance, *root.glob(f"{dance}-*")])
        for path in sorted(folder.glob("[!.]*.wav"))
    ]
    missing = sorted(set(BALLROOM_DANCES) - {track.label for track in tracks})
    if missing:
        raise DatasetError(f"ballroom: expected folders of {len(BALLROOM_DANCES)} dances in {root}, no {some(missing)}")
    return tracks


def _refuse_empty_classes(name: str, home: Path, tracks: list[Track]) -> None:
    there = {track.label for track in tracks if track.path.is_file()}
    missing = sorted({track.label for track in tracks} - there)
    if missing or not tracks:
        raise DatasetError(
            f"{name}: expected audio of every class in {home}, there is none of {some(missing) or 'any'}: "
            "give the folder that it was unpacked into as --data-home, or fetch it with --download"
        )
