"""What MusiCNN and BirdNET say of our tracks and copies, all two seconds: lessons for ``genrescope train --teacher``.

    pip download --no-deps -d /tmp musicnn==0.1.0 audioclass==0.2.5
    unzip /tmp/musicnn-0.1.0-py3-none-any.whl -d /tmp && unzip /tmp/audioclass-0.2.5-py3-none-any.whl -d /tmp
    pip install tensorflow-cpu librosa
    python benchmarks/teach.py --musicnn /tmp/musicnn --birdnet /tmp/audioclass/data/BirdNET_GLOBAL_6K_V2.4 \\
      --data DATA --copies COPIES/copies.csv --output lessons.npz

In an environment of its own: nothing else of ours needs TensorFlow. Then ``benchmarks/base.py --teacher lessons.npz``;
the file names the tracks by where they are now. MusiCNN and two VGGs (Pons & Serra, "musicnn: Pre-trained
convolutional neural networks for music audio tagging", 2019; weights CC BY-NC-SA 4.0) were trained on the Million Song
Dataset (MSD) and MagnaTagATune (MTT); BirdNET (Kahl et al., "BirdNET: A deep learning solution for avian diversity
monitoring", 2021; weights CC BY-NC-SA 4.0) on the voices of 6,000 species, and what it hears in music is not what those
hear. Their graphs are run as they were saved. Stopped at any moment, the same command goes on.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import numpy.typing as npt
import tensorflow

SETS = ("emotify", "4q", "music_speech", "esc10")
NETWORKS = {
    "MSD_musicnn": ("model/dense/Relu:0", "model/Sigmoid:0"),
    "MSD_vgg": ("model/max_pooling2d_4/MaxPool:0", "model/Sigmoid:0"),
    "MTT_vgg": ("model/max_pooling2d_4/MaxPool:0", "model/Sigmoid:0"),
}
"""MusiCNN's folders, and the tensors of what is kept: the last layer but one, and the tags."""
RATE_HZ, N_FFT, HOP, BANDS, FRAMES = 16_000, 512, 256, 96, 187
EVERY, EVERY_OF_COPIES = 124, 150
"""Frames from one place to the next: 2 and 2.4 seconds."""
BIRDNET_RATE_HZ, BIRDNET_WINDOW = 48_000, 144_000
BIRDNET_KEEPS = slice(None, None, 4)
"""One in four of its 1,024 outputs: all of them would drown what those say that know music."""
BATCH = 8

Array = npt.NDArray[np.float32]


class Network:
    """One of MusiCNN's graphs as it was saved, restored without the code that made it."""

    def __init__(self, folder: Path, wanted: tuple[str, str]) -> None:
        old = tensorflow.compat.v1
        self._wanted = wanted
        graph = tensorflow.Graph()
        with graph.as_default():
            saved = old.MetaGraphDef()
            saved.ParseFromString((folder / ".meta").read_bytes())
            for node in saved.graph_def.node:
                # Today's TensorFlow infers other shapes for the gradients, which nothing asks for here.
                node.attr.pop("_output_shapes", None)
            old.import_graph_def(saved.graph_def, name="")
            self._session = old.Session(graph=graph)
            saver = saved.saver_def
            self._session.run(saver.restore_op_name, {saver.filename_tensor_name: f"{folder}/"})

    def hear(self, windows: Array) -> tuple[Array, Array]:
        """``windows`` (n, frames, bands); returns embeddings (n, length) and tags' probabilities (n, 50)."""
        found: Any = self._session.run(self._wanted, {"model/Placeholder:0": windows, "model/Placeholder_2:0": False})
        embedding, tags = found
        return embedding.reshape(len(windows), -1), tags


class MusiCnn:
    """MusiCNN and the VGGs; the first to be asked, it says where."""

    name = "musicnn"

    def __init__(self, folder: Path) -> None:
        self._networks = [Network(folder / name, wanted) for name, wanted in NETWORKS.items()]

    def hear(self, file: Path, every: int) -> dict[str, Array]:
        """``places``, where windows begin, so many frames apart, seconds (n,), ``embedding`` and ``tags`` (n, ...); a
        file shorter than a window is repeated."""
        samples, _ = librosa.load(file, sr=RATE_HZ)
        mel = librosa.feature.melspectrogram(y=samples, sr=RATE_HZ, n_fft=N_FFT, hop_length=HOP, n_mels=BANDS)
        features = np.log10(10_000 * mel.T + 1).astype(np.float32)
        if len(features) < FRAMES:
            features = np.resize(features, (FRAMES, BANDS))
        places = np.arange(0, len(features) - FRAMES + 1, every)
        windows = np.stack([features[at : at + FRAMES] for at in places])
        said = [network.hear(windows) for network in self._networks]
        return {
            "places": (places * HOP / RATE_HZ).astype(np.float32),
            "embedding": np.concatenate([embedding for embedding, _ in said], axis=1),
            "tags": np.concatenate([tag for _, tag in said], axis=1),
        }


