"""genrescope-base on real labelled audio: trains what docs/base.json lacks of a variant, and writes docs/base.md.

    python benchmarks/base.py --data DATA --runs RUNS

DATA holds the folders emotify, 4q, music_speech and esc10, each with a tracks.csv. Without more it trains the recipe as
it is, on every fold with three seeds. A variant is tried on fold 3 alone:

    python benchmarks/base.py --data DATA --runs RUNS --name narrow --note "narrower" --set width=16 --folds 3

so that settings are chosen by one fold, and what is reported stands on all of them and on the other four. Stopped at
any moment, the same command goes on; two commands may work on different folds at once. When every fold is done,
``--export MODEL`` makes the model that ships: trained on all folds, calibrated by the networks of the first seed.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import torch
from base_page import render
from filelock import FileLock
from scipy.signal import chirp
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score
from torch import Tensor

from models.atomic_write import replacing, require_writable_file
from models.model_file import open_model
from models.spec import ModelCard
from train.cross_validation import cross_validate, make_model_of_all
from train.evaluate import windows_of
from train.export import load_checkpoint
from train.leaks import Leaks
from train.machine import describe_machine
from train.pipeline import Run, open_run, train_fold
from train.plan import Plan, commit_of_this_code
from train.progress import say
from train.question import Question, all_tracks
from train.record import Record
from train.run_folder import fold_name
from train.soft_targets import soft_targets
from train.statistics import metrics
from train.teacher import Teacher

DOCS = Path(__file__).parents[1] / "docs"
STORE = DOCS / "base.json"
PAGE = DOCS / "base.md"
FOLDS = (0, 1, 2, 3, 4)
MADE = "made"
"""The folder of the sounds that are in none of the sets."""
KEPT = ("files", "file_accuracy", "file_balanced_accuracy", "file_macro_f1", "accuracy_at_80")
"""Figures of each head that the store keeps."""
CALIBRATED = (
    "file_accuracy",
    "ece_files",
    "ece_vote_before",
    "ece_vote_after",
    "accuracy_at_80",
    "decided_share",
    "decided_accuracy",
)
"""Figures of each head of the networks that calibrate the model to ship."""
DESCRIPTION = "Names one of ten genres of music, its mood, what listeners may feel, and whether it is music at all."
SOURCES = (
    "Emotify (333 excerpts of Magnatune tracks; Aljanaki, Wiering, Veltkamp 2015), 4Q audio (750 previews, 591 of them "
    "with one clear genre; Panda, Malheiro, Paiva 2018), GTZAN music/speech (102; Tzanetakis), ESC-10 (320; Piczak "
    "2015), and made silence, noise and test tones"
)
LESSONS = (
    "; taught by MusiCNN and two VGGs, which heard the Million Song Dataset and MagnaTagATune (Pons & Serra 2019), and "
    "by BirdNET 2.4 (Kahl et al. 2021)"
)
LICENCE = (
    "CC BY-NC-SA 4.0 / research use: non-commercial; trained on Magnatune excerpts (Emotify), 4Q audio previews and "
    "GTZAN music/speech"
)
LICENCE_OF_LESSONS = ", taught by the weights of MusiCNN and BirdNET (CC BY-NC-SA 4.0)"
_TITLES = (
    "hiphop=hip-hop",
    "latin=Latin",
    "pop_rock=pop/rock",
    "rnb=R&B",
    "other=something else",
    "Q1=happy",
    "Q2=tense",
    "Q3=sad",
    "Q4=calm",
)
"""What people are shown of labels; of the quadrants, one word for each."""
_MADE_PER_FOLD = 8
"""Silences, and as many noises and test tones."""
_MADE_S = 6
_SILENT_DB, _HEARD_DB = (-90.0, -65.0), (-45.0, -5.0)
"""Levels (RMS, full scale) of what is made: no more than the hiss of an open line, and what is there to be heard."""
_LEAST_TRACKS = {"genres": 5, "moods": 15}
"""A word that fewer tracks of 4q have is not asked for."""
_IN_WORDS_OF_4Q = {"classical": "Classical", "electronic": "Electronic", "pop": "Pop/Rock", "rock": "Pop/Rock"}
"""emotify's genres."""
_RATE_HZ = 16_000
_WINDOWS_A_FILE = 8
"""To compare with what the teacher says."""


