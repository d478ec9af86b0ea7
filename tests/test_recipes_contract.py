"""Every recipe, from a little audio to a verdict: train, export, both scorers, the live engine and `classify`."""

from __future__ import annotations

import json

import numpy as np
import pytest
from labelled_audio import LABELS, clip, write_table, write_wav
from toy import ArraySource

import genrescope
from models.audio import load
from models.frontend import features
from models.scorer import Scorer, load_scorer
from models.scorer_kind import ScorerKind
from models.spec import ModelCard
from stream.engine import Engine
from stream.events import Verdict, VerdictState
from train.evaluate import windows_of
from train.recipes import RECIPES, make_recipe

SMALL = {"batch_size": 8}
"""A few windows of each clip are enough to go once through everything."""
RANDOM = {"segments_per_file": 2}


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("music"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", params=sorted(RECIPES))
def model(request, music, cache, tmp_path_factory):
    name = request.param
    settings = SMALL | (RANDOM if make_recipe(name).segments == "random" else {})
    folder = tmp_path_factory.mktemp(name)
    arguments = [
        "train",
        "--table",
        music,
        "--recipe",
        name,
        "--epochs",
        1,
        "--output",
        folder / name,
        "--cache",
        cache,
    ]
    arguments += ["--workers", 0, *(part for key, value in settings.items() for part in ("--set", f"{key}={value}"))]
    genrescope.app([str(argument) for argument in arguments], standalone_mode=False)
    yield folder / name / "model.onnx"
    # The largest three are half a gigabyte each.
    for path in sorted((folder / name).rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()


class Verdicts(list[Verdict]):
    """A sink."""

    def publish(self, event: object) -> None:
        if isinstance(event, Verdict):
            self.append(event)


def live(scorer: Scorer, samples: np.ndarray) -> Verdicts:
    """What the engine says of mono samples at the model's rate, in pieces of an odd size."""
    verdicts = Verdicts()
    source = ArraySource(samples, rate_hz=scorer.card.clock.sample_rate_hz, chunk=1_777)
    Engine(scorer, {"a": source}, [verdicts]).run()
    return verdicts


def whole_file(samples: np.ndarray, card: ModelCard) -> tuple[np.ndarray, ...]:
    inputs = [features(samples, spec) for spec in card.inputs]
    frames = min(map(len, inputs))
    return windows_of([each[:frames] for each in inputs], card)


def test_it_goes_from_audio_to_a_verdict(model, tmp_path, capsys):
    by_onnx, by_torch = (load_scorer(model, kind) for kind in (ScorerKind.ONNX, ScorerKind.TORCH))
    card = by_onnx.card
    assert card.head.labels == LABELS
    path = write_wav(tmp_path / "unheard.wav", clip("high", 99, seconds=3.6))
    samples = load(path, card.clock.sample_rate_hz)
    windows = whole_file(samples, card)
    scores = by_onnx.score(windows)["genre"]
    np.testing.assert_allclose(by_torch.score(windows)["genre"], scores, atol=1e-4)

    verdicts = live(by_onnx, samples)
    scored = [verdict for verdict in verdicts if verdict.raw is not None]
    assert scored, "the live engine has scored nothing"
    assert all(np.isfinite(verdict.raw).all() for verdict in scored)
    short = len(samples) < card.window_samples
    assert (scored[-1].state is VerdictState.WARMING_UP) == short
    if not short:
        # The same audio, whole: the last frames of a file are completed by zeros, those of a stream are not there yet.
        whole = [verdict.raw for verdict in scored if verdict.state is not VerdictState.WARMING_UP]
        np.testing.assert_allclose(whole, scores[: len(whole)], atol=1e-3)

    capsys.readouterr()
    genrescope.app(["classify", "--json", "--scorer", "onnx", "--model", str(model), str(path)], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    told = told[0] if isinstance(told, list) else told
    assert set(told["probabilities"]) == set(LABELS)
    # The mean of the windows that were heard live; of a short file, of the one that it fills by being repeated.
    heard = scores if short else scores[: len(whole)]
    given = [told["probabilities"][label] for label in LABELS]
    np.testing.assert_allclose(given, heard.mean(axis=0), atol=1e-3)
    assert told["label"] == LABELS[int(np.argmax(given))]
