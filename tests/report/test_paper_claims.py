"""The claims and figures of `tables.yaml`: complete, with known settings, true to the tables."""

import pytest

from sr3d.study.report.paper import (
    AmountClaim,
    AtMostClaim,
    CitedClaim,
    CurveBelowClaim,
    DifferenceClaim,
    EqualClaim,
    EquivalenceClaim,
    HighestClaim,
    Panel,
    TrendClaim,
    read_paper,
    settings_of_claim,
    settings_of_figure,
)
from tests.shared_data import ROOT

PAPER = read_paper(ROOT / "workflow" / "tables.yaml")
CLAIMS = list(PAPER.claims.values())
NUMBERED = [
    claim
    for claim in CLAIMS
    if isinstance(claim, DifferenceClaim | AmountClaim)
    or (isinstance(claim, EquivalenceClaim) and claim.scale == "difference")
    if claim.paper
]
SETTINGS = """
votenet mlcvnet 3detr_m brnet groupfree rbgnet dest gsdn vdetr spgroup3d cagroup3d
sr3d tr3d fcaf3d baseline spota ras spota_with_cls spota_without_vd simota align_ota qfl vfl
baseline_gt_ctr baseline_gt_iou k4 k5 k7 k8 k9 k10 mu_0p5 mu_2 mu_4 mu_8 beta_0 beta_0p5 beta_2
beta_4 tau_0p01 tau_1 tau_10 printed printed_tau_0p01 printed_tau_1
bracket bracket_tau_0p01 bracket_tau_1 position tr3d_samsung
rank_image levels_by_class reg_log_iou reg_diou sr3d_augment_tr3d sr3d_augment_paper
baseline_augment_tr3d nms_3d voxel_first boxes_v1 lr_literal
votenet_overfit mlcvnet_overfit brnet_overfit rbgnet_overfit groupfree_overfit 3detr_overfit
3detr_m_overfit tr3d_dlla tr3d_dlla_overfit fcaf3d_dlla fcaf3d_dlla_overfit
gsdn_overfit dest_overfit vdetr_overfit spgroup3d_overfit cagroup3d_overfit
"""
# setting, over, metric, statistic: the difference in the paper's text or tables, transcribed again
# (on ScanNet V2, and on SUN RGB-D if it has two).
DIFFERENCES = """
sr3d tr3d AP25 best 1.1 1.0
sr3d tr3d AP50 best 0.3 0.5
sr3d tr3d AP25 mean 1.2 0.9
sr3d tr3d AP50 mean 1.1 0.9
sr3d fcaf3d latency_ms mean -22 -20
sr3d tr3d_dlla AP25 mean 0.4 0.2
sr3d tr3d_dlla AP50 mean -0.4 0.0
fcaf3d_dlla fcaf3d latency_ms mean 33
sr3d votenet latency_ms mean -29 -5
sr3d mlcvnet latency_ms mean -141
sr3d 3detr_m latency_ms mean -128
sr3d brnet latency_ms mean -93
sr3d groupfree latency_ms mean -136
sr3d rbgnet latency_ms mean -168
sr3d dest latency_ms mean -221
sr3d vdetr latency_ms mean -198
sr3d spgroup3d latency_ms mean -89
sr3d cagroup3d latency_ms mean -430
votenet fcaf3d latency_ms mean 7
spota baseline AP25 mean 1.5
spota baseline AP50 mean 1.8
ras baseline AP25 mean 1.7
ras baseline AP50 mean 2.1
sr3d baseline AP25 mean 2.4
sr3d baseline AP50 mean 2.9
sr3d spota AP25 mean 0.9
sr3d spota AP50 mean 1.1
sr3d ras AP25 mean 0.7
sr3d ras AP50 mean 0.8
spota_with_cls sr3d AP25 mean -0.7
spota_with_cls sr3d AP50 mean -1.6
spota_without_vd sr3d AP25 mean -0.5
spota_without_vd sr3d AP50 mean -0.7
sr3d simota AP25 mean 0.9
sr3d simota AP50 mean 2.0
sr3d align_ota AP25 mean 1.0
sr3d align_ota AP50 mean 1.6
sr3d qfl AP25 mean 1.3
sr3d qfl AP50 mean 0.8
sr3d vfl AP25 mean 1.5
sr3d vfl AP50 mean 0.2
qfl spota AP25 mean -0.4
vfl spota AP25 mean -0.6
baseline_gt_ctr baseline AP25 mean 0.1
baseline_gt_ctr baseline AP50 mean 0.3
baseline_gt_iou baseline AP25 mean 21.0
baseline_gt_iou baseline AP50 mean 32.1
baseline_gt_iou baseline_gt_ctr AP25 mean 20.9
baseline_gt_iou baseline_gt_ctr AP50 mean 31.8
"""


