"""What another model says of the music: read, looked up between the places where it listened, and learned from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from labelled_audio import write_table
from networks import LABELS
from tiny_training import SMALL, frames

import genrescope
from models.errors import ConfigError, DatasetError
from models.scorer import load_scorer
from models.scorer_kind import ScorerKind
from models.spec import Head, Provenance
from train.export import load_checkpoint
from train.loop import Execution, fit
from train.module import TrainingModule
from train.recipes import make_recipe
from train.teacher import Teacher, read_teacher

PLACES = np.array([0.0, 10.0, 20.0], dtype=np.float32)


def write_teacher(file: Path, names: list[str], **arrays: np.ndarray) -> Path:
    random = np.random.default_rng(0)
    whole = {
        "path": np.array(names),
        "start_s": np.tile(PLACES, (len(names), 1)),
        "embedding": random.normal(3.0, 2.0, (len(names), 3, 4)).astype(np.float16),
        "tag_probability": random.uniform(0.0, 1.0, (len(names), 3, 2)).astype(np.float16),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, **{**whole, **arrays})
    return file


def save_plain_array(file: Path) -> None:
    with file.open("wb") as opened:
        np.save(opened, np.zeros(3))


def music(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


def test_it_is_read_by_paths_below_a_folder_above_it(tmp_path: Path) -> None:
    a, b, c = music(tmp_path, "set/a.wav", "set/b.wav", "set/c.wav")
    file = write_teacher(tmp_path / "teacher" / "said.npz", ["set/a.wav", "set/b.wav", "set/elsewhere.wav"])
    teacher = read_teacher(file, [a, b, c], seconds_per_frame=0.5)
    assert teacher.outputs == 6
    assert set(teacher.said) == {a, b}
    with np.load(file) as arrays:
        np.testing.assert_array_equal(teacher.said[b][1][:, :4], arrays["embedding"][1])
        tags = arrays["tag_probability"][1].astype(np.float32)
    np.testing.assert_allclose(teacher.said[b][1][:, 4:], np.log(tags / (1 - tags)), atol=1e-4)


def test_a_shorter_file_has_fewer_places(tmp_path: Path) -> None:
    a, b = music(tmp_path, "a.wav", "b.wav")
    nothing = np.nan
    file = write_teacher(
        tmp_path / "said.npz",
        ["a.wav", "b.wav"],
        start_s=np.array([[0.0, 1.0, 2.0], [0.0, 1.0, nothing]]),
        embedding=np.array([[[1.0], [2.0], [3.0]], [[4.0], [5.0], [nothing]]]),
    )
    said = read_teacher(file, [a, b], seconds_per_frame=0.5).said
    assert [len(values) for _, values in said.values()] == [3, 2]
    assert said[b][0].tolist() == [0.0, 1.0]
    assert said[b][1][:, 0].tolist() == [4.0, 5.0]


def test_between_two_places_it_says_what_lies_between() -> None:
    said = np.array([[0.0], [4.0], [2.0]], dtype=np.float32)
    a, b = Path("a"), Path("b")
    teacher = Teacher({a: (PLACES, said)}, 1, seconds_per_frame=0.5)
    lessons = teacher.lessons([a] * 6 + [b], [0, 10, 20, 30, 40, 100, 0])
    assert lessons[:6, 0].tolist() == [0.0, 2.0, 4.0, 3.0, 2.0, 2.0]
    assert lessons[6].isnan().all()


def test_outputs_are_standardised_over_what_is_learned_from() -> None:
    random = np.random.default_rng(0)
    paths = [Path(str(number)) for number in range(9)]
    said = {path: (PLACES, random.normal(5.0, 3.0, (3, 2)).astype(np.float32)) for path in paths}
    said[paths[8]] = (PLACES, np.full((3, 2), 1e6, dtype=np.float32))  # not learned from
    teacher = Teacher(said, 2, 0.5)
    ours = teacher.standardised(paths[:8])
    learned = np.concatenate([ours.said[path][1] for path in paths[:8]])
    np.testing.assert_allclose(learned.mean(0), 0.0, atol=1e-5)
    np.testing.assert_allclose(learned.std(0), 1.0, atol=1e-5)
    assert ours.describe() != teacher.describe()
    with pytest.raises(DatasetError, match="says nothing of the 1 track"):
        teacher.standardised([Path("another")])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda file: file.unlink(), "cannot be read"),
        (lambda file: file.write_bytes(b"PK\3\4 not a zip"), "expected an .npz of arrays"),
        (lambda file: file.write_bytes(b""), "expected an .npz of arrays"),
        (lambda file: np.savez(file, path=np.array(["a.wav"])), "there is no start_s, embedding, tag_probability"),
        (lambda file: write_teacher(file, ["b.wav"]), r"some of 1 track, it is about others \(b.wav\)"),
        (lambda file: write_teacher(file, ["a.wav"], start_s=np.zeros((2, 2))), "start_s"),
        (lambda file: write_teacher(file, ["a.wav"], embedding=np.zeros((1, 2, 4))), "embedding"),
        (lambda file: write_teacher(file, ["a.wav"], embedding=np.full((1, 3, 4), np.nan)), "not all of them numbers"),
        (lambda file: write_teacher(file, ["a.wav"], embedding=np.full((1, 3, 4), "x")), "not all of them numbers"),
        (lambda file: write_teacher(file, ["a.wav"], start_s=np.float32(1)), "start_s"),
        (lambda file: write_teacher(file, ["a.wav"], start_s=np.array([[0.0, 20.0, 10.0]])), "in order"),
        (lambda file: write_teacher(file, ["a.wav"], start_s=np.array([[0.0, np.nan, 10.0]])), "in order"),
        (lambda file: write_teacher(file, ["a.wav"], start_s=np.full((1, 3), np.nan)), "in order"),
        (lambda file: write_teacher(file, ["a.wav"], path=np.array("a.wav")), "path: expected texts"),
        (lambda file: write_teacher(file, ["a.wav"], path=np.array([3])), "path: expected texts"),
        (save_plain_array, "expected an .npz of arrays"),
    ],
)
def test_a_file_that_says_nothing_of_use_is_refused(tmp_path, change, says) -> None:
    (a,) = music(tmp_path, "a.wav")
    file = write_teacher(tmp_path / "said.npz", ["a.wav"])
    change(file)
    with pytest.raises(DatasetError, match=says):
        read_teacher(file, [a], seconds_per_frame=0.5)


def pupil(*, teacher: float = 1.0, said: bool = True, name: str = "base") -> TrainingModule:
    recipe = make_recipe(name, {**SMALL, "teacher": teacher, "epochs": 8, "learning_rate": 3e-3})
    card = recipe.card(
        name="test",
        heads=(Head(name="genre", labels=LABELS),),
        provenance=Provenance(data="", protocol="", epochs=0, seed=0, commit="", licence=""),
    )
    training = frames(card, tracks=9, seed=1)
    if said:
        lessons = {
            path: (PLACES, np.full((3, 2), at % 3 - 1.0, dtype=np.float32))
            for at, path in enumerate(training.paths[:6])
        }
        training = replace(training, teacher=Teacher(lessons, 2, 0.02))
    return TrainingModule(card, recipe, training=training, validation=None, seed=0)


def missed(module: TrainingModule) -> float:
    """Mean squared distance from what the teacher says."""
    module.eval()
    (batch,) = replace(module.train_dataloader(), augmentation=None, batch_size=99)
    with torch.no_grad():
        distance = (module.pupil(module.network.embed(*batch.windows)) - batch.lessons).square()
    return distance[~batch.lessons.isnan()].mean().item()


def test_a_network_comes_nearer_to_its_teacher_and_its_model_has_nothing_of_it(tmp_path: Path) -> None:
    listening, deaf = pupil(teacher=10.0), pupil(teacher=0.0)
    for module, name in ((listening, "listening"), (deaf, "deaf")):
        fit(module, folder=tmp_path / name, resume=False, execution=Execution(accelerator="cpu"))
    assert missed(listening) < missed(deaf)
    batch = next(iter(listening.train_dataloader()))
    listening.training_step(batch._replace(targets=(torch.zeros_like(batch.targets[0]),)), 0).backward()
    assert listening.network.stem.weight.grad.abs().sum() > 0  # labels say nothing here, the teacher does
    network, card = load_checkpoint(tmp_path / "listening" / "checkpoint.ckpt")
    assert not hasattr(network, "pupil")
    assert list(network(torch.zeros(2, *card.input_shapes[0]))) == ["genre"]


def test_a_network_without_an_embedding_cannot_hear_a_teacher() -> None:
    with pytest.raises(ConfigError, match=r"lidy-timbral has none.*recipe base"):
        pupil(name="lidy-timbral")


def test_train_learns_from_a_teacher_and_resumes_with_the_same_one(tmp_path: Path, capsys) -> None:
    table = write_table(tmp_path / "music")
    names = [str(path.relative_to(tmp_path)) for path in sorted((tmp_path / "music").rglob("*.wav"))]
    file = write_teacher(tmp_path / "said.npz", names)
    arguments = ["train", "--table", table, "--recipe", "base", "--epochs", 1, "--output", tmp_path / "out"]
    arguments += ["--cache", tmp_path / "cache", "--workers", 0, "--set", "segments_per_file=2", "--teacher", file]
    arguments += ["--set", "width=4", "--set", "embedding=16"]
    genrescope.app([str(argument) for argument in arguments], standalone_mode=False)
    assert f"teacher: 6 outputs on {len(names)} files" in capsys.readouterr().err
    card = load_scorer(tmp_path / "out" / "model.onnx", ScorerKind.ONNX).card
    assert [head.name for head in card.heads] == ["genre"]
    assert json.loads((tmp_path / "out" / "plan.json").read_text())["teacher"] == str(file)
    refused = [*arguments[: arguments.index("base")], "lidy-timbral", *arguments[arguments.index("base") + 1 :]]
    refused[refused.index(tmp_path / "out")] = tmp_path / "refused"
    with pytest.raises(ConfigError, match="lidy-timbral has none"):
        genrescope.app(
            [str(argument) for argument in refused if "=" not in str(argument) and argument != "--set"],
            standalone_mode=False,
        )
    assert not (tmp_path / "refused").exists()
    assert "; taught by said.npz too" in card.provenance.protocol
    write_teacher(file, names, embedding=np.ones((len(names), 3, 4)))
    with pytest.raises(ConfigError, match="teacher"):
        genrescope.app([str(argument) for argument in [*arguments, "--resume"]], standalone_mode=False)
