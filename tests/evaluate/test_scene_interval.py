"""What the interval over scenes promises, on a simulated population of scenes."""

from __future__ import annotations

import numpy as np
import pytest

from sr3d.evaluate.detection_matches import DetectionMatches
from sr3d.evaluate.scene_bootstrap import (
    ScoredScenes,
    half_width,
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
                matching=DetectionMatches(np.concatenate([found, none]), np.full(len(score), 0.5)),
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


def ap(test: ScoredScenes, seed: int = 0, draws: int = 300) -> np.ndarray:
    """AP25 in seeded draws of the test's scenes; the first value is of every scene once."""
    n = len(test.scenes)
    once = np.ones((1, n), dtype=np.int64)
    weights = np.concatenate([once, scene_draws(n, draws, seed)])
    return resampled_ap(test, CLASSES, 0.25, weights)


def test_the_intervals_hold_what_all_scenes_would_give(detectors: list[ScoredScenes]) -> None:
    once = np.ones((1, POPULATION), dtype=int)
    good, poor = (resampled_ap(test, CLASSES, 0.25, once)[0] for test in detectors)
    assert 20 < poor < good < 90  # neither end of the scale
    rng = np.random.default_rng(7)
    held, held_one = [], []
    for _ in range(300):
        chosen = np.sort(rng.choice(POPULATION, SAMPLE, replace=False))
        a, b = (ap(sample(test, chosen)) for test in detectors)
        held.append(abs(a[0] - b[0] - (good - poor)) <= half_width(a[1:] - b[1:]))
        held_one.append(abs(a[0] - good) <= half_width(a[1:]))
    assert 0.91 <= np.mean(held) <= 0.97
    assert 0.90 <= np.mean(held_one) <= 0.97


def test_pairing_narrows_the_interval(detectors: list[ScoredScenes]) -> None:
    a, b = (sample(test, np.arange(SAMPLE)) for test in detectors)
    paired = half_width(ap(a, 1, 500)[1:] - ap(b, 1, 500)[1:])
    apart = half_width(ap(a, 1, 500)[1:] - ap(b, 2, 500)[1:])
    assert paired < 0.7 * apart
