"""What MusiCNN says of our tracks and their copies, all two seconds: lessons for ``genrescope train --teacher``.

    pip download --no-deps -d /tmp musicnn==0.1.0 && unzip /tmp/musicnn-0.1.0-py3-none-any.whl -d /tmp
    pip install tensorflow-cpu librosa
    python benchmarks/teach.py --weights /tmp/musicnn --data DATA --copies COPIES/copies.csv --output lessons.npz

In an environment of its own: nothing else of ours needs TensorFlow. Then ``benchmarks/base.py --teacher lessons.npz``;
the file names the tracks by where they are now. The networks (Pons & Serra, "musicnn: Pre-trained
convolutional neural networks for music audio tagging", 2019; weights CC BY-NC-SA 4.0) were trained on the Million Song
Dataset (MSD) and MagnaTagATune (MTT). Their graphs are run as they were saved. Stopped at any moment, the same command
goes on.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
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
"""Their folders below the weights, and the tensors of what is kept: the last layer but one, and the tags."""
RATE_HZ, N_FFT, HOP, BANDS, FRAMES = 16_000, 512, 256, 96, 187
EVERY, EVERY_OF_COPIES = 124, 150
"""Frames from one place to the next: 2 and 2.4 seconds."""

Array = npt.NDArray[np.float32]


class Network:
    """A graph as it was saved, restored without the code that made it."""

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


def windows_of(file: Path, every: int) -> tuple[Array, Array]:
    """Where windows begin, seconds (n,), so many frames apart, and their features (n, frames, bands); a file shorter
    than one is repeated."""
    samples, _ = librosa.load(file, sr=RATE_HZ)
    mel = librosa.feature.melspectrogram(y=samples, sr=RATE_HZ, n_fft=N_FFT, hop_length=HOP, n_mels=BANDS)
    features = np.log10(10_000 * mel.T + 1).astype(np.float32)
    if len(features) < FRAMES:
        features = np.resize(features, (FRAMES, BANDS))
    places = np.arange(0, len(features) - FRAMES + 1, every)
    return (places * HOP / RATE_HZ).astype(np.float32), np.stack([features[at : at + FRAMES] for at in places])


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
    parser.add_argument("--weights", type=Path, required=True, help="the folder musicnn of the package")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--copies", type=Path, help="the table of benchmarks/speeds.py: its files are heard too")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    tensorflow.compat.v1.disable_eager_execution()
    networks = [Network(arguments.weights / name, wanted) for name, wanted in NETWORKS.items()]
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
    parts.mkdir(parents=True, exist_ok=True)
    starts, embeddings, tags = [], [], []
    for number, path in enumerate(files):
        part = parts / f"{hashlib.sha256(str(path).encode()).hexdigest()[:16]}.npz"
        if not part.exists():
            places, windows = windows_of(path, every.get(path, EVERY))
            said = [network.hear(windows) for network in networks]
            temporary = part.with_suffix(".part.npz")
            np.savez(
                temporary,
                places=places,
                embedding=np.concatenate([embedding for embedding, _ in said], axis=1),
                tags=np.concatenate([tag for _, tag in said], axis=1),
            )
            temporary.replace(part)
        with np.load(part) as arrays:
            starts.append(arrays["places"])
            embeddings.append(arrays["embedding"])
            tags.append(arrays["tags"])
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
