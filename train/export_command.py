"""The command ``export``: a checkpoint or a model as the file that a runtime is given."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from models.errors import ConfigError, EngineError, ModelFileError
from models.precision_kind import Precision
from train.commands import need_training_packages
from train.wording import counted

if TYPE_CHECKING:
    from rich.progress import TaskID

    from models.scorer import WindowBatch
    from models.tensorrt_build import Progress

ENGINE = "An engine"
CHECKPOINT_SUFFIX = ".ckpt"


class Engine(StrEnum):
    """What the file is for."""

    ONNX = "onnx"
    TENSORRT = "tensorrt"
    TENSORRT_RTX = "tensorrt-rtx"


def export(
    source: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT|MODEL", help="A checkpoint.ckpt made by `train`, or a model file.")
    ],
    *,
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="The file to write.")],
    engine: Annotated[
        Engine,
        typer.Option(
            "--engine",
            help="onnx: a model file for every runtime. tensorrt: built on and for this machine's NVIDIA card. "
            "tensorrt-rtx: for NVIDIA cards of desktops, built on any machine.",
        ),
    ] = Engine.ONNX,
    precision: Annotated[
        Precision,
        typer.Option("--precision", help="Numbers to calculate with. int8 is fitted to the recordings of --sound."),
    ] = Precision.FP32,
    from_samples: Annotated[
        bool,
        typer.Option(
            "--from-samples",
            help="Work out the features inside the graph, on the card: for hundreds of stations. A processor is slower "
            "with it.",
        ),
    ] = False,
    sound: Annotated[
        list[Path] | None,
        typer.Option(
            "--sound",
            metavar="PATH",
            help="Recordings, a folder, or a table with a column path: the new graph is compared with the model on "
            "windows of these, and int8 is fitted to them. Best what the model was trained on.  [default: noise]",
        ),
    ] = None,
    sm: Annotated[
        list[str] | None,
        typer.Option(
            "--sm",
            metavar="NUMBER",
            help="Compute capability of a card it is for: 80, 86, 89 (RTX 40), 120 (RTX 50). Can be repeated; for "
            "tensorrt-rtx.  [default: any RTX card]",
            rich_help_panel=ENGINE,
        ),
    ] = None,
    batch: Annotated[
        tuple[int, int] | None,
        typer.Option(
            "--batch",
            metavar="OPT MAX",
            help="Windows at once: the number it is tuned for, and the most.  [default: what live audio asks for]",
            rich_help_panel=ENGINE,
        ),
    ] = None,
) -> None:
    """Write a checkpoint or a model as another file: other numbers, features in the graph, or a TensorRT engine.

    The new graph is compared with the model's, both run by ONNX Runtime on the same windows, and how far they differ is
    said; an engine is compared too, on the card, whenever it is opened. A checkpoint is written as it stands, not
    calibrated, without figures: `train` itself ends with a measured model file.

        genrescope export model.onnx --engine tensorrt-rtx --precision fp16 --sm 89 --output kiosk.engine

        genrescope live --model kiosk.engine
    """
    from rich.console import Console

    from models.atomic_write import replacing, require_writable_file

    require_writable_file(output, option="--output")
    _check(output, engine, precision, sm=sm or (), batch=batch)
    say = Console(highlight=False, soft_wrap=True).print
    plain = (engine, precision, from_samples) == (Engine.ONNX, Precision.FP32, False)
    with TemporaryDirectory() as folder:
        model = source
        if source.suffix == CHECKPOINT_SUFFIX:
            model = Path(folder) / "model.onnx"
            difference = _of_checkpoint(source, model)
            if plain:
                with replacing(output) as temporary:
                    shutil.copyfile(model, temporary)
                say(f"model: {output} (torch and ONNX Runtime differ by {difference:.1e} at most)")
                return
        elif plain:
            raise ConfigError(
                f"{source} is no checkpoint (.ckpt): of a model, give --engine, --precision or --from-samples"
            )
        converted = _Conversion(model, precision, from_samples=from_samples, sound=sound or [])
        findings = converted.findings()
        if engine is Engine.ONNX:
            say(converted.write_model(output))
        else:
            say(converted.write_engine(output, engine.value, sm or (), batch))
        for line in findings:
            say(line)


def _check(
    output: Path, engine: Engine, precision: Precision, *, sm: Sequence[str], batch: tuple[int, int] | None
) -> None:
    """Refuse at once what would be refused after minutes, or be misunderstood later."""
    from models.engine_file import Target
    from models.scorer import ENGINE_SUFFIX

    if (output.suffix == ENGINE_SUFFIX) != (engine is not Engine.ONNX):
        raise ConfigError(
            f"--output {output}: expected a name that ends in {ENGINE_SUFFIX} for an engine, and in .onnx for a model; "
            f"this is --engine {engine}"
        )
    if engine is Engine.ONNX:
        if sm or batch:
            raise ConfigError("--sm and --batch are of an engine: give --engine tensorrt-rtx, or tensorrt")
        return
    from models.cuda import Cuda
    from models.tensorrt_build import tensorrt_module

    Target.of(product=engine.value, precision=precision, sms=tuple(sm), batch=batch or (1, 1))
    tensorrt_module(engine.value)
    if engine is Engine.TENSORRT:
        try:
            Cuda()
        except EngineError as error:
            raise EngineError(
                f"{error}; an engine of tensorrt is built on the card that will run it, of tensorrt-rtx on any machine"
            ) from error


def _of_checkpoint(checkpoint: Path, path: Path) -> float:
    """Write a checkpoint as a model file; how far torch and ONNX Runtime differ."""
    need_training_packages()
    from models.example_windows import noise_windows
    from train.export import export as export_model
    from train.export import load_checkpoint

    network, card = load_checkpoint(checkpoint)
    return export_model(network, card, path, windows=noise_windows(card))


class _Conversion:
    """A model on its way to another file, and the windows that it is compared on."""

    def __init__(self, path: Path, precision: Precision, *, from_samples: bool, sound: Sequence[Path]) -> None:
        from models.example_windows import noise_windows
        from models.from_samples import from_samples as with_front_end
        from models.model_file import open_model
        from models.precision import in_precision
        from train.sound_windows import sound_windows

        if precision is Precision.INT8 and not sound:
            raise ConfigError("int8 is fitted to recordings: give --sound, best the table that the model learned from")
        self._path = path
        _, self._original = open_model(path)
        self._model, self._card = path.read_bytes(), self._original
        if from_samples:
            graph, self._card = with_front_end(self._model, self._original)
            self._model = graph.SerializeToString()
        self._precision = precision
        self._windows = sound_windows(sound, self._card) if sound else noise_windows(self._card)
        self._heard = "the recordings" if sound else "noise"
        self._graph = in_precision(self._model, self._card, precision, windows=self._windows)
        if precision is not Precision.FP32:
            self._forget_figures()

    def _forget_figures(self) -> None:
        """The figures were measured in fp32: the new card says that there are none of these numbers."""
        import onnx

        from models.model_file import CARD_KEY

        provenance = self._card.provenance
        protocol = f"{provenance.protocol}; then brought into {self._precision}, not measured again"
        self._card = self._card.model_copy(
            update={"metrics": {}, "provenance": provenance.model_copy(update={"protocol": protocol})}
        )
        onnx.helper.set_model_props(self._graph, {CARD_KEY: self._card.to_json()})

    def write_model(self, output: Path) -> str:
        """Write it as a model file; what it is, in words."""
        from models.atomic_write import replacing
        from models.seal import sealed

        with replacing(output) as temporary:
            temporary.write_bytes(sealed(self._graph.SerializeToString()))
        return f"model: {output}, {_size(output)}"

    def write_engine(self, output: Path, product: str, sms: Sequence[str], batch: tuple[int, int] | None) -> str:
        """Build an engine and write it; what it is, in words."""
        from models.cuda import Cuda
        from models.tensorrt_engines import make_engine, make_target

        given = {"product": product, "precision": self._precision, "sms": tuple(sms)}
        target = make_target(self._card, **given, **({"batch": batch} if batch else {}))
        gpu = Cuda().gpu if product == Engine.TENSORRT else None
        started = time.monotonic()
        with _building() as progress:
            engine, _ = make_engine(self._graph.SerializeToString(), self._card, target, gpu=gpu, progress=progress)
        seconds = time.monotonic() - started
        engine.write(output)
        return f"engine: {output}, {_size(output)}, {engine.about.words}, built in {seconds:.1f} s"

    def findings(self) -> list[str]:
        """What its operators calculate with, and how far its answers are from the model's, in words.

        Raises:
            ModelFileError: they are no numbers.
        """
        from models.onnx_scorer import OnnxScorer
        from models.precision import HEAVY, census

        counts = [f"{count} {op} in {kind}" for (op, kind), count in sorted(census(self._graph).items())]
        found = OnnxScorer(self._graph.SerializeToString()).score(self._windows)
        expected = OnnxScorer(self._path).score(self._windows_of_the_original())
        difference = max(float(abs(found[head.name] - expected[head.name]).max()) for head in self._original.heads)
        if not math.isfinite(difference):
            raise ModelFileError(
                f"{self._path}: in {self._precision} its answers are no numbers any more: what it calculates is too "
                "large for them; take another precision"
            )
        name = self._original.head.name
        same = (found[name].argmax(1) == expected[name].argmax(1)).mean()
        return [
            f"operators: {', '.join(each for each in counts if each.split()[1].split('/')[-1] in HEAVY)}",
            f"by ONNX Runtime, compared with {self._path.name} on {counted(len(self._windows[0]), 'window')} of "
            f"{self._heard}: probabilities differ by {difference:.2g} at most, the same {name} in {same:.1%}",
        ]

    def _windows_of_the_original(self) -> WindowBatch:
        from models.from_samples import features_of

        same = self._card.inputs == self._original.inputs
        return self._windows if same else features_of(self._windows, self._original)


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"


@contextmanager
def _building() -> Iterator[Progress | None]:
    """A bar on a terminal for what TensorRT tells of its phases; a line elsewhere."""
    from train.progress import on_terminal, say

    if not on_terminal():
        say("building the engine")
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bars

    with Bars(console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def tell(phase: str, done: int, steps: int) -> bool:
            if phase not in tasks:
                tasks[phase] = bars.add_task(phase)
            bars.update(tasks[phase], completed=done, total=steps, visible=done < steps)
            return True

        yield tell
