"""The first head fitted again to whole tracks: one linear layer on what the network hears."""

from pathlib import Path

import numpy as np
import pytest
import torch
from networks import random_network

from models.errors import ConfigError
from models.heads import Heads
from models.model_file import CARD_KEY
from train.export import NETWORK_PREFIX, load_checkpoint
from train.module import embedding_length
from train.question import Question
from train.refit import REFITTED_NAME, refit
from train.track import Track

FRAMES = 400


@pytest.fixture(scope="module")
def network_and_card():
    return random_network("base", width=4, embedding=16)


def save(network, card, folder):
    path = folder / "checkpoint.ckpt"
    weights = {NETWORK_PREFIX + name: values for name, values in network.state_dict().items()}
    torch.save({CARD_KEY: card.to_json(), "state_dict": weights}, path)
    return path


def sounds(card, tracks):
    """Noise whose tilt over the bands tells its label."""
    random = np.random.default_rng(0)
    (bands, _), labels = card.input_shapes[0], card.head.labels
    tilt = np.linspace(-1, 1, bands)
    made = {}
    for track in tracks:
        steep = labels.index(track.label) - 1
        made[track.path] = (random.normal(-2 + steep * tilt, 1.0, (FRAMES, bands)).astype(np.float32),)
    return made


@pytest.fixture(scope="module")
def tracks(network_and_card):
    _, card = network_and_card
    counts = zip(card.head.labels, (20, 8, 4), strict=True)
    return [Track(Path(f"{label}{number}"), label, 0) for label, count in counts for number in range(count)]


def genre(card, tracks):
    return Question(card.head.name, card.head.labels, tuple(tracks))


def named(checkpoint, sound):
    network, card = load_checkpoint(checkpoint)
    windows = torch.from_numpy(np.stack([sound[0].T[:, at : at + card.window.frames] for at in (0, 100, 200)]))
    with torch.inference_mode():
        logits = network(windows)
    return card.head.labels[int(logits[card.head.name].mean(0).argmax())], logits


def test_tracks_are_named_by_what_the_network_hears_already(network_and_card, tracks, tmp_path):
    network, card = network_and_card
    checkpoint = save(network, card, tmp_path)
    heard = sounds(card, tracks)
    refitted = refit(checkpoint, [genre(card, tracks)], heard, inverse_penalty=0.1, balance=1.0)
    assert refitted == tmp_path / REFITTED_NAME
    before = sum(named(checkpoint, heard[track.path])[0] == track.label for track in tracks)
    after = sum(named(refitted, heard[track.path])[0] == track.label for track in tracks)
    assert after > 0.9 * len(tracks) > before


def test_only_the_first_head_is_another(network_and_card, tracks, tmp_path):
    network, card = network_and_card
    checkpoint = save(network, card, tmp_path)
    refitted = refit(checkpoint, [genre(card, tracks)], sounds(card, tracks), inverse_penalty=0.1, balance=0.5)
    before, after = (load_checkpoint(path)[0].state_dict() for path in (checkpoint, refitted))
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed == ["heads.0.weight", "heads.0.bias"]
    assert load_checkpoint(refitted)[1] == card


def test_two_classes(network_and_card, tracks, tmp_path):
    network, card = random_network("base", width=4, embedding=16)
    head = card.head.model_copy(update={"labels": card.head.labels[:2]})
    two = card.model_copy(update={"heads": (head,)})
    network.heads[0] = torch.nn.Linear(16, 2)
    some = [track for track in tracks if track.label in head.labels]
    heard = sounds(card, some)
    refitted = refit(save(network, two, tmp_path), [genre(two, some)], heard, inverse_penalty=1.0, balance=1.0)
    right = sum(named(refitted, heard[track.path])[0] == track.label for track in some)
    assert right > 0.9 * len(some)


def test_shares_of_raters_are_fitted_as_they_are(network_and_card, tracks, tmp_path):
    network, card = random_network("base", width=4, embedding=16)
    felt = card.head.model_copy(update={"name": "felt", "labels": ("often", "seldom")})
    both = card.model_copy(update={"heads": (card.head, felt)})
    network.heads = Heads(16, {"genre": 3, "felt": 2})
    rated = [Track(track.path, "often", 0, shares=(0.9, 0.1)) for track in tracks]
    questions = [genre(card, tracks), Question("felt", felt.labels, tuple(rated))]
    heard = sounds(card, tracks)
    refitted = refit(save(network, both, tmp_path), questions, heard, inverse_penalty=0.1, balance=1.0)
    _, logits = named(refitted, heard[tracks[0].path])
    np.testing.assert_allclose(logits["felt"].softmax(1)[:, 0].mean(), 0.9, atol=0.02)


def test_a_network_without_an_embedding_has_nothing_to_fit_to():
    _, card = random_network("lidy-timbral")
    with pytest.raises(ConfigError, match="refit need a network with an embedding"):
        embedding_length(card)