def write_table(data: Path, folder: Path) -> tuple[Path, list[str]]:
    """One table of all sets, in ``folder``, and the further questions to ask of it. Where a set does not answer, cells
    are empty; ``style`` is emotify's own genre, which tells pop from rock; ``genres`` and ``moods`` are all the words
    that an encyclopedia has for a track of 4q, in equal shares, where ``genre`` is one clear word or none. Silence,
    steady noise and test tones are in none of the sets: some are made."""
    rows: list[dict[str, str]] = []
    with (data / "emotify" / "emotions.csv").open(newline="", encoding="utf-8") as file:
        emotions = {row.pop("path"): row for row in csv.DictReader(file)}
    names = [name for name in next(iter(emotions.values())) if name != "raters"]
    for row in _read(data / "emotify"):
        genre = "pop_rock" if row["genre"] in ("pop", "rock") else row["genre"]
        felt = {name: emotions[row["path"]][name] for name in names} if row["path"] in emotions else {}
        known = {"genre": genre, "style": row["genre"], "kind": "music", "artist": row["artist"]}
        words = {_column("genres", _IN_WORDS_OF_4Q[row["genre"]]): "1"}
        rows.append(_row(data / "emotify", row, **known, **felt, **words))
    of_4q = _read(data / "4q")
    asked = {question: _common_words(of_4q, question) for question in _LEAST_TRACKS}
    for row in of_4q:
        known = {"genre": row["genre"], "quadrant": row["quadrant"], "kind": "music", "artist": row["artist"]}
        words = {_column(question, word): "1" for question in asked for word in _words(row[question])}
        rows.append(_row(data / "4q", row, **known, **words))
    rows += [_row(data / "music_speech", row, kind=row["label"]) for row in _read(data / "music_speech")]
    rows += [_row(data / "esc10", row, kind="other") for row in _read(data / "esc10")]
    rows += list(_made(folder / MADE))
    table = folder / "tracks.csv"
    # At once: another command may be reading it.
    with replacing(table) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        columns = ["path", "fold", "artist", "genre", "style", "quadrant", "kind", *names]
        for words in asked.values():
            columns += words
        writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            # A track that has some of the words has no share of the rest.
            others = (words for words in asked.values() if any(word in row for word in words))
            writer.writerow({**{word: "0" for words in others for word in words}, **row})
    also = ["mood=quadrant", f"emotion={','.join(names)}", "kind=kind", "style=style"]
    return table, [*also, *(f"{question}={','.join(words)}" for question, words in asked.items())]


def _words(text: str) -> list[str]:
    """ "Electronic; R&B" as words."""
    return [word.strip() for word in text.split(";") if word.strip()]


def _column(question: str, word: str) -> str:
    """Of the table: a genre and a mood may have the same name."""
    return f"{question}: {word}"


def _common_words(rows: list[dict[str, str]], question: str) -> list[str]:
    """The columns of the words that enough tracks have."""
    counts = Counter(word for row in rows for word in _words(row[question]))
    return sorted(_column(question, word) for word, tracks in counts.items() if tracks >= _LEAST_TRACKS[question])