def statistic_of(claim) -> str:
    return claim.statistic if isinstance(claim, AmountClaim) else "mean"


def cells(setting: str, dataset: str, metric: str, statistic: str) -> set[float]:
    """The numbers of a setting in the paper's tables."""
    values = (
        row.value(dataset, metric, statistic)
        for table in PAPER.tables.values()
        for row in table.rows
        if row.setting == setting
    )
    return {value for value in values if value is not None}


def cell(setting: str, dataset: str, metric: str, statistic: str) -> float:
    """The number of a setting in the paper's tables. Tables that share it must agree."""
    found = cells(setting, dataset, metric, statistic)
    assert len(found) == 1, (setting, dataset, metric, statistic, found)
    return found.pop()


def test_every_difference_that_the_paper_states():
    wanted = {}
    for line in DIFFERENCES.strip().splitlines():
        setting, over, metric, statistic, *values = line.split()
        on = zip(("scannet", "sunrgbd"), map(float, values), strict=False)
        wanted[setting, over, metric, statistic] = dict(on)
    found: dict = {}
    for claim in NUMBERED:
        what = (claim.setting, claim.over, claim.metric, statistic_of(claim))
        assert found.setdefault(what, claim.paper).items() >= claim.paper.items()
    assert found == wanted


def disagrees(claim, dataset: str) -> bool:
    """Whether the difference in the text differs from the difference in the tables."""
    ours, theirs = (
        cell(setting, dataset, claim.metric, statistic_of(claim))
        for setting in (claim.setting, claim.over)
    )
    return abs(ours - theirs - claim.paper[dataset]) >= 0.051


def test_one_stated_difference_disagrees_with_the_tables_and_says_so():
    """The text says 0.3 AP50, and Table 1 gives 0.4."""
    claim = PAPER.claims["ap50_best_over_tr3d"]
    values = [cell(s, "scannet", "AP50", "best") for s in (claim.setting, claim.over)]
    assert round(values[0] - values[1], 1) == 0.4 != claim.paper["scannet"] == 0.3
    assert all(f"{it:g}" in claim.footnote for it in (0.3, 0.4, *values))
    found = [(c.id, dataset) for c in NUMBERED for dataset in c.paper if disagrees(c, dataset)]
    assert found == [(claim.id, "scannet")]


def test_ratios_agree_with_the_tables_and_lie_within_their_bounds():
    ratios = [c for c in CLAIMS if isinstance(c, AtMostClaim) or getattr(c, "scale", "") == "ratio"]
    assert {claim.id for claim in ratios} == {
        "latency_unaffected", "components_latency", "training_time", "training_time_of_components",
    }  # fmt: skip
    for claim in ratios:
        for dataset, stated in claim.paper.items():
            ours, theirs = (
                cell(setting, dataset, claim.metric, "mean")
                for setting in (claim.setting, claim.over)
            )
            assert ours / theirs == pytest.approx(stated, abs=0.0005)
            assert stated < (claim.limit if isinstance(claim, AtMostClaim) else claim.margin)


# Claims whose wording in the paper states an amount, a bound or an equivalence.
AMOUNTS = """
ap25_best_over_tr3d ap50_best_over_tr3d ap50_mean_over_tr3d sr3d_ap25 cls_cost_ap25 cls_cost_ap50
vertex_distance_ap25 vertex_distance_ap50 qfl_ap25 qfl_ap50 vfl_ap25 vfl_ap50 true_iou_ap25
true_iou_ap50
"""


def test_every_claim_is_of_the_kind_that_its_wording_demands():
    of_kind = {kind: {c.id for c in CLAIMS if c.kind == kind} for kind in {c.kind for c in CLAIMS}}
    assert of_kind["amount"] == set(AMOUNTS.split())
    assert of_kind["equivalence"] == {
        "latency_unaffected", "true_centerness_ap25", "true_centerness_ap50", "dlla_accuracy",
        "dlla_accuracy_ap50",
    }  # fmt: skip
    assert of_kind["at_most"] == {
        "components_latency", "training_time", "training_time_of_components",
    }  # fmt: skip
    bounding = ("only about", "virtually", "less than", "at most", "about the same", "do not slow")
    for claim in CLAIMS:
        if any(word in claim.says for word in bounding):
            assert claim.kind in ("equivalence", "at_most", "cited")


def test_margins_and_limits_say_why_they_are_so_large():
    for claim in CLAIMS:
        if isinstance(claim, EquivalenceClaim):
            assert len(claim.margin_reason) > 20
        if isinstance(claim, AtMostClaim):
            assert len(claim.limit_reason) > 20


HIGHEST = ("dense_ap25_highest", "dense_ap50_highest", "prior_methods_ap25", "prior_methods_ap50")


