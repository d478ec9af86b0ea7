"""Internet radio: an http or https stream in any format FFmpeg decodes, or a playlist that leads to one."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from http.client import HTTPException

from models.audio import Decoder
from models.errors import AudioError, SourceAddressError, SourceError
from stream.icy import REQUEST_HEADERS, IcyStream
from stream.pace import NEAR_REAL_TIME, Pace
from stream.playlist import LONGEST_PLAYLIST, first_entry, is_hls, is_playlist
from stream.source import Chunk
from stream.threaded_source import Run, ThreadedSource
from stream.web import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, Answer, get, shown, words

MAX_LAG_S = 0.2
"""After the network was late by more than this, play on from there: nothing is gained by catching up."""

MAX_PLAYLISTS = 3

_ENOUGH_BYTES = 4_096
"""Audio is recognised by this much of it; a stream that closed sooner is no proof of a wrong address."""

_STREAM_OPTIONS = {"probesize": "262144", "analyzeduration": "2000000"}
# An HLS playlist names other addresses; it cannot make the decoder open files.
_HLS_OPTIONS = {"protocol_whitelist": "http,https,tcp,tls,crypto", "user_agent": REQUEST_HEADERS["User-Agent"]}


class Radio(ThreadedSource):
    """A station at ``url``. Its audio comes by the clock; ``title`` is what the station says it plays.

    Raises:
        SourceAddressError: ``url`` is not an http or https address.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, name=shown(url))

    def _produce(self, run: Run) -> Generator[Chunk]:
        answer, hls = _follow(self.address, run)
        with closing(answer.body):
            stream = None if hls else IcyStream(answer)
            if stream is not None and stream.name:
                self.name = stream.name
            with self._decoder(answer, stream) as decoder:
                self.sample_rate_hz = decoder.sample_rate_hz
                pace = Pace(decoder.sample_rate_hz, speed=NEAR_REAL_TIME, max_lag_s=MAX_LAG_S)
                try:
                    for samples, lost in decoder:
                        # What is lost is not waited for: the station has sent, and goes on, by the clock.
                        due = pace.due(len(samples))
                        if not run.sleep_until(due):
                            return
                        self.title = stream.title if stream else None
                        yield Chunk(samples, captured_at=due, lost=lost)
                except AudioError as error:
                    raise SourceError(str(error)) from error
        if not run.stopped:
            raise SourceError(f"{shown(self.address)}: the station closed the stream")

    def _decoder(self, answer: Answer, stream: IcyStream | None) -> Decoder:
        name = shown(answer.url)
        try:
            if stream is None:
                timeout_s = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
                return Decoder(answer.url, name=name, options=_HLS_OPTIONS, timeout_s=timeout_s)
            return Decoder(stream, name=name, options=_STREAM_OPTIONS)
        except AudioError as error:
            if stream is None or stream.received < _ENOUGH_BYTES:
                raise SourceError(f"{name}: closed before any audio came ({error})") from error
            raise SourceAddressError(f"{name} answered, but not with audio that can be decoded") from error


def _follow(url: str, run: Run) -> tuple[Answer, bool]:
    """The answer that carries the audio, through redirects and playlists; and whether it is an HLS playlist."""
    for _ in range(MAX_PLAYLISTS):
        answer = get(url, run, headers=REQUEST_HEADERS)
        if not is_playlist(answer.url, answer.content_type):
            _refuse_page(answer)
            return answer, False
        with closing(answer.body):
            try:
                text = answer.body.read(LONGEST_PLAYLIST).decode("utf-8", "replace")
            except (OSError, HTTPException, ValueError) as error:  # as IcyStream reads
                raise SourceError(f"{shown(answer.url)} broke off ({words(error)})") from error
        if is_hls(text):
            return answer, True
        entry = first_entry(text, answer.url)
        if entry is None:
            raise SourceAddressError(f"{shown(answer.url)}: expected a playlist with an http address, found none in it")
        url = entry
    raise SourceAddressError(f"{shown(url)}: more than {MAX_PLAYLISTS} playlists that lead to each other")


def _refuse_page(answer: Answer) -> None:
    kind = answer.content_type
    if kind.startswith(("text/", "image/")) or kind in ("application/json", "application/xhtml+xml"):
        answer.body.close()
        what = f"a web page ({kind})" if "html" in kind else kind
        raise SourceAddressError(f"{shown(answer.url)} answered with {what}, not audio: pass the stream's own address")