class BirdNet:
    """BirdNET 2.4's embedding; its species are of no use here."""

    name = "birdnet"

    def __init__(self, folder: Path) -> None:
        self._model = tensorflow.saved_model.load(str(folder))
        self._embed = self._model.signatures["embeddings"]

    def hear(self, file: Path, places: Array) -> dict[str, Array]:
        """``embedding`` (n, 1024) of the windows that begin at ``places``, seconds (n,)."""
        samples, _ = librosa.load(file, sr=BIRDNET_RATE_HZ)
        if len(samples) < BIRDNET_WINDOW:
            samples = np.resize(samples, BIRDNET_WINDOW)
        # The last place is counted in whole frames of a picture, which may begin a little before the samples end.
        samples = np.pad(samples, (0, BIRDNET_RATE_HZ))
        begins = np.round(places * BIRDNET_RATE_HZ).astype(int)
        windows = np.stack([samples[at : at + BIRDNET_WINDOW] for at in begins]).astype(np.float32)
        said = [
            self._embed(inputs=tensorflow.constant(windows[at : at + BATCH])) for at in range(0, len(windows), BATCH)
        ]
        return {"embedding": np.concatenate([next(iter(each.values())).numpy() for each in said])}


def heard_before(folder: Path, file: Path, hear: Callable[[], dict[str, Array]]) -> dict[str, Array]:
    """What was kept in ``folder`` of what one teacher says of ``file``; it is asked if nothing was."""
    part = folder / f"{hashlib.sha256(str(file).encode()).hexdigest()[:16]}.npz"
    if not part.exists():
        folder.mkdir(parents=True, exist_ok=True)
        temporary = part.with_suffix(".part.npz")
        np.savez(temporary, **hear())
        temporary.replace(part)
    with np.load(part) as arrays:
        return dict(arrays)


def padded(arrays: list[Array], dtype: type[np.floating[Any]]) -> npt.NDArray[Any]:
    """Arrays of different lengths as one, (arrays, longest, ...); not numbers beyond the end."""
    longest = max(map(len, arrays))
    whole = np.full((len(arrays), longest, *arrays[0].shape[1:]), np.nan, dtype=dtype)
    for row, array in zip(whole, arrays, strict=True):
        row[: len(array)] = array
    return whole


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--musicnn", type=Path, required=True, help="the folder musicnn of the package")
    parser.add_argument("--birdnet", type=Path, required=True, help="BirdNET's folder in the package audioclass")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--copies", type=Path, help="the table of benchmarks/speeds.py: its files are heard too")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    musicnn, birdnet = MusiCnn(arguments.musicnn), BirdNet(arguments.birdnet)
    files, every = [], {}
    for name in SETS:
        with (arguments.data / name / "tracks.csv").open(newline="", encoding="utf-8") as file:
            files += [(arguments.data / name / row["path"]).resolve() for row in csv.DictReader(file)]
    if arguments.copies:
        with arguments.copies.open(newline="", encoding="utf-8") as file:
            copies = [(arguments.copies.parent / row["path"]).resolve() for row in csv.DictReader(file)]
        files += copies
        every = dict.fromkeys(copies, EVERY_OF_COPIES)
    parts = arguments.output.with_suffix("")
    starts, embeddings, tags = [], [], []
    for number, path in enumerate(files):
        music = heard_before(parts / musicnn.name, path, partial(musicnn.hear, path, every.get(path, EVERY)))
        birds = heard_before(parts / birdnet.name, path, partial(birdnet.hear, path, music["places"]))
        starts.append(music["places"])
        embeddings.append(np.concatenate([music["embedding"], birds["embedding"][:, BIRDNET_KEEPS]], axis=1))
        tags.append(music["tags"])
        print(f"\r{number + 1}/{len(files)}", end="", file=sys.stderr, flush=True)
    np.savez(
        arguments.output,
        path=np.array([str(path) for path in files]),
        start_s=padded(starts, np.float32),
        embedding=padded(embeddings, np.float16),
        tag_probability=padded(tags, np.float16),
    )


if __name__ == "__main__":
    main()
