import pytest

from models.errors import ConfigError
from train.recipes import RECIPES, make_recipe


def test_the_papers_values_are_the_defaults():
    recipe = make_recipe("lidy-parallel")
    assert (recipe.learning_rate, recipe.batch_size, recipe.epochs) == (0.02, 40, 150)
    assert (recipe.segments, recipe.segments_per_file) == ("random", 30)
    assert recipe.random_gain_db == 0.0


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
        ("lidy-parallel", {"epoch": 3}, "epoch.*learning_rate"),
        ("lidy-parallel", {"epochs": 0}, "epochs.*greater than 0"),
        ("lidy-parallel", {"learning_rate": "fast"}, "learning_rate.*'fast'"),
        ("lidy-parallel", {"input_size": "41x80"}, "40x80"),
        ("lidy-parallel", {"segments": "consecutive", "random_gain_db": 3}, "random segments"),
    ],
)
def test_wrong_names_and_values_are_refused(name, settings, says):
    with pytest.raises(ConfigError, match=says):
        make_recipe(name, settings)
