"""The programme the project makes up: plain differences, no clicks, always the same."""

from __future__ import annotations

from itertools import combinations, islice

import numpy as np
import pytest

from stream.demo import FADE_S, SECTIONS, Demo, programme
from stream.pace import BLOCK_S, MAX_SPEED
from stream.synthesis import RATE_HZ

CYCLE_BLOCKS = round(sum(section.duration_s for section in SECTIONS) / BLOCK_S)


@pytest.fixture(scope="module")
def cycle() -> dict[str, np.ndarray]:
    """The samples of one round through the programme, by section."""
    parts: dict[str, list[np.ndarray]] = {}
    for section, samples in islice(programme(), CYCLE_BLOCKS):
        parts.setdefault(section.name, []).append(samples)
    return {name: np.concatenate(blocks) for name, blocks in parts.items()}


def test_it_lasts_three_to_four_minutes_and_then_begins_again(cycle: dict[str, np.ndarray]) -> None:
    assert list(cycle) == [section.name for section in SECTIONS]
    assert 180 <= sum(map(len, cycle.values())) / RATE_HZ <= 240
    again = next(islice(programme(), CYCLE_BLOCKS, None))
    assert again[0] is SECTIONS[0]


def test_it_is_the_same_every_time(cycle: dict[str, np.ndarray]) -> None:
    first = np.concatenate([samples for _, samples in islice(programme(), 200)])
    assert np.array_equal(first, cycle[SECTIONS[0].name][: len(first)])


def test_every_section_sounds_but_the_silent_one(cycle: dict[str, np.ndarray]) -> None:
    for name, samples in cycle.items():
        after_the_fade = samples[round(FADE_S * RATE_HZ) :]
        level_db = 20 * np.log10(np.sqrt(np.mean(after_the_fade**2)) + 1e-12)
        assert np.abs(samples).max() <= 1.0
        assert (level_db < -100) if name == "silence" else (-30 < level_db < -12), name


def test_the_sections_differ_in_texture(cycle: dict[str, np.ndarray]) -> None:
    """Levels in octave bands, in dB: no two sections are within 4 dB (rms over the bands) of each other."""

    def octave_levels_db(samples: np.ndarray) -> np.ndarray:
        frames = samples[RATE_HZ * 2 : RATE_HZ * 12].reshape(-1, 2_205)
        power = np.abs(np.fft.rfft(frames)) ** 2
        octave = np.clip(np.log2(np.fft.rfftfreq(2_205, 1 / RATE_HZ) / 40.0 + 1e-9).astype(int), 0, 8)
        bands = np.stack([power[:, octave == band].sum(axis=1) for band in range(9)], axis=1)
        return np.asarray(10 * np.log10(bands + 1e-6).mean(axis=0))

    levels = {name: octave_levels_db(samples) for name, samples in cycle.items() if name != "silence"}
    for one, other in combinations(levels, 2):
        assert np.sqrt(np.mean((levels[one] - levels[other]) ** 2)) > 4.0, (one, other)


def test_sections_fade_into_each_other_without_a_click(cycle: dict[str, np.ndarray]) -> None:
    whole = np.concatenate(list(cycle.values()))
    border = len(cycle[SECTIONS[0].name])
    around = np.abs(np.diff(whole[border - 100 : border + 100])).max()
    assert around <= np.abs(np.diff(cycle[SECTIONS[0].name])).max()


def test_the_source_names_its_section_and_says_that_it_is_synthetic() -> None:
    demo = Demo(speed=MAX_SPEED)
    demo.open()
    assert (demo.synthetic, demo.finite, demo.live) == (True, False, False)
    titles = []
    heard_s = 0.0
    while heard_s < 70.0:
        chunk = demo.read(10.0)
        assert chunk is not None
        heard_s += len(chunk.samples) / demo.sample_rate_hz
        titles.append(demo.title)
    demo.close()
    assert list(dict.fromkeys(titles)) == [f"synthetic: {section.name}" for section in SECTIONS[:3]]
