"""What a model is, where it comes from, and what it takes to run it, as terms and texts."""

from __future__ import annotations

from collections.abc import Sequence

from train.machine import Latency
from train.record import Record


def facts(records: Sequence[Record], latency: Latency | None) -> tuple[tuple[str, str], ...]:
    """Of the networks of these records, which share a recipe: (term, text), what is unknown left out."""
    record, card = records[0], records[0].card
    known = {
        "Network": ", ".join(
            [card.architecture.name, *(f"{k} {v}" for k, v in sorted(card.architecture.settings.items()))]
        ),
        "Hears": f"{card.hears}, {card.window_seconds:.2f} s; a new window every {card.hop_seconds:.2f} s",
        "Parameters": "" if record.parameters is None else f"{record.parameters:,}",
        "File": "" if record.file_bytes is None else f"{record.file_bytes / 1e6:.2f} MB",
        "Latency": "" if latency is None else _latency(latency),
        "Training": _training(records),
        "Data": card.provenance.data,
        "Protocol": protocol(records),
        "Calibration": _calibration(records),
        "Level": f"audio made {record.level_db:+g} dB louder" if record.level_db else "",
        "Left out": _left_out(sum(each.skipped for each in records)),
        "Code": "; ".join(dict.fromkeys(f"commit {each.card.provenance.commit}" for each in records)),
        "Licence": card.provenance.licence,
    }
    return tuple((term, text) for term, text in known.items() if text)


def protocol(records: Sequence[Record]) -> str:
    """How training and test tracks were told apart: of the first network, and how many more there are like it."""
    first, *others = dict.fromkeys(
        f"tested on {each.tested_on}, by a model that was itself {each.card.provenance.protocol}"
        if each.tested_on
        else each.card.provenance.protocol
        for each in records
    )
    if not others:
        return first
    return f"{first}; likewise the other" if len(others) == 1 else f"{first}; likewise the {len(others)} others"


def _latency(latency: Latency) -> str:
    return f"{latency.milliseconds:.2f} ms a window (median): {latency.runtime}, {latency.machine}"


def _training(records: Sequence[Record]) -> str:
    epochs = sorted({each.card.provenance.epochs for each in records})
    minutes = [each.training.minutes for each in records if each.training.minutes is not None]
    hardware = dict.fromkeys(each.training.hardware for each in records if each.training.hardware)
    seeds = sorted({each.seed for each in records})
    return ", ".join(
        [
            f"{' to '.join(str(number) for number in dict.fromkeys((epochs[0], epochs[-1])))} "
            f"epoch{'' if epochs[-1] == 1 else 's'}",
            f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}",
            *([f"{sum(minutes):.1f} minutes in all"] if minutes else []),
            *([f"on {'; '.join(hardware)}"] if hardware else []),
        ]
    )


def _calibration(records: Sequence[Record]) -> str:
    head = records[0].card.head
    thresholds = f"a label enters at {head.enter:g} and leaves below {head.leave:g}"
    if not any(record.calibrated for record in records):
        return f"not calibrated (temperature 1); {thresholds}"
    return f"temperature {head.temperature:g}; {thresholds}" if len(records) == 1 else ""


def _left_out(files: int) -> str:
    if not files:
        return ""
    return (
        f"{files} files that do not decode or are too short"
        if files > 1
        else "1 file that does not decode or is too short"
    )
