"""docs/base.md from docs/base.json."""

from __future__ import annotations

from statistics import mean
from typing import Any

_INTRODUCTION = """# genrescope-base

Our own network: one mel front end, one trunk, and a head for each question: genre (ten), mood (quadrants), emotion
(GEMS), kind of sound, and three that only training asks: *style*, emotify's own four genres, and the words that 4q has
for genres and moods. [How it is made](training.md#how-the-shipped-model-was-made).

Every figure is of files that the network has not heard, by artists that it has not heard (esc10: of other sources;
music_speech: folds as given); training runs to its last epoch, whatever the tested fold says. Settings were chosen by
fold 3, so what is on it alone is for choosing.

## What it knows
"""
_KNOWN = """Of files, each named by the mean of its windows, as live audio is judged: the mean over the folds, by seed
and over all seeds. *kind* counts what was made too: 36 silences, 76 noises and tones. To set beside it:
[the published networks on the same folds](results.md#genre-10-every-fold-tested-in-turn), and
[what its teachers would answer](#what-the-teacher-would-answer).
"""
_TRIED = """## What was tried

By one command a line, stopped at any moment and gone on with, with `--teacher` where there is one and `--copies` where
a note speaks of copies:

    python benchmarks/base.py --data DATA --runs RUNS --name NAME --note WORDS --set KEY=VALUE --folds 3

*base* is what ships. *Teacher heard*: the share of the variance of what the teacher says of the tested fold, window by
window, that the network explains; of another teacher it is another figure. The words of 4q were not asked in the first
variants; noises and tones were made for *line-in* and *base* alone; until 28 epochs the network heard a picture with
its level.
"""
_TEACHERS = """### What the teacher would answer

Regressions on what the teacher itself says, each without the fold that it is asked about: how far a network that has
all of the teacher's ear would get. MusiCNN and two VGGs alone, and with BirdNET.
"""
_REGRESSIONS = """### What regressions hear in it

`python benchmarks/regressions.py`: accuracy of files, by the networks' own heads; by logistic regressions that have
learned from what the teachers say of labelled tracks, and are asked of what the network hears of the teachers (which is
a linear map of the embedding, as a head is); and by the same regressions asked of the teachers. The mean over the
folds, copies learned from too, moods by accuracy: so not quite the figures above.
"""
_SOURCES = """## How much of it is the collection

`python benchmarks/sources.py`: balanced accuracy with which a logistic regression tells the collection of a file
(emotify or 4q) within one genre, by the mean embedding of the file and by its features; 0.5 is chance, and less is
better. *Exchanged*: electronic learned from one collection and pop_rock from the other, tested the other way round;
there more is better, and less than 0.5 is a network that hears the collection.
"""
_ESC10 = """## Everyday sounds

`python benchmarks/fine_tune.py`: accuracy on esc10, over its four folds, of networks that began with the weights of the
one that has not heard the fold, beside networks of the same recipe that began with none.
"""
_CONDITIONS = """## In worse sound

`python benchmarks/conditions.py`: genres of files, accuracy and mean of the classes, each by the network of the first
seed that has not heard the fold. The phone in a room, as one that is held to a microphone: the tail of the room is
6 dB below its sound, pink noise 20 dB.
"""
_COLUMNS = (
    ("genre", "file_accuracy"),
    ("genre", "file_balanced_accuracy"),
    ("style", "file_accuracy"),
    ("mood", "file_macro_f1"),
    ("emotion", "file_accuracy"),
    ("kind", "file_accuracy"),
    ("kind", "music_auroc"),
    ("teacher", "heard"),
)
CHOSEN_BY = 3
"""The fold that settings were chosen by."""
_NAMES = {
    "file_accuracy": "accuracy",
    "file_balanced_accuracy": "balanced",
    "file_macro_f1": "macro-F1",
    "music_auroc": "music AUROC",
    "heard": "heard",
}


def render(store: dict[str, Any]) -> str:
    """The page: what ships first, then what was tried."""
    shipped = store.get("shipped", {})
    lines = [_INTRODUCTION]
    for name, found in shipped.items():
        lines += [_KNOWN, *_known_table(store["variants"][name]["networks"])]
        lines += ["", _shipped_words(name, found), *_shipped_table(found["figures"])]
    if store.get("conditions"):
        lines += ["", _CONDITIONS, *_conditions_table(store["conditions"])]
    if store["sources"]:
        lines += ["", _SOURCES, *_sources_table(store["sources"])]
    if store.get("esc10"):
        lines += ["", _ESC10, "| variant | fine-tuned | begun anew | networks each |", "|---|---:|---:|---:|"]
        for name, found in store["esc10"].items():
            tuned, fresh = found["fine-tuned"], found["begun anew"]
            lines.append(f"| {name} | {tuned['accuracy']:.3f} | {fresh['accuracy']:.3f} | {tuned['networks']} |")
    lines += ["", _TRIED, *_variants_table(store["variants"])]
    if store.get("teachers"):
        lines += ["", _TEACHERS, "| teacher | genre accuracy | genre balanced |", "|---|---:|---:|"]
        for name, found in store["teachers"].items():
            lines.append(f"| {name} | {found['file_accuracy']:.3f} | {found['file_balanced_accuracy']:.3f} |")
    if store.get("regressions"):
        lines += [
            "",
            _REGRESSIONS,
            "| variant; networks | question | its heads | regressions on it | on the teachers |",
        ]
        lines.append("|---|---|---:|---:|---:|")
        for name, found in store["regressions"].items():
            for question, each in found["questions"].items():
                figures = " | ".join(f"{each[who]:.3f}" for who in ("head", "network", "teachers"))
                lines.append(f"| {name}; {found['networks']} | {question} | {figures} |")
    hardware = sorted(
        {each["hardware"] for variant in store["variants"].values() for each in variant["networks"].values()}
    )
    return "\n".join([*lines, "", "Trained on: " + "; ".join(hardware) + "."]) + "\n"


