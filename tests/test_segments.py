"""Training windows, and what of their features travels to other processes."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from labelled_audio import clip, write_wav
from tiny_training import tiny

from models.spec import WindowSpec
from train.features import read_features
from train.question import Question
from train.recipes import make_recipe
from train.segments import LabelledFrames, RandomSegments
from train.track import Track


@pytest.mark.parametrize("name", ["zhang-1d", "benito-both"])
def test_other_processes_are_sent_places_on_the_disk_not_features(tmp_path, name):
    recipe = make_recipe(name)
    tracks = [
        Track(write_wav(tmp_path / f"{number}.wav", clip(label, number)), label, 0)
        for number, label in enumerate(("low", "high", "noise"))
    ]
    window = WindowSpec(frames=50, hop_frames=10)
    features = read_features(recipe.inputs, window, tracks, cache=tmp_path / "cache", workers=0).features
    data = LabelledFrames.join([Question("tone", ("high", "low", "noise"), tuple(tracks))], features)
    places = torch.tensor([0, 1, 2, 0]), torch.tensor([[0], [3], [7], [11]])
    ours = data.cut(*places, 50)  # by now the files are mapped here
    assert sum(each.nbytes for inputs in features.values() for each in inputs) > 200_000
    sent = pickle.dumps(data)
    assert len(sent) < 5_000
    theirs = pickle.loads(sent)
    for one, other in zip(ours, theirs.cut(*places, 50), strict=True):
        np.testing.assert_array_equal(one, other)
    assert theirs.describe() == data.describe()
    assert data.lengths.tolist() == [len(features[track.path][0]) for track in tracks]


def test_recoded_tracks_are_cut_at_the_same_places_as_their_tracks_and_as_often_as_asked():
    tracks = tuple(Track(Path(name), "a", 0) for name in "pq")
    lengths = {track.path: np.arange(90.0, dtype=np.float32)[:, None] for track in tracks}
    recoded = tuple({path: (values + 1000 * codec,) for path, values in lengths.items()} for codec in (1, 2))
    original = {path: (values,) for path, values in lengths.items()}
    data = LabelledFrames.join([Question("genre", ("a", "b"), tracks)], original, recoded=recoded)
    (plain,) = RandomSegments(data, 40, 400, seed=1, per_file=150)
    (mixed,) = RandomSegments(data, 40, 400, seed=1, per_file=150, recoded_share=0.5)
    codec, left = mixed.windows[0].div(1000, rounding_mode="floor"), mixed.windows[0] % 1000
    torch.testing.assert_close(left, plain.windows[0])
    assert (codec == codec[:, :, :1]).all()
    of_each = [(codec[:, 0, 0] == number).float().mean().item() for number in range(3)]
    assert of_each == pytest.approx([0.5, 0.25, 0.25], abs=0.1)


def test_a_recipe_asks_for_recoded_tracks():
    assert tiny("base", codecs=0.25).train_dataloader().recoded_share == 0.25
