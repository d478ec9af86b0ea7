"""Playlists that stand for a radio station: .m3u and .pls name the stream's own address."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

PLAYLIST_TYPES = frozenset(
    {"audio/x-mpegurl", "audio/mpegurl", "audio/x-scpls", "audio/scpls", "application/pls+xml"}
    | {"application/x-mpegurl", "application/vnd.apple.mpegurl"}
)
PLAYLIST_SUFFIXES = (".m3u", ".m3u8", ".pls")
LONGEST_PLAYLIST = 65_536
"""Bytes that are read of one."""

_PLS_ENTRY = re.compile(r"File\d+\s*=\s*(.+)", re.IGNORECASE)


def is_playlist(url: str, content_type: str) -> bool:
    """Whether an answer is a playlist, by its type or, where that says nothing, by its name."""
    if content_type in PLAYLIST_TYPES:
        return True
    says_nothing = content_type in ("", "text/plain", "application/octet-stream")
    return says_nothing and urlsplit(url).path.lower().endswith(PLAYLIST_SUFFIXES)


def is_hls(text: str) -> bool:
    """Whether a playlist is an HTTP live stream in segments, which a decoder follows by itself."""
    return "#EXT-X-" in text


def first_entry(text: str, url: str) -> str | None:
    """The first http or https address in the playlist that came from ``url``; None if there is none."""
    for line in map(str.strip, text.splitlines()):
        if not line or line.startswith(("#", "[", ";")):
            continue
        entry = _PLS_ENTRY.fullmatch(line)
        if entry is None and "=" in line and "://" not in line.split("=")[0]:
            continue  # another key of a .pls: Title1=, Length1=, NumberOfEntries=
        try:
            address: str = urljoin(url, entry[1].strip() if entry else line)
            if urlsplit(address).scheme in ("http", "https"):
                return address
        except ValueError:
            continue  # malformed
    return None