def _known_table(networks: dict[str, Any]) -> list[str]:
    seeds = sorted({_seed(network) for network in networks})
    by_seed = [{name: each for name, each in networks.items() if _seed(name) == seed} for seed in seeds]
    titles = [f"seed {seed}, {len(each)} networks" for seed, each in zip(seeds, by_seed, strict=True)]
    lines = [f"| question | {' | '.join(titles)} | all {len(networks)} |", f"|---{'|---:' * (len(seeds) + 1)}|"]
    for head, name in _COLUMNS:
        cells = [_mean(each, head, name) for each in (*by_seed, networks)]
        lines.append(f"| {head}, {_NAMES[name]} | {' | '.join(cells)} |")
    return lines


def _variants_table(variants: dict[str, Any]) -> list[str]:
    head = [f"{head} {_NAMES[name]}" for head, name in _COLUMNS]
    lines = [
        f"| variant | teacher | folds; networks | parameters | minutes a network | {' | '.join(head)} |",
        f"|---|---|---:|---:|---:{'|---:' * len(head)}|",
    ]
    for name, variant in variants.items():
        networks = variant["networks"]
        others = {network: each for network, each in networks.items() if fold_of(network) != CHOSEN_BY}
        settings = ", ".join(f"{key} {value}" for key, value in variant["settings"].items())
        words = f"**{name}**: {variant['note']}{f' ({settings})' if settings else ''}"
        lines.append(_line(words, variant, networks))
        if 0 < len(others) < len(networks):
            lines.append(_line(f"{name}, without fold {CHOSEN_BY}", variant, others))
    return lines


def _sources_table(sources: dict[str, Any]) -> list[str]:
    asked = list(dict.fromkeys(name for found in sources.values() for name in found))
    lines = [f"| variant | {' | '.join(asked)} |", f"|---{'|---:' * len(asked)}|"]
    for name, found in sources.items():
        shown = [f"{found[each]:.3f}" if each in found else "" for each in asked]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return lines


def _shipped_words(name: str, found: dict[str, Any]) -> str:
    return f"""## How far it can be trusted

Of the networks that calibrate the model that ships, **genrescope-{name}** ({found["bytes"] / 1e6:.1f} MB, trained by
commit {found["commit"][:7]}): one network a fold, each calibrated by what the others say of their
folds; every file once. The model itself has learned from all folds: temperatures and *enter*
are its own, all other figures of these networks.
ECE is of the running vote's confidence, at every moment, and *of files* of `classify`'s; *at 80 % coverage*: the
accuracy of the 80 % of files that it is surest of; *decided*: the share of time in which a label is shown, and how
often it is right then.
"""


def _shipped_table(figures: dict[str, dict[str, float]]) -> list[str]:
    lines = [
        "| head | temperature | of files | enter | ECE before | ECE after | ECE of files | accuracy "
        "| at 80 % coverage | decided | right then |",
        f"|---{'|---:' * 10}|",
    ]
    for head, found in figures.items():
        numbers = (
            f"{found['temperature']:.2f}",
            f"{found['file_temperature']:.2f}",
            f"{found['enter']:.2f}",
            *(f"{found[f'ece_{each}']:.3f}" for each in ("vote_before", "vote_after", "files")),
            *(
                f"{found[each]:.3f}"
                for each in ("file_accuracy", "accuracy_at_80", "decided_share", "decided_accuracy")
            ),
        )
        lines.append(f"| {head} | {' | '.join(numbers)} |")
    return lines


def _conditions_table(conditions: dict[str, Any]) -> list[str]:
    variants = [f"{name}; {', '.join(map(str, found['folds']))}" for name, found in conditions.items()]
    lines = [f"| sound; folds | {' | '.join(variants)} |", f"|---{'|---:' * len(variants)}|"]
    figures = [{each["sound"]: each for each in found["figures"]} for found in conditions.values()]
    for sound in dict.fromkeys(sound for each in figures for sound in each):
        cells = [_both(each[sound]) if sound in each else "" for each in figures]
        lines.append(f"| {sound} | {' | '.join(cells)} |")
    return lines


def _both(figures: dict[str, float]) -> str:
    return f"{figures['file_accuracy']:.3f} / {figures['file_balanced_accuracy']:.3f}"


def fold_of(network: str) -> int:
    """Of the name of a network's folder."""
    _, fold, *_ = network.split("-")
    return int(fold)


def _seed(network: str) -> int:
    return int(network.rpartition("-")[2])


def _line(words: str, variant: dict[str, Any], networks: dict[str, Any]) -> str:
    folds = sorted({fold_of(network) for network in networks})
    columns = (
        words,
        variant["teacher"] or "none",
        f"{', '.join(map(str, folds))}; {len(networks)}",
        f"{next(iter(networks.values()))['parameters']:,}",
        f"{mean(each['minutes'] for each in networks.values()):.0f}",
        *(_mean(networks, *column) for column in _COLUMNS),
    )
    return f"| {' | '.join(columns)} |"


def _mean(networks: dict[str, Any], head: str, name: str) -> str:
    values = [each["figures"][head][name] for each in networks.values() if head in each["figures"]]
    return f"{mean(values):.3f}" if len(values) == len(networks) else ""
