"""Printed names of settings, in general and within a claim."""

import re

import pytest

from sr3d.study.report.paper import (
    DifferenceClaim,
    labels_in,
    labels_of,
    read_paper,
    settings_of_claim,
)
from sr3d.study.report.verdicts import Direction, Verdict, judge
from sr3d.study.report.verdicts.judgement import quoted
from tests.report.made_up import MadeUp, around
from tests.shared_data import ROOT

PAPER = read_paper(ROOT / "workflow" / "tables.yaml")
EVERY = labels_of(PAPER)


def the_claim(of: str, *settings: str):
    return next(
        claim
        for claim in PAPER.claims.values()
        if claim.of == of and settings_of_claim(claim) == settings
    )


def test_every_setting_of_a_claim_has_a_name_in_print():
    named = {setting for claim in PAPER.claims.values() for setting in settings_of_claim(claim)}
    assert named <= EVERY.keys()
    assert EVERY["baseline"] == "Baseline"
    assert EVERY["k7"] == "k = 7"
    (row,) = (row for row in PAPER.tables["open"].rows if row.setting == "rank_image")
    assert EVERY["rank_image"] == f"{row.group}: {row.label}"  # a row of our own table


@pytest.mark.parametrize(
    ("of", "settings", "labels"),
    [
        ("table2", ("spota", "baseline"), ["+ SPOTA", "Baseline"]),
        ("table5", ("sr3d", "qfl"), ["SR3D", "QFL"]),
        ("table4", ("sr3d", "simota"), ["SR3D", "simOTA"]),
        ("fig1", ("sr3d", "fcaf3d"), ["SR3D", "FCAF3D"]),
        ("fig6", ("sr3d", "baseline"), ["SR3D", "Baseline"]),
        ("fig8", ("sr3d", "beta_2", "beta_4"), ["SR3D (β = 1)", "β = 2", "β = 4"]),
        ("fig8", ("beta_0", "beta_0p5", "sr3d"), ["β = 0", "β = 0.5", "SR3D (β = 1)"]),
        (
            "fig8",
            ("sr3d", "tau_0p01", "tau_1", "tau_10"),
            ["SR3D (τ = 0.1)", "τ = 0.01", "τ = 1", "τ = 10"],
        ),
    ],
)  # fmt: skip
def test_a_claim_calls_settings_by_their_names_with_the_values_of_a_sweep(of, settings, labels):
    claim = the_claim(of, *settings)
    found = labels_in(PAPER, claim)
    assert [found[setting] for setting in settings] == labels
    assert found.keys() == EVERY.keys()


def test_a_setting_has_one_name_in_all_tables():
    for table in PAPER.tables.values():
        for row in table.rows:
            if row.setting:
                name = EVERY[row.setting]
                whole = (
                    row.label if table.datasets or not row.group else f"{row.group}: {row.label}"
                )
                assert name in (row.label, whole) or row.label.endswith(f" ({name})"), table.name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("SR3D", "SR3D"),
        ("k = 7", "k = 7"),
        ("+ SPOTA", "“+ SPOTA”"),
        ("as printed, τ = 1", "“as printed, τ = 1”"),
        ("SR3D (β = 1)", "“SR3D (β = 1)”"),
    ],
)
def test_a_name_of_several_words_is_set_off_from_its_sentence(name, shown):
    assert quoted(name) == shown


def test_verdicts_speak_of_names_in_print_and_never_of_folders():
    settings = list(dict.fromkeys(s for c in PAPER.claims.values() for s in settings_of_claim(c)))
    ran = MadeUp(
        {
            (name, metric): around(50 + i)
            for i, name in enumerate(settings)
            for metric in ("AP25", "AP50", "PCE", "latency_ms", "minutes_per_epoch")
        },
        {(name, "AIC"): [[0.5], [0.4 + 0.01 * i]] for i, name in enumerate(settings)},
    )
    folders = re.compile(rf"\b({'|'.join(settings)})\b(?! =)")
    for findings in (ran, MadeUp()):
        for one in judge(PAPER, findings):
            for text in (one.paper_says, one.ours, one.why):
                assert not folders.search(text), text


def test_a_sentence_has_the_names_the_data_and_the_p_value():
    about = ("fig6", "PCE", "baseline")
    claim = next(
        c
        for c in PAPER.claims.values()
        if isinstance(c, DifferenceClaim) and (c.of, c.metric, c.over) == about
    )
    values = {("sr3d", "PCE"): around(0.2, 0.001), ("baseline", "PCE"): around(0.3, 0.001)}
    judged = next(j for j in judge(PAPER, MadeUp(values)) if j.claim is claim)
    assert (judged.verdict, judged.direction) == (Verdict.REPRODUCED, Direction.THERE)
    assert judged.numbers.family == 1
    told = ("ScanNet V2", "SR3D", "Baseline", "PCE", "p < 0.001", "1.")
    places = [judged.why.index(it) for it in told]
    assert places == sorted(places)