def _read(folder: Path) -> list[dict[str, str]]:
    with (folder / "tracks.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _row(folder: Path, row: dict[str, str], **answers: str) -> dict[str, str]:
    return {"path": str((folder / row["path"]).resolve()), "fold": row["fold"], **answers}


def _made(folder: Path) -> Iterator[dict[str, str]]:
    """Silence, from digital nothing to the hiss of an open line; the same hiss, from brown to blue, loud enough to be
    heard; and hum, tones, beeps and sweeps."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for number in range(_MADE_PER_FOLD * len(FOLDS)):
        fold = str(number % len(FOLDS))
        for name, kind, samples, level_db in (
            ("silence", "silence", _noise(random), random.uniform(*_SILENT_DB)),
            ("noise", "other", _noise(random), random.uniform(*_HEARD_DB)),
            ("tone", "other", _tone(random, number // len(FOLDS)), random.uniform(*_HEARD_DB)),
        ):
            level = 0.0 if name == "silence" and number % 8 == 0 else 10 ** (level_db / 20) / samples.std()
            path = folder / f"{name}-{number}.flac"
            if not path.exists():
                soundfile.write(path, np.clip(level * samples, -1.0, 1.0), _RATE_HZ, subtype="PCM_24")
            yield {"path": str(path.resolve()), "fold": fold, "kind": kind}


def _noise(random: np.random.Generator) -> npt.NDArray[np.float64]:
    spectrum = np.fft.rfft(random.standard_normal(_MADE_S * _RATE_HZ))
    return np.fft.irfft(spectrum / np.maximum(np.arange(len(spectrum)), 20.0) ** random.uniform(-0.5, 1.0))


def _tone(random: np.random.Generator, number: int) -> npt.NDArray[np.float64]:
    """Of four sorts, by ``number``."""
    seconds = np.arange(_MADE_S * _RATE_HZ) / _RATE_HZ
    hz = 2.0 ** random.uniform(6.0, 12.5)
    sine: npt.NDArray[np.float64] = np.sin(2 * np.pi * hz * seconds)
    match number % 4:
        case 0:
            return sine
        case 1:
            mains = random.choice([50.0, 60.0])
            return np.sum(
                [np.sin(2 * np.pi * n * mains * seconds) * random.uniform() / n for n in range(1, 20)], axis=0
            )
        case 2:
            period = random.uniform(0.2, 1.5)
            return sine * (seconds % period < period / 2)
        case _:
            ends = random.permutation([2.0 ** random.uniform(6.0, 8.0), 2.0 ** random.uniform(11.0, 12.9)])
            return np.asarray(chirp(seconds, ends[0], _MADE_S, ends[1], method="logarithmic"))


def train_network(run: Run, *, fold: int, seed: int) -> dict[str, Any]:
    """Train and measure one network; return what the store keeps of it."""
    fitted = train_fold(run, test_fold=fold, seed=seed, resume=True)
    records = run.measure(fitted, fold)
    figures = {
        head: {name: round(value, 4) for name, value in metrics(record).items() if name in KEPT}
        for head, record in records.items()
    }
    figures["kind"]["music_auroc"] = round(_music_auroc(records["kind"]), 4)
    if run.teacher is not None:
        figures["teacher"] = {"heard": round(_lessons_learned(run, fitted.checkpoint, fold), 4)}
    return {
        "figures": figures,
        "epochs": fitted.epochs,
        "minutes": fitted.minutes,
        "parameters": records[run.plan.head].parameters,
        "hardware": describe_machine(),
        "commit": commit_of_this_code(),
    }


def _lessons_learned(run: Run, checkpoint: Path, fold: int) -> float:
    """The share of the variance of what the teacher says of a fold, window by window, that the network explains there:
    how much of the teacher's ear it has, by files that it has not heard."""
    card, hear = pupil_of(checkpoint)
    _, teacher = without_fold(run, fold)
    answered, said = [], []
    for track in all_tracks([question.in_folds({fold}) for question in run.questions]):
        (windows,) = windows_of(run.features.features[track.path], card)
        places = np.unique(np.linspace(0, len(windows) - 1, _WINDOWS_A_FILE).round().astype(int))
        said.append(teacher.lessons([track.path] * len(places), (places * card.window.hop_frames).tolist()))
        answered.append(hear(windows[places]))
    truth, answer = torch.cat(said), torch.cat(answered)
    known = ~truth.isnan().any(1)
    missed = (truth[known] - answer[known]).square().mean(0)
    return float(1 - missed.sum() / truth[known].var(0).sum())


def without_fold(run: Run, fold: int) -> tuple[list[Question], Teacher]:
    """What a network that is tested on a fold learns from: the questions, copies of tracks among theirs, and the
    teacher, standardised over them."""
    assert run.teacher is not None
    questions = [question.in_folds(run.folds - {fold}).with_copies(run.copies) for question in run.questions]
    return questions, run.teacher.standardised([track.path for track in all_tracks(questions)])


def pupil_of(checkpoint: Path) -> tuple[ModelCard, Callable[[npt.NDArray[np.float32]], Tensor]]:
    """The card of a network, and what it takes its teacher to say of windows (n, bands, frames): (n, outputs)."""
    network, card = load_checkpoint(checkpoint)
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]

    @torch.inference_mode()
    def hear(windows: npt.NDArray[np.float32]) -> Tensor:
        embedded: Tensor = network.embed(torch.from_numpy(np.ascontiguousarray(windows)))
        return embedded @ state["pupil.weight"].T + state["pupil.bias"]

    return card, hear


