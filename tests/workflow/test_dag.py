"""What the workflow plans, from its files alone: nothing runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.workflow.checkout import ROOT, Checkout

SETTINGS = ("baseline", "spota", "ras", "sr3d")
TIER = yaml.safe_load((ROOT / "workflow" / "tiers.yaml").read_text())["demo"]
TABLE = yaml.safe_load((ROOT / "workflow" / "tables.yaml").read_text())["table2"]
UNKNOWN = {"setting": "sr4d", "label": "", "paper": {}}
REAL = {f"{verb}_{name}": 1 for verb in ("download", "prepare") for name in ("scannet", "sunrgbd")}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout.make(tmp_path_factory.mktemp("dag") / "checkout", SETTINGS)


def jobs(trainings: int, tests: int, datasets: int = 1, settings: int = 4) -> dict[str, int]:
    """The counts of a tier that trains the settings of Table 2, or some of them."""
    each = settings * datasets
    return {
        "train": each * trainings,
        "test": each * trainings * tests,
        "summarise": each,
        "table": datasets,
        "track": 1,
    }


@pytest.mark.parametrize(
    ("tier", "expected"),
    [
        ("demo", {"prepare_synthetic": 1, **jobs(5, 5, settings=2)}),
        ("full", {"prepare_synthetic": 1, **jobs(5, 5)}),
        ("rotated", {"prepare_synthetic_rotated": 1, **jobs(5, 5, settings=2)}),
        ("paper", {**REAL, **jobs(5, 5, datasets=2)}),
        ("rigorous", {**REAL, **jobs(10, 1, datasets=2)}),
    ],
)
def test_a_tier_plans_its_whole_protocol(
    checkout: Checkout, tier: str, expected: dict[str, int]
) -> None:
    # paper: 4 settings × 2 data sets × (5 + 25) = 240 trainings and tests.
    assert checkout.planned("--config", f"tier={tier}") == expected


def test_the_real_tier_trains_sr3d_alone_on_two_kinds_of_scans(checkout: Checkout) -> None:
    done = checkout.snakemake("-n", "-p", "--config", "tier=real", "real_scans=elsewhere/scans")
    assert done.returncode == 0, done.stdout
    prepare = (
        "(sr3d prepare scannet --raw elsewhere/scans --meta elsewhere/scans/meta --out data/real"
        " --scenes scene0000_00 && sr3d prepare mmdet3d --root elsewhere/scans --out data/real"
        " --append --scenes scene0113_00)"
    )
    assert prepare in done.stdout
    assert done.stdout.count("sr3d train ") == 1
    assert "--data data/real --split train --setting sr3d --train 0" in done.stdout
    assert "--out results/real/scannet/sr3d/train0/test0 --split train" in done.stdout


def test_the_real_sunrgbd_tier_trains_on_the_frames_that_it_tests(checkout: Checkout) -> None:
    config = ("tier=real_sunrgbd", "real_scans=elsewhere/frames")
    done = checkout.snakemake("-n", "-p", "--config", *config)
    assert done.returncode == 0, done.stdout
    prepare = (
        "(sr3d prepare sunrgbd --raw elsewhere/frames --out data/real_sunrgbd"
        " --scenes 000001 001712 && sr3d prepare mmdet3d --root elsewhere/frames --dataset sunrgbd"
        " --infos val=elsewhere/frames/points/sunrgbd_000017_infos.pkl --out data/real_sunrgbd"
        " --append --scenes 000017)"
    )
    assert prepare in done.stdout
    assert "--data data/real_sunrgbd --split val --setting sr3d --train 0" in done.stdout
    assert "train0/test0 --split val" in done.stdout


def test_downloads_ask_for_what_the_configuration_says(checkout: Checkout, tmp_path: Path) -> None:
    moved = ["tier=paper", "raw={scannet: elsewhere, sunrgbd: there, s3dis: x}"]
    done = checkout.snakemake("-n", "-p", "--config", *moved)
    assert done.returncode == 0, done.stdout
    scannet = "sr3d download scannet --out elsewhere --url http://kaldir.vc.cit.tum.de/scannet/"
    assert f"{scannet} --parallel 4 --done data/scannet.raw.json" in done.stdout
    assert "sr3d download sunrgbd --out there --url https://rgbd.cs" in done.stdout
    assert "--accept-terms" not in done.stdout
    accepting = checkout.copy(tmp_path / "checkout")
    config = accepting.read("config.yaml")
    config["download"]["scannet"] = {"accept_terms": True, "url": "http://a", "parallel": 2}
    accepting.edit("config.yaml", config)
    done = accepting.snakemake("-n", "-p", "--config", "tier=paper")
    assert "--url http://a --parallel 2 --accept-terms --done" in done.stdout


def test_threads_load_scenes_for_a_gpu_alone(checkout: Checkout) -> None:
    for device, wanted in (
        ("cuda", "--device cuda --workers 4 --set"),
        ("cpu", "--device cpu  --set"),
    ):
        done = checkout.snakemake("-n", "-p", "--config", f"device={device}")
        assert done.returncode == 0, done.stdout
        assert wanted in done.stdout


def test_s3dis_is_a_data_set_like_the_others(checkout: Checkout) -> None:
    planned = checkout.planned("--config", "tier=full", "datasets=[s3dis]")
    assert planned == {"prepare_s3dis": 1, **jobs(5, 5)}


def test_settings_that_tables_share_are_trained_once(tmp_path: Path) -> None:
    checkout = Checkout.make(tmp_path / "checkout", SETTINGS)
    tables = checkout.read("workflow/tables.yaml")
    tables["table1"] = tables["table2"] | {"rows": tables["table2"]["rows"][2:]}
    checkout.edit("workflow/tables.yaml", tables)
    planned = checkout.planned("--config", "tier=full", "tables=[table1, table2]")
    assert planned == {"prepare_synthetic": 1, **jobs(5, 5), "table": 2}


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("trainigs=3", "config.yaml: Unevaluated properties are not allowed ('trainigs' was"),
        ("tier=papr", "config.yaml: no tier 'papr'; choose from full, demo, quick"),
        ("tables=[table9]", "workflow/tables.yaml: no table 'table9'; choose from table2"),
        (
            "raw={scanet: x}",
            "config.yaml[raw]: Additional properties are not allowed ('scanet' was",
        ),
        ("overrides=[train.epochs]", "config.yaml[overrides][0]: 'train.epochs' does not match"),
        ("tier=real", "give the scans with --config real_scans=DIR"),
    ],
)
def test_a_wrong_configuration_is_refused_in_one_sentence(
    checkout: Checkout, config: str, told: str
) -> None:
    done = checkout.snakemake("-n", "--config", config)
    assert done.returncode == 1
    assert told in done.stdout
    assert "Failed validating" not in done.stdout


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("settings", {"sr3d": {"label": "SR3D", "overides": []}}, "'overides' was unexpected"),
        ("tables", {"table2": {**TABLE, "foot": []}}, "'foot' was unexpected"),
        ("tables", {"table2": {**TABLE, "rows": [UNKNOWN]}}, "no setting 'sr4d'"),
        ("tiers", {"demo": {**TIER, "test": 5}}, "'test' was unexpected"),
    ],
)
def test_a_wrong_table_is_refused_with_the_name_of_its_file(
    tmp_path: Path, file: str, content: object, told: str
) -> None:
    checkout = Checkout.make(tmp_path / "checkout", SETTINGS)
    checkout.edit(f"workflow/{file}.yaml", content)
    done = checkout.snakemake("-n")
    assert done.returncode == 1
    assert told in done.stdout
    assert "workflow/" in done.stdout.partition(told)[0]


def test_lint_finds_nothing(checkout: Checkout) -> None:
    done = checkout.snakemake("--lint")
    assert done.returncode == 0, done.stdout
    assert "Congratulations" in done.stdout, done.stdout


def test_profiles_agree_on_what_reruns(checkout: Checkout) -> None:
    # A workflow profile replaces the default one, so that each must say it.
    shared = ("rerun-triggers", "rerun-incomplete", "show-failed-logs")
    names = ("default", "slurm", "kubernetes")
    profiles = [checkout.read(f"workflow/profiles/{name}/profile.yaml") for name in names]
    assert [[p[key] for key in shared] for p in profiles] == 3 * [
        [["mtime", "params", "input"], True, True]
    ]