@pytest.mark.parametrize("name", HIGHEST)
def test_the_papers_numbers_bear_out_its_highest_claims_on_table_1(name):
    """Among the detectors that are judged. With others it is not so, as the footnotes say."""
    claim = PAPER.claims[name]
    for dataset in claim.datasets:
        for statistic in ("best", "mean"):
            # Some detectors were published with one number.
            others = [cells(s, dataset, claim.metric, statistic) for s in claim.among]
            ours = cell(claim.setting, dataset, claim.metric, statistic)
            assert ours > max(number for found in others for number in found)


def test_footnotes_name_the_sparse_detectors_that_the_paper_prints_above_sr3d():
    rows = PAPER.tables["table1"].rows
    for name in ("prior_methods_ap25", "prior_methods_ap50"):
        claim = PAPER.claims[name]
        ours = cell("sr3d", "scannet", claim.metric, "mean")
        for row in rows:
            if row.group == "Sparse detectors" and row.setting not in claim.among:
                above = row.value("scannet", claim.metric, "mean") > ours
                assert (row.label in claim.footnote) == above, (name, row.label)


def test_every_sparse_detector_that_runs_is_judged():
    sparse = {
        row.setting
        for row in PAPER.tables["table1"].rows
        if row.group == "Sparse detectors" and row.setting
    }
    for name in ("prior_methods_ap25", "prior_methods_ap50"):
        claim = PAPER.claims[name]
        best = {s: cell(s, "scannet", claim.metric, "best") for s in sparse | {"sr3d"}}
        below = {s for s in sparse if best[s] < best["sr3d"]}
        assert {*claim.among} == below
    faster = {c.over for c in CLAIMS if c.id.startswith("latency_under")}
    assert faster == sparse | {"fcaf3d"}
    latency = {s: cell(s, "scannet", "latency_ms", "mean") for s in sparse}
    assert min(latency, key=latency.__getitem__) == PAPER.claims["sparse_time"].setting


def test_claims_of_every_kind_and_of_every_table_and_figure():
    kinds = {type(claim) for claim in CLAIMS}
    assert kinds == {
        DifferenceClaim,
        AmountClaim,
        EquivalenceClaim,
        AtMostClaim,
        HighestClaim,
        TrendClaim,
        CurveBelowClaim,
        EqualClaim,
        CitedClaim,
    }
    assert {claim.of for claim in CLAIMS} == {
        *(f"table{i}" for i in range(1, 8)), "fig1", "fig5", "fig6", "fig8", "fig10",
    }  # fmt: skip


def test_claims_on_hyper_parameters():
    fig8 = {c.id: c for c in CLAIMS if c.of == "fig8" and not isinstance(c, CitedClaim)}
    highest = {(c.metric, c.setting) for c in fig8.values() if isinstance(c, HighestClaim)}
    assert highest == {
        ("AP25", "sr3d"), ("AP50", "k8"), ("AP50", "sr3d"), ("AP50", "tau_1"),
    }  # fmt: skip
    trends = {(c.id.split("_")[0], c.direction) for c in fig8.values() if isinstance(c, TrendClaim)}
    assert trends == {("mu", "falls"), ("beta", "rises"), ("beta", "falls")}
    panels = {panel.parameter: panel for panel in PAPER.figures["fig8"].panels}
    for claim in fig8.values():
        panel = panels[{"k": "k", "mu": "μ", "beta": "β", "tau": "τ"}[claim.id.split("_")[0]]]
        shown = {setting for _, setting in panel.points}
        if isinstance(claim, HighestClaim):
            assert set(settings_of_claim(claim)) == shown
        else:
            assert set(claim.along) <= set(panel.points)


def test_every_panel_has_the_default_at_its_value():
    defaults = {"k": 6, "μ": 1, "β": 1, "τ": 0.1}
    for panel in PAPER.figures["fig8"].panels:
        assert isinstance(panel, Panel)
        assert dict(panel.points)[defaults.pop(panel.parameter)] == "sr3d"
    assert not defaults


def test_points_stand_at_the_value_that_their_setting_is_named_after():
    for panel in PAPER.figures["fig8"].panels:
        for value, setting in panel.points:
            if setting != "sr3d":
                named = setting.lstrip("kmubeta").lstrip("_").replace("p", ".")
                assert float(named) == value


def test_every_setting_is_one_of_the_projects():
    named = {s for table in PAPER.tables.values() for s in table.settings()}
    named |= {s for figure in PAPER.figures.values() for s in settings_of_figure(figure)}
    claimed = {s for claim in CLAIMS for s in settings_of_claim(claim)}
    assert claimed <= named  # what a claim is about is shown, too
    assert named == set(SETTINGS.split())


def test_claims_say_where_they_stand_and_are_short():
    for claim in CLAIMS:
        assert claim.datasets
        assert claim.where
        assert 10 < len(claim.says) < 100
        assert not claim.says.endswith(".")
        if isinstance(claim, CitedClaim):
            assert claim.reason.endswith(".")