def ask_the_teacher(run: Run) -> dict[str, float]:
    """What the teacher itself answers to the first question, by regressions that have not learned from a track's fold:
    a mark for what learns from it."""
    assert run.teacher is not None
    teacher = run.teacher.standardised([track.path for track in all_tracks(run.questions)])
    question = run.questions[0]
    answers = soft_targets(teacher, [question], balance=run.plan.make_recipe().balance)
    tracks = [track for track in question.tracks if track.path in answers.said]
    labels = np.array([question.labels.index(track.label) for track in tracks])
    named = np.array([answers.said[track.path][1].mean(0).argmax() for track in tracks])
    return {
        "file_accuracy": round(float(accuracy_score(labels, named)), 4),
        "file_balanced_accuracy": round(float(balanced_accuracy_score(labels, named)), 4),
    }


def ship(run: Run, model: Path, *, name: str) -> None:
    """Make the model of all folds, and keep how far those that calibrate it can be trusted, every file once."""
    tested = cross_validate(run, resume=True)
    make_model_of_all(run, tested, model, resume=True)
    _, card = open_model(model)
    keep(
        "shipped",
        name,
        {
            "bytes": model.stat().st_size,
            "commit": card.provenance.commit,
            "figures": {
                head.name: {
                    "temperature": head.temperature,
                    "file_temperature": head.file_temperature,
                    "enter": head.enter,
                    **{each: round(card.metrics.get(f"{prefix}{each}", math.nan), 4) for each in CALIBRATED},
                }
                for prefix, head in (("" if not at else f"{head.name}.", head) for at, head in enumerate(card.heads))
            },
        },
    )


def _music_auroc(record: Record) -> float:
    """How well the probability of music tells it from speech and everyday sounds; made ones would be too easy."""
    heard = [file for file in record.files if Path(file.name).parent.name != MADE]
    music = record.labels.index("music")
    return float(
        roc_auc_score([file.label == "music" for file in heard], [file.live.probabilities[music] for file in heard])
    )


def read_store() -> dict[str, Any]:
    """What docs/base.json holds."""
    store: dict[str, Any] = (
        json.loads(STORE.read_text(encoding="utf-8")) if STORE.exists() else {"variants": {}, "sources": {}}
    )
    return store


def keep(part: str, name: str, found: dict[str, Any]) -> None:
    """Put what was found out about a variant into a part of the store, and write the page from it."""
    with _changed() as store:
        store.setdefault(part, {})[name] = found


def keep_network(name: str, variant: dict[str, Any], network: str, found: dict[str, Any]) -> None:
    """Put one network of a variant into the store, beside those that are there."""
    with _changed() as store:
        store["variants"].setdefault(name, {**variant, "networks": {}})["networks"][network] = found


