"""Public data sets that mirdata does not know, fetched from where their authors keep them and unpacked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

from models.errors import DatasetError


@dataclass(frozen=True, slots=True)
class Archive:
    """One archive: its address, and the sum (``algorithm:hexadecimal``) that its authors, or mirrors, give for it."""

    url: str
    checksum: str


_FMA = "https://os.unil.cloud.switch.ch/fma/"
_FMA_TABLES = Archive(f"{_FMA}fma_metadata.zip", "sha1:f0df49ffe5f2a6008d7dc83c6915b31835dfe733")

ARCHIVES = {
    "ballroom": (
        Archive(
            "https://mtg.upf.edu/ismir2004/contest/tempoContest/data1.tar.gz", "md5:2872a3e52070bc342a4510a95e2fa0b8"
        ),
    ),
    "fma-small": (_FMA_TABLES, Archive(f"{_FMA}fma_small.zip", "sha1:ade154f733639d52e35e32f5593efe5be76c6d70")),
    "fma-medium": (_FMA_TABLES, Archive(f"{_FMA}fma_medium.zip", "sha1:c67b69ea232021025fca9231fc1c7c1a063ab50b")),
    "fma-large": (_FMA_TABLES, Archive(f"{_FMA}fma_large.zip", "sha1:497109f4dd721066b5ce5e5f250ec604dc78939e")),
}


def fetch(name: str, home: Path) -> None:
    """Fetch and unpack the archives of ``name`` below ``home``, with a progress bar. An archive that is there whole is
    not fetched again, nor unpacked where all its files are there.

    Raises:
        DatasetError: no network, another content than its authors', or no room.
    """
    import pooch

    for archive in ARCHIVES[name]:
        file = archive.url.rpartition("/")[2]
        unpack = pooch.Unzip(extract_dir=".") if file.endswith(".zip") else pooch.Untar(extract_dir=".")
        # One of the hosts turns away programs that do not name themselves.
        downloader = pooch.HTTPDownloader(progressbar=True, headers={"User-Agent": "genrescope"})
        try:
            pooch.retrieve(
                archive.url, archive.checksum, fname=file, path=home, processor=unpack, downloader=downloader
            )
        except (OSError, ValueError, EOFError, BadZipFile) as error:  # ValueError: another checksum
            raise DatasetError(f"{name}: could not fetch {archive.url} into {home}: {error}") from error
