"""What the interval over scenes promises, on a simulated population of scenes."""

from __future__ import annotations

import numpy as np
import pytest

from sr3d.metrics.matching import Matching
from sr3d.metrics.scene_bootstrap import (
    ScoredScenes,
    paired_scene_interval,
    resampled_ap,
    scene_draws,
)

CLASSES, POPULATION, SAMPLE = 2, 6000, 80


def population(skills: tuple[float, ...]) -> list[ScoredScenes]:
    """Detectors of several skills on the same scenes, some of which are hard for all of them."""
    rng = np.random.default_rng(5)
    truth_scene = np.repeat(np.arange(POPULATION), rng.poisson(5, POPULATION))
    truth_label = rng.integers(0, CLASSES, len(truth_scene))
    ease = rng.normal(0, 1, POPULATION)
    luck = rng.normal(0, 1, len(truth_scene))
    tests = []
    for skill in skills:
        own = rng.normal(0, 0.5, len(truth_scene))
        quality = skill + ease[truth_scene] + luck + own
        found = np.flatnonzero(quality > -0.5)
        wrong = np.repeat(np.arange(POPULATION), rng.poisson(3 * np.exp(-0.3 * ease - skill)))
        none = np.full(len(wrong), -1)
        score = np.concatenate([quality[found], rng.normal(-0.3, 0.8, len(wrong))])
        tests.append(
            ScoredScenes(
                scenes=tuple(f"{i:05d}" for i in range(POPULATION)),
                scene=np.concatenate([truth_scene[found], wrong]),
                label=np.concatenate([truth_label[found], rng.integers(0, CLASSES, len(wrong))]),
                score=score,
                matching=Matching(np.concatenate([found, none]), np.full(len(score), 0.5)),
                truth_scene=truth_scene,
                truth_label=truth_label,
            )
        )
    return tests


def sample(test: ScoredScenes, chosen: np.ndarray) -> ScoredScenes:
    """The test on a part of its scenes."""
    place = np.full(len(test.scenes), -1)
    place[chosen] = np.arange(len(chosen))
    rows, truths = place[test.scene] >= 0, place[test.truth_scene] >= 0
    return ScoredScenes(
        scenes=tuple(test.scenes[i] for i in chosen),
        scene=place[test.scene[rows]],
        label=test.label[rows],
        score=test.score[rows],
        matching=test.matching[rows],  # indices are only compared with each other
        truth_scene=place[test.truth_scene[truths]],
        truth_label=test.truth_label[truths],
    )


@pytest.fixture(scope="module")
def detectors() -> list[ScoredScenes]:
    return population((0.35, 0.0))


def test_the_interval_holds_the_difference_on_all_scenes(detectors: list[ScoredScenes]) -> None:
    once = np.ones((1, POPULATION), dtype=int)
    good, poor = (resampled_ap(test, CLASSES, 0.25, once)[0] for test in detectors)
    assert 20 < poor < good < 90  # neither end of the scale
    rng = np.random.default_rng(7)
    held = []
    for _ in range(300):
        chosen = np.sort(rng.choice(POPULATION, SAMPLE, replace=False))
        a, b = (sample(test, chosen) for test in detectors)
        difference, low, high = paired_scene_interval([a], [b], CLASSES, 0.25, replicates=300)
        assert low < difference < high
        held.append(low <= good - poor <= high)
    assert 0.90 <= np.mean(held) <= 0.98


def test_pairing_narrows_the_interval(detectors: list[ScoredScenes]) -> None:
    chosen = np.arange(SAMPLE)
    a, b = (sample(test, chosen) for test in detectors)
    _, low, high = paired_scene_interval([a], [b], CLASSES, 0.25)
    draws = [scene_draws(SAMPLE, 1000, seed) for seed in (1, 2)]
    apart = resampled_ap(a, CLASSES, 0.25, draws[0]) - resampled_ap(b, CLASSES, 0.25, draws[1])
    unpaired_low, unpaired_high = np.quantile(apart, (0.025, 0.975))
    assert high - low < 0.7 * (unpaired_high - unpaired_low)
