import json

import pytest

import genrescope
from models.errors import ConfigError
from train.decision import describe
from train.recipes import RECIPES, make_recipe


@pytest.mark.parametrize(
    ("names", "published", "decision"),
    [
        (["xu"], ("adam", 2e-4, 40, 150, "random"), "majority of 15 random windows of 2 joined slices"),
        (
            ["lidy-timbral", "lidy-parallel", "lidy-parallel-frequency"],
            ("sgd", 0.02, 40, 150, "random"),
            "mean of 30 random windows",
        ),
        (["veselinov-simple", "veselinov-vgg"], ("adam", 1e-3, 64, 100, "first"), "first window alone"),
        (["veselinov-alexnet", "veselinov-googlenet"], ("momentum", 1e-3, 64, 100, "first"), "first window alone"),
        (["zhang-1d"], ("adam", 5e-4, 32, 100, "first"), "first window alone"),
        (["zhang-2d"], ("adam", 4e-3, 32, 300, "first"), "first window alone"),
        (
            ["benito-raw", "benito-spectrogram", "benito-both"],
            ("adam", 5e-4, 50, 15, "consecutive"),
            "sum of all consecutive windows, 50% overlapped",
        ),
    ],
)
def test_the_papers_values_are_the_defaults(names, published, decision):
    for recipe in map(make_recipe, names):
        ours = (recipe.optimiser, recipe.learning_rate, recipe.batch_size, recipe.epochs, recipe.segments)
        assert ours == published
        assert describe(recipe.decision) == decision
        assert (recipe.patience, recipe.precision, recipe.augmentation) == (0, "32-true", None)
        assert (recipe.codecs, recipe.balance, recipe.weight_decay) == (0.0, 0.0, 0.0)
        assert recipe.schedule == ("exponential" if names == ["xu"] else "constant")


def test_the_list_for_programs_has_the_papers_numbers(capsys):
    genrescope.app(["recipes", "--json"], standalone_mode=False)
    entries = json.loads(capsys.readouterr().out)
    assert {entry["name"] for entry in entries} == set(RECIPES)
    assert all(entry["paper"] and entry["classes"] == 10 for entry in entries)
    listed = {
        ",".join([entry["name"], *map(str, entry["settings"].values())]): (
            [tuple(shape) for shape in entry["input_shapes"]],
            entry["parameters"],
            round(entry["window_s"], 2),
        )
        for entry in entries
    }
    magnitudes, samples = (1025, 129), (1024, 128)
    assert listed == {
        "base": ([(80, 138)], 718_924, 2.8),
        "xu,2": ([(128, 240)], 5_794_730, 5.57),
        "xu,1": ([(128, 120)], 2_722_730, 2.79),
        "lidy-timbral,40x80": ([(40, 80)], 563_840, 2.82),
        "lidy-timbral,80x82": ([(80, 82)], 1_283_840, 2.82),
        "lidy-parallel,40x80": ([(40, 80)], 1_462_818, 2.82),
        "lidy-parallel,80x82": ([(80, 82)], 4_125_218, 2.82),
        "lidy-parallel-frequency,40x80": ([(40, 80)], 946_070, 2.82),
        "lidy-parallel-frequency,80x82": ([(80, 82)], 2_146_070, 2.82),
        "veselinov-simple": ([(13, 1300)], 85_216_490, 30.19),
        "veselinov-alexnet": ([(13, 1300)], 63_541_962, 30.19),
        "veselinov-vgg": ([(13, 1300)], 122_832_842, 30.19),
        "veselinov-googlenet": ([(13, 1300)], 6_387_130, 30.19),
        "zhang-1d": ([(128, 130)], 592_010, 3.02),
        "zhang-2d": ([(128, 130)], 304_234, 3.02),
        "benito-raw,segments": ([samples], 1_514_484, 2.97),
        "benito-raw,whole": ([(1024, 976)], 1_514_484, 22.68),
        "benito-spectrogram,segments": ([magnitudes], 1_777_652, 2.97),
        "benito-spectrogram,whole": ([(1025, 977)], 1_777_652, 22.68),
        "benito-both,segments": ([magnitudes, (1024, 129)], 1_646_068, 2.97),
        "benito-both,whole": ([(1025, 977), (1024, 977)], 1_646_068, 22.68),
    }


@pytest.mark.parametrize("rate", [22_050, 44_100])
def test_a_window_is_the_papers_2_82_seconds_at_either_rate(rate):
    recipe = make_recipe("lidy-parallel", {"sample_rate_hz": rate})
    (spec,) = recipe.inputs
    assert spec.samples_for(recipe.window_spec.frames) == 124_416 * rate // 44_100  # section 2.1
    assert spec.fmax_hz == rate / 2


def test_the_other_input_size():
    recipe = make_recipe("lidy-parallel", {"input_size": "80x82"})
    (spec,) = recipe.inputs
    assert (spec.n_mels, recipe.window_spec.frames) == (80, 82)
    assert spec.frames_in(124_416 // 2) == 81  # and one more that zeros after the segment complete


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_makes_its_own_network(name):
    assert make_recipe(name).architecture_spec.name == name


def test_texts_from_a_command_line_are_read():
    recipe = make_recipe("lidy-timbral", {"epochs": "3", "random_gain_db": "12", "sample_rate_hz": "44100"})
    assert (recipe.epochs, recipe.random_gain_db, recipe.sample_rate_hz) == (3, 12.0, 44_100)


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("lidy", {}, "lidy-timbral, lidy-parallel"),
        ("zhang", {}, r"got 'zhang' \(perhaps zhang-"),
        ("zhang-2d", {"architecture": "xu"}, "network is not a setting"),
        ("lidy-parallel", {"epoch": 3}, "epoch.*learning_rate"),
        ("lidy-parallel", {"epochs": 0}, "epochs.*greater than 0"),
        ("lidy-parallel", {"learning_rate": "fast"}, "learning_rate.*'fast'"),
        ("lidy-parallel", {"input_size": "41x80"}, "40x80"),
        ("lidy-parallel", {"segments": "consecutive", "random_gain_db": 3}, "random_gain_db.*random segments"),
        ("lidy-parallel", {"segments": "consecutive", "codecs": 0.5}, "codecs.*random segments"),
        ("benito-raw", {"segments": "random", "segments_per_file": 3, "masks": 1}, "masks.*mel bands"),
        ("lidy-parallel", {"weight_decay": 0.1}, "optimiser=adamw, not sgd"),
    ],
)
def test_wrong_names_and_values_are_refused(name, settings, says):
    with pytest.raises(ConfigError, match=says):
        make_recipe(name, settings)
