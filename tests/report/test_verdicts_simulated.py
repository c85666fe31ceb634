"""How often verdicts are right, over many made-up tables of eight claims.

Every setting has 5 × 5 tests with standard deviations of 0.6 between trainings and 0.2 within, and
is compared with one and the same baseline, as the paper's tables do.
"""

import numpy as np
import pytest

from sr3d.report.verdicts import Verdict, judge
from sr3d.stats import comparison
from tests.report.made_up import MadeUp, gain, paper_of

CLAIMS = 8
SETTINGS = [f"s{i}" for i in range(CLAIMS)]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Leave out the slow parts of a comparison, which no verdict rests on."""
    monkeypatch.setattr(comparison, "_permutation", lambda a, b, paired: 1.0)
    monkeypatch.setattr(comparison, "detectable_difference", lambda *design: 1.0)


def shares(designs, difference, claim, tables=1, seed=0):
    """verdict -> (share of the claims that get it, share of the designs with one that does)."""
    claims = [gain(s, "baseline", claim, of=f"table{i % tables}") for i, s in enumerate(SETTINGS)]
    paper = paper_of(*claims)
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(designs):
        values = (
            70 + rng.normal(0, 0.6, (CLAIMS + 1, 5, 1)) + rng.normal(0, 0.2, (CLAIMS + 1, 5, 5))
        )
        values[:CLAIMS] += difference
        names = [*SETTINGS, "baseline"]
        tests = {(s, "AP25"): v.tolist() for s, v in zip(names, values, strict=True)}
        found.append([j.verdict for j in judge(paper, MadeUp(tests))])
    table = np.array([[v.value for v in row] for row in found])
    return {v: ((table == v.value).mean(), (table == v.value).any(axis=1).mean()) for v in Verdict}


def test_without_a_true_difference_hardly_any_claim_is_reproduced():
    """Half of 5 % of the tables at most, as a false alarm has to go the claimed way too."""
    of_claims, of_tables = shares(1500, 0.0, 1.0)[Verdict.REPRODUCED]
    assert of_claims <= 0.01
    assert 0.002 <= of_tables <= 0.035


def test_without_holms_rule_it_would_be_many_tables():
    """The same designs with each claim in a table of its own, so that nothing is adjusted."""
    _, of_tables = shares(500, 0.0, 1.0, tables=CLAIMS)[Verdict.REPRODUCED]
    assert of_tables > 0.07


def test_a_large_true_difference_is_reproduced():
    found = shares(100, 3.0, 3.0)
    assert found[Verdict.REPRODUCED][0] >= 0.97
    assert found[Verdict.NOT_REPRODUCED][0] == 0


def test_a_large_true_difference_the_other_way_is_not_reproduced():
    found = shares(100, -3.0, 1.0)
    assert found[Verdict.NOT_REPRODUCED][0] >= 0.97
    assert found[Verdict.REPRODUCED][0] == 0


def test_a_paper_that_has_the_true_difference_is_hardly_ever_refuted():
    """Its number lies above our 95 % interval in 2.5 % of the claims."""
    refuted, _ = shares(500, 0.5, 0.5)[Verdict.NOT_REPRODUCED]
    assert 0.01 <= refuted <= 0.035


def test_a_paper_that_claims_far_too_much_is_refuted():
    assert shares(100, 0.0, 3.0)[Verdict.NOT_REPRODUCED][0] >= 0.97
