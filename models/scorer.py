"""What a scorer is: windows in, calibrated probabilities out. One file per runtime implements it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from models.errors import ConfigError, GenrescopeError
from models.scorer_kind import ScorerKind
from models.spec import ModelCard

FloatArray = npt.NDArray[np.float32]
WindowBatch = tuple[FloatArray, ...]
"""The same n windows as each of the card's inputs has them: one array (n, bands, frames) an input."""

PRETRAINED = Path(__file__).parent / "pretrained"
DEFAULT_MODEL = PRETRAINED / "genrescope-base.onnx"
ENGINE_SUFFIX = ".engine"
"""Of a file that holds a TensorRT engine beside its model."""

_BATCH_BYTES = 4 << 20
"""Of the network's input at once. Its feature maps are up to a hundred times as large."""


@runtime_checkable
class Scorer(Protocol):
    """A loaded model. One thread at a time calls ``score``."""

    card: ModelCard
    name: str
    """The runtime and its device, to show a person: ``ONNX Runtime 1.31 (CPU)``."""

    def score(self, windows: WindowBatch) -> Mapping[str, FloatArray]:
        """Probabilities of each head, ``{head name: (n, classes)}``, for n windows.

        Raises:
            FeatureShapeError: the windows are not of the card's shape.
        """
        ...


class AskedFirst:
    """A scorer whose card has another of its questions first: what measures or calibrates a head looks at the first.

    Raises:
        ConfigError: no such head.
    """

    def __init__(self, scorer: Scorer, name: str) -> None:
        heads = scorer.card.heads
        if name not in {head.name for head in heads}:
            raise ConfigError(
                f"expected a head of the model {scorer.card.name!r} ({', '.join(head.name for head in heads)}), "
                f"got {name!r}"
            )
        first = sorted(heads, key=lambda head: head.name != name)
        self.card = scorer.card.model_copy(update={"heads": tuple(first)})
        self.name = scorer.name
        self.score = scorer.score


class Memoised:
    """A scorer that keeps its answers: asked about the same windows for each of many heads, it listens once."""

    def __init__(self, scorer: Scorer) -> None:
        self.card = scorer.card
        self.name = scorer.name
        self._scorer = scorer
        self._answers: dict[bytes, Mapping[str, FloatArray]] = {}

    def score(self, windows: WindowBatch) -> Mapping[str, FloatArray]:
        """See ``Scorer``."""
        digest = hashlib.blake2b(digest_size=16)
        for each in windows:
            digest.update(str(each.shape).encode())
            digest.update(np.ascontiguousarray(each).data)
        key = digest.digest()
        if key not in self._answers:
            self._answers[key] = self._scorer.score(windows)
        return self._answers[key]


class FeatureShapeError(GenrescopeError):
    """Windows of another shape than the model's card says."""


def check_windows(windows: WindowBatch, card: ModelCard) -> None:
    """Refuse windows that are not (n, bands, frames) of the card, or not equally many for each input.

    Raises:
        FeatureShapeError: with the expected and the actual shape.
    """
    shapes = [each.shape for each in windows]
    n = shapes[0][:1] if shapes else ()
    if shapes != [(*n, *shape) for shape in card.input_shapes]:
        expected = [("n", *shape) for shape in card.input_shapes]
        raise FeatureShapeError(f"model {card.name!r} expected windows of shape {expected}, got {shapes}")


def windows_at_once(card: ModelCard) -> int:
    """How many windows one call of ``score`` should be given at most, at least 1: memory goes with their bytes."""
    window_bytes = sum(4 * bands * frames for bands, frames in card.input_shapes)
    return max(1, _BATCH_BYTES // window_bytes)


def load_scorer(path: Path = DEFAULT_MODEL, kind: ScorerKind = ScorerKind.ONNX) -> Scorer:
    """Load a model file with the runtime asked for.

    Code that says nothing gets ONNX Runtime, at once and the same everywhere. ``auto`` measures, which takes up to a
    second; what it found says ``models.choose.choose``. An engine file is always run by its own TensorRT.

    Raises:
        ModelFileError: the file is missing, damaged, foreign, or contradicts its card; the runtime is not installed,
            or cannot run the model.
        EngineError: TensorRT or its card is missing, or the engine cannot be built or opened.
    """
    engine = path.suffix == ENGINE_SUFFIX
    if engine or kind in (ScorerKind.TENSORRT, ScorerKind.TENSORRT_RTX):
        from models.tensorrt_scorer import TensorRtScorer

        return TensorRtScorer(path, None if engine else kind.value)
    if kind is ScorerKind.AUTO:
        from models.choose import choose

        return choose(path).scorer
    if kind is ScorerKind.ONNX_CUDA:
        from models.onnx_cuda_scorer import OnnxCudaScorer

        return OnnxCudaScorer(path)
    if kind is ScorerKind.OPENVINO:
        from models.openvino_scorer import OpenVinoScorer

        return OpenVinoScorer(path)
    if kind is ScorerKind.TORCH:
        from models.torch_scorer import TorchScorer

        return TorchScorer(path)
    from models.onnx_scorer import OnnxScorer

    return OnnxScorer(path)