@contextmanager
def _changed() -> Iterator[dict[str, Any]]:
    # What another command finds out meanwhile must not be lost.
    with FileLock(Path(tempfile.gettempdir()) / "genrescope-base.lock"):
        store = read_store()
        yield store
        kept = json.dumps(store, indent=1, sort_keys=True) + "\n"
        # Of what was kept, and so in its order: the next command's page must not differ from this one's.
        for path, text in ((STORE, kept), (PAGE, render(json.loads(kept)))):
            with replacing(path) as temporary:
                temporary.write_text(text, encoding="utf-8")


def parse_settings(texts: list[str]) -> dict[str, str | int | float]:
    """``["mixup=0"]`` as settings of a recipe."""
    return dict(text.split("=", 1) for text in texts)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True, help="folder for checkpoints, models and records")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "genrescope" / "features")
    parser.add_argument("--folds", type=int, nargs="+", default=list(FOLDS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--teacher", type=Path, help="the lessons that benchmarks/teach.py writes (default: none)")
    parser.add_argument("--copies", type=Path, help="the table that benchmarks/speeds.py writes")
    parser.add_argument("--name", default="base", help="what the variant is called")
    parser.add_argument("--note", default="the recipe as it is", help="what is different about it")
    parser.add_argument("--export", type=Path, metavar="MODEL", help="make the model that ships too")
    arguments = parser.parse_args()
    if arguments.export:
        require_writable_file(arguments.export, option="--export")
    folder = arguments.runs / "table"
    folder.mkdir(parents=True, exist_ok=True)
    table, also = write_table(arguments.data, folder)
    settings = parse_settings(arguments.settings)
    teacher: Path | None = arguments.teacher
    plan = Plan(
        recipe="base",
        settings={"precision": "bf16-mixed", **settings},
        tables=(table,),
        label_column="genre",
        group_column="artist",
        leaks=Leaks.DROP,
        also=tuple(also),
        given="kind=music",
        titles=_TITLES,
        auxiliary=("style", *_LEAST_TRACKS),
        teacher=teacher,
        copies=arguments.copies,
        all_folds=True,
        test_fold=4,
        name=f"genrescope-{arguments.name}",
        description=DESCRIPTION,
        data=SOURCES + (LESSONS if teacher else ""),
        licence=LICENCE + (LICENCE_OF_LESSONS if teacher else ""),
    )
    variant = {
        "note": arguments.note,
        "settings": settings,
        "teacher": teacher and teacher.stem,
        "copies": arguments.copies and arguments.copies.stem,
    }
    before = read_store()["variants"].get(arguments.name, variant)
    if any(before.get(key) != value for key, value in variant.items() if key != "note"):
        parser.error(
            f"{arguments.name} is a variant with settings {before['settings']}, teacher {before['teacher']} and "
            f"copies {before.get('copies')}: give another --name"
        )
    kept = before.get("networks", {})
    todo = [(fold, seed) for seed in range(arguments.seeds) for fold in arguments.folds]
    todo = [(fold, seed) for fold, seed in todo if fold_name(fold, seed) not in kept]
    if not todo and not arguments.export:
        say(f"{arguments.name}: done")
        return
    run = open_run(plan, arguments.runs / arguments.name, cache=arguments.cache, workers=2, resume=True)
    if teacher is not None and teacher.stem not in read_store().get("teachers", {}):
        keep("teachers", teacher.stem, ask_the_teacher(run))
    for fold, seed in todo:
        found = train_network(run, fold=fold, seed=seed)
        keep_network(arguments.name, variant, fold_name(fold, seed), found)
        shown = ", ".join(
            f"{what} {figures[of]:.3f}"
            for what, figures in found["figures"].items()
            for of in ("file_accuracy", "heard")
            if of in figures
        )
        say(f"{arguments.name}, fold {fold}, seed {seed}: {shown}; {found['minutes']:.1f} minutes")
    if arguments.export:
        kept = read_store()["variants"][arguments.name]["networks"]
        if missing := [fold for fold in FOLDS if fold_name(fold, 0) not in kept]:
            parser.error(f"--export wants every fold with seed 0, there is no fold {', '.join(map(str, missing))}")
        ship(run, arguments.export, name=arguments.name)


if __name__ == "__main__":
    main()
