"""The command ``live``: an engine in this process, and the page in a child of it."""

from __future__ import annotations

import io
import logging
import signal
import sys
import threading
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from models.commands import HalfLifeOption, HopOption, ModelOption, ScorerOption, load
from models.scorer_kind import ScorerKind

if TYPE_CHECKING:
    from stream.engine import Engine, Sink
    from stream.events import SourceChoice

log = logging.getLogger(__name__)


def live(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[SOURCE]",
            help="`mic`, `mic:NAME` (see `genrescope devices`), a file, an http(s) address, `-` (raw samples on "
            "standard input) or `demo`.  [default: the microphone; without one, the demo]",
            show_default=False,
        ),
    ] = None,
    *,
    model: ModelOption = None,
    scorer: ScorerOption = ScorerKind.AUTO,
    hop: HopOption = None,
    half_life: HalfLifeOption = None,
    speed: Annotated[
        str,
        typer.Option(metavar="FACTOR|max", help="How fast a file or the demo plays; max: as fast as it can be scored."),
    ] = "1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the page, on this machine only (0: any).")
    ] = 8501,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Serve the page, or only listen.")] = True,
    jsonl: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="Write every verdict as a line of JSON; - is standard output.")
    ] = None,
    offer: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE", help="A further source that the page may switch to; may be repeated."),
    ] = None,
    pcm_rate: Annotated[int, typer.Option(metavar="HZ", help="Sample rate on standard input.")] = 44_100,
    pcm_channels: Annotated[int, typer.Option(metavar="N", help="Channels on standard input.")] = 2,
    pcm_format: Annotated[str, typer.Option(metavar="s16le|f32le", help="Sample format on standard input.")] = "s16le",
) -> None:
    """Listen to SOURCE and show, on a page and as it plays, what it is.

    Examples:

    - `genrescope live` — the microphone

    - `genrescope live 'mic:USB Audio' --half-life 8` — a sound card by name, a calmer label

    - `genrescope live http://radio.example/stream.mp3` — a station

    - `arecord -f cd | genrescope live -` — whatever another program records

    - `genrescope live song.mp3 --speed max --no-page --jsonl -` — every verdict of a file, at once
    """
    from functools import partial

    from models.errors import SourceAddressError, SourceError
    from models.half_life import DEFAULT_HALF_LIFE_S, checked_half_life
    from stream.addresses import check_source, open_source
    from stream.engine import Engine
    from stream.events import HealthState
    from stream.pace import parse_speed
    from stream.sinks import ChangesSink
    from stream.windows import first_look_s

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    loaded = load(model, scorer, say=log.info)
    half_life_s = checked_half_life(DEFAULT_HALF_LIFE_S if half_life is None else half_life)
    open_address = partial(
        open_source,
        speed=parse_speed(speed),
        pcm_rate_hz=pcm_rate,
        pcm_channels=pcm_channels,
        pcm_format=pcm_format,
    )
    address = _default_address() if source is None else source
    opened = open_address(address)
    try:
        check_source(opened)
    except SourceAddressError:
        raise
    except SourceError as error:
        # A station or a sound server may be late: the engine keeps trying, and the page says so.
        log.warning("%s: %s", opened.name, error)
    choices = _choices(address, opened.name, offer or []) if page else []
    sinks: list[Sink] = []
    engine = Engine(
        loaded,
        {"main": opened},
        sinks,
        hop_s=hop,
        half_life_s=half_life_s,
        choices=choices,
        open_source=open_address,
    )
    with ExitStack() as stack:
        if jsonl is not None:
            sinks.append(_json_lines(jsonl, engine, keep_all=not opened.live, stack=stack))
        elif not page:
            sinks.append(ChangesSink(sys.stdout))
        if page:
            sinks.append(_serve(engine, port, stack))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: engine.stop())
        log.info("listening to %s with %s on %s", opened.name, loaded.card.name, loaded.name)
        log.info(
            "it hears %.1f s at a time; a first label may come after %.1f s of sound",
            loaded.card.window_seconds,
            first_look_s(loaded.card),
        )
        try:
            # With a page, the end of a file is something to look at; without one, there is nothing left to do.
            engine.run(until_finished=not page)
        except BrokenPipeError:
            return  # the reader of our lines has gone: so do we, without a word
    if not page and engine.channels[0].health().state is HealthState.FAILED:
        raise typer.Exit(2)  # why, the log has said


def _default_address() -> str:
    """``mic``, or ``demo`` with a plain statement why."""
    from models.errors import SourceError
    from stream.microphone import list_devices

    try:
        if list_devices():
            return "mic"
        why = "no microphone or line input was found"
    except SourceError as error:
        why = str(error)
    log.warning("%s: playing the synthetic demo instead (see `genrescope live --help`)", why)
    return "demo"


def _choices(address: str, name: str, offered: list[str]) -> list[SourceChoice]:
    """What the page may switch to: what was named on the command line, this machine's inputs, and the demo."""
    from models.errors import SourceError
    from stream.addresses import open_source
    from stream.events import SourceChoice
    from stream.microphone import list_devices

    choices = {address: name} | {other: open_source(other).name for other in offered}
    try:
        choices |= {f"mic:{device.name}": f"Input: {device.name}" for device in list_devices()}
    except SourceError as error:
        log.info("no inputs to offer on the page: %s", error)
    choices.setdefault("demo", "Demo (synthetic)")
    return [SourceChoice(one, named) for one, named in choices.items()]


def _json_lines(target: str, engine: Engine, *, keep_all: bool, stack: ExitStack) -> Sink:
    from models.errors import ConfigError
    from stream.sinks import JsonLinesSink

    try:
        file = io.FileIO(1, "wb", closefd=False) if target == "-" else stack.enter_context(io.FileIO(target, "ab"))
    except OSError as error:
        raise ConfigError(f"--jsonl {target}: cannot be written ({error.strerror})") from error
    sink = JsonLinesSink(file, keep_all=keep_all, stopping=lambda: engine.stopping)
    stack.callback(sink.close)
    return sink


def _serve(engine: Engine, port: int, stack: ExitStack) -> Sink:
    """Start the page and introduce the engine to it; says where the page is as soon as it answers."""
    from dashboard.page_process import PageProcess
    from stream.page_link import PageLink

    link = PageLink()
    stack.callback(link.close)
    page = PageProcess(link, on_command=engine.submit, port=port)
    page.start()
    stack.callback(page.stop)
    link.publish(engine.hello(uuid.uuid4().hex))
    threading.Thread(target=_announce, args=(page.wait_ready,), name="announce", daemon=True).start()
    return link


def _announce(wait_ready: Callable[[], str]) -> None:
    from models.errors import GenrescopeError

    url = None
    while url is None:
        try:
            url = wait_ready()
        except GenrescopeError as error:
            log.warning("%s", error)  # the engine listens on, and a slow machine may get there yet
    print(f"\n  genrescope is live: {url}\n  Ctrl-C stops it.\n", file=sys.stderr, flush=True)
