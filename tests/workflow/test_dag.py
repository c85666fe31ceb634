"""What the workflow plans, from its files alone: nothing runs."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from sr3d.settings import read_settings
from tests.workflow.checkout import ROOT, Checkout

SETTINGS = ("baseline", "spota", "ras", "sr3d")
TIER = yaml.safe_load((ROOT / "workflow" / "tiers.yaml").read_text())["demo"]
PAPER = yaml.safe_load((ROOT / "workflow" / "tables.yaml").read_text())
ALL_SETTINGS = read_settings()
TABLE = PAPER["tables"]["table2"]
UNKNOWN = {"setting": "sr4d", "label": ""}
TABLE_1 = [row["setting"] for row in PAPER["tables"]["table1"]["rows"] if "setting" in row]
CITED = TIER["cited"]  # detectors of Table 1 that the paper cites
REAL = {f"{verb}_{name}": 1 for verb in ("download", "prepare") for name in ("scannet", "sunrgbd")}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout.make(tmp_path_factory.mktemp("dag") / "checkout", SETTINGS)


def with_table(table: dict[str, object]) -> dict[str, object]:
    return PAPER | {"tables": {"table2": table}, "figures": {}, "claims": {}}


def refusal_of(done: subprocess.CompletedProcess[str]) -> str:
    """The only error, in one line, without our code."""
    (error,) = (line for line in done.stdout.splitlines() if line.startswith("Error: "))
    return error


def jobs(trainings: int, datasets: int = 1, settings: int = 4) -> dict[str, int]:
    """The counts of a tier that trains the settings of Table 2, or some of them.

    One job evaluates a training run, however often.
    """
    each = settings * datasets
    return {
        "train": each * trainings,
        "test": each * trainings,
        "summarise": each,
        "report": 1,
        "track": 1,
    }


@pytest.mark.parametrize(
    ("tier", "expected"),
    [
        ("demo", {"prepare_synthetic": 1, **jobs(5, settings=2)}),
        ("quick", {"prepare_synthetic": 1, **jobs(1, settings=2)}),
        ("full", {"prepare_synthetic": 1, **jobs(5)}),
        ("rotated", {"prepare_synthetic_rotated": 1, **jobs(5, settings=2)}),
        ("own", {"prepare_own": 1, **jobs(5)}),
        ("own_small", {"prepare_own": 1, **jobs(5, settings=2)}),
    ],
)
def test_a_tier_plans_its_whole_protocol(
    checkout: Checkout, tier: str, expected: dict[str, int]
) -> None:
    assert checkout.planned("--config", f"tier={tier}") == expected


def mentioned(value: Any) -> Iterator[str]:
    """All texts in nested values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from mentioned([*value.values()])
    elif isinstance(value, list):
        for one in value:
            yield from mentioned(one)


@pytest.mark.parametrize(("tier", "trainings"), [("paper", 5), ("rigorous", 10)])
def test_the_whole_paper_trains_every_setting_once(
    checkout: Checkout, tier: str, trainings: int
) -> None:
    # On ScanNet the settings of every table and figure. The paper cites the other detectors. On SUN
    # RGB-D those of Table 1, of Fig. 1 and of the table of open questions, which is not in the
    # paper and runs on both. Each setting runs only on its data sets.
    shown = PAPER | {"tables": {n: t for n, t in PAPER["tables"].items() if n != "overfit"}}
    on_scannet = ({*mentioned(shown)} & {*ALL_SETTINGS}) - {*CITED}
    named = [row for name in ("table1", "open") for row in PAPER["tables"][name]["rows"]]
    on_sunrgbd = {row["setting"] for row in named if "setting" in row} - {*CITED}
    pairs = [
        name
        for dataset, names in (("scannet", on_scannet), ("sunrgbd", on_sunrgbd))
        for name in names
        if dataset in ALL_SETTINGS[name].datasets
    ]
    trained = [name for name in pairs if ALL_SETTINGS[name].tests_of is None]
    assert checkout.planned("--config", f"tier={tier}") == REAL | {
        "prepare_sunrgbd_v1": 1,
        "train": trainings * len(trained),
        "test": trainings * len(pairs),
        "summarise": len(pairs),
        "report": 1,
        "track": 1,
    }


def test_table_1_runs_with_every_detector_in_tiers_of_its_own(checkout: Checkout) -> None:
    every = len(TABLE_1)
    assert {*CITED} < {*TABLE_1}
    planned = checkout.planned("--config", "tier=table1")
    both = ("scannet", "sunrgbd")
    pairs = sum(dataset in ALL_SETTINGS[name].datasets for name in TABLE_1 for dataset in both)
    assert every < pairs < 2 * every  # some have no SUN RGB-D
    assert planned == REAL | jobs(5, settings=pairs)
    planned = checkout.planned("--config", "tier=table1_rooms")
    assert planned == {"prepare_synthetic": 1, **jobs(3, settings=every)}


@pytest.mark.parametrize(
    ("asked", "settings"),
    [
        ((), len(TABLE_1) - len(CITED)),
        (("cited=[]",), len(TABLE_1)),
        ((f"cited=[{CITED[0]}]",), len(TABLE_1) - 1),
        ((f"settings=[sr3d, {CITED[0]}]",), 2),
    ],
)
def test_cited_detectors_run_if_they_are_asked_for(
    checkout: Checkout, asked: tuple[str, ...], settings: int
) -> None:
    few = ("tables=[table1, fig1]", "datasets=[scannet]", "trainings=1", "tests=1")
    planned = checkout.planned("--config", "tier=paper", *few, *asked)
    assert (planned["train"], planned["test"]) == (settings, settings)


@pytest.mark.parametrize(
    ("asked", "cited"),
    [((), CITED), ((f"settings=[sr3d, {CITED[0]}]",), CITED[1:]), (("cited=[]",), [])],
)
def test_the_report_gets_the_cited_detectors(
    checkout: Checkout, asked: tuple[str, ...], cited: list[str]
) -> None:
    few = ("tables=[table1]", "trainings=1", "tests=1")
    done = checkout.snakemake("-n", "-p", "--config", "tier=rooms", *few, *asked)
    (call,) = re.findall(r"sr3d report .*", done.stdout)
    _, _, named = call.partition(" --cited ")
    assert named.partition(" > ")[0].split() == [name for name in TABLE_1 if name in cited]


def test_chosen_tables_plan_exactly_their_runs(checkout: Checkout) -> None:
    chosen = checkout.planned("--config", "tier=paper", "tables=[table4, table5]")
    # simOTA, AlignOTA, SPOTA (= SR3D); QFL, VFL, RAS (= SR3D): five settings, on ScanNet alone.
    assert chosen == {"download_scannet": 1, "prepare_scannet": 1, **jobs(5, settings=5)}
    elsewhere = checkout.planned(
        "--config", "tier=paper", "tables=[table4, table5]", "datasets=[sunrgbd]"
    )
    assert elsewhere == {"download_sunrgbd": 1, "prepare_sunrgbd": 1, **jobs(5, settings=5)}
    figure = checkout.planned("--config", "tier=rooms", "tables=[fig8]")
    assert figure["train"] == 5 * 18


def test_oracles_are_tests_of_another_settings_trainings(checkout: Checkout) -> None:
    config = ("tier=full", "tables=[table6]", "trainings=1", "tests=1")
    expected = {"train": 1, "test": 3, "summarise": 3, "report": 1, "track": 1}
    assert checkout.planned("--config", *config) == {"prepare_synthetic": 1, **expected}
    done = checkout.snakemake("-n", "-p", "--config", *config)
    trained, out = "results/synthetic/baseline/train0", "results/synthetic/baseline_gt_iou/train0"
    assert f"--run {trained} --data data/synthetic --tests 1 --out {out} " in done.stdout
    assert "--setting baseline_gt_iou --set test.oracle=iou" in done.stdout


def test_other_boxes_of_a_data_set_are_prepared_in_a_folder_of_their_own(
    checkout: Checkout,
) -> None:
    config = ("tier=paper", "tables=[open]", "settings=[boxes_v1]", "trainings=1", "tests=1")
    done = checkout.snakemake("-n", "-p", "--config", *config)
    assert done.returncode == 0, done.stdout
    assert "--out data/sunrgbd_v1 --labels v1" in done.stdout
    assert "sr3d train --dataset sunrgbd --data data/sunrgbd_v1 " in done.stdout
    assert done.stdout.count("sr3d train ") == 1


def test_the_budget_is_told_before_anything_runs(checkout: Checkout) -> None:
    done = checkout.snakemake("plan", "--config", "tier=paper", "tables=[table6]")
    assert done.returncode == 0, done.stdout
    call = checkout.calls()[-1]
    assert call[0] == "plan"
    told = json.loads(call[-1])
    assert told["data"]["scannet"]["scenes"] == {"train": 1201, "val": 312}
    assert [(j["setting"], j["tests_of"], j["tests"]) for j in told["jobs"]] == [
        ("baseline", None, 5),
        ("baseline_gt_ctr", "baseline", 5),
        ("baseline_gt_iou", "baseline", 5),
    ]
    assert told["jobs"][0]["overrides"] == [*ALL_SETTINGS["baseline"].overrides]
    assert {job["done_trainings"] for job in told["jobs"]} == {0}


def test_overrides_that_no_training_takes_are_told_before_anything_runs(
    checkout: Checkout,
) -> None:
    done = checkout.snakemake("-n", "--config", "tier=paper", "overrides=[train.epoch=6]")
    assert done.returncode != 0
    error = refusal_of(done)
    for name in ("'train.epoch'", "'train.epochs'", "config.yaml", "workflow/tiers.yaml"):
        assert name in error


@pytest.mark.parametrize(("words", "slots"), [([], 1), (["--resources", "gpu=4"], 4)])
def test_the_budget_of_a_gpu_box(checkout: Checkout, words: list[str], slots: int) -> None:
    config = ("tier=paper", "tables=[table6]", "device=cuda")
    done = checkout.snakemake("plan", "--config", *config, *words)
    assert done.returncode == 0, done.stdout
    told = json.loads(checkout.calls()[-1][-1])
    assert (told["device"], told["slots"]) == ("cuda", slots)


def test_runs_of_a_wider_experiment_are_not_this_one_s(checkout: Checkout, tmp_path: Path) -> None:
    """The budget counts the runs that it is about, not whatever lies in the folder."""
    own = checkout.copy(tmp_path / "own")
    for i, j in [(0, 0), (0, 1), (0, 7), (3, 0), (9, 0)]:
        run = own.folder / f"results/scannet/baseline/train{i}"
        for folder in (run, run / f"test{j}"):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "run.json").write_text("{}")
    done = own.snakemake("plan", "--config", "tier=paper", "tables=[table6]")
    assert done.returncode == 0, done.stdout
    job = json.loads(own.calls()[-1][-1])["jobs"][0]
    assert (job["done_trainings"], job["done_tests"]) == (2, [2, 0, 0, 1, 0])


def test_the_real_tier_trains_sr3d_alone_on_two_kinds_of_scans(checkout: Checkout) -> None:
    done = checkout.snakemake("-n", "-p", "--config", "tier=real", "real_scans=elsewhere/scans")
    assert done.returncode == 0, done.stdout
    prepare = (
        "(sr3d prepare scannet --raw elsewhere/scans --meta elsewhere/scans/meta --out data/real"
        " --wait --scenes scene0000_00 && sr3d prepare mmdet3d --root elsewhere/scans"
        " --out data/real --append --wait --scenes scene0113_00)"
    )
    assert prepare in done.stdout
    assert done.stdout.count("sr3d train ") == 1
    assert "--data data/real --split train --setting sr3d --train 0" in done.stdout
    assert "--tests 1 --out results/real/scannet/sr3d/train0 --split train" in done.stdout


def test_the_real_points_tier_trains_detectors_on_points_on_the_same_scans(
    checkout: Checkout,
) -> None:
    config = ("tier=real_points", "real_scans=elsewhere/scans")
    done = checkout.snakemake("-n", "-p", "--config", *config)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("sr3d prepare ") == 2
    for row in PAPER["tables"]["overfit"]["rows"]:
        name = row["setting"]
        assert f"--data data/real --split train --setting {name} --train 0" in done.stdout
        assert (
            f"--run results/real_points/scannet/{name}/train0 --data data/real --tests 1"
            in done.stdout
        )


def test_the_real_sunrgbd_tier_trains_on_the_frames_that_it_tests(checkout: Checkout) -> None:
    config = ("tier=real_sunrgbd", "real_scans=elsewhere/frames")
    done = checkout.snakemake("-n", "-p", "--config", *config)
    assert done.returncode == 0, done.stdout
    prepare = (
        "(sr3d prepare sunrgbd --raw elsewhere/frames --out data/real_sunrgbd"
        " --wait --scenes 000001 001712"
        " && sr3d prepare mmdet3d --root elsewhere/frames --dataset sunrgbd"
        " --infos val=elsewhere/frames/points/sunrgbd_000017_infos.pkl --out data/real_sunrgbd"
        " --append --wait --scenes 000017)"
    )
    assert prepare in done.stdout
    assert "--data data/real_sunrgbd --split val --setting sr3d --train 0" in done.stdout
    assert "train0 --split val" in done.stdout


def test_own_scans_are_prepared_as_told_and_trained_small_on_request(checkout: Checkout) -> None:
    config = ("tier=own_small", "raw={own: my scans}", "prepare_own=[--up, y, --val, '0.3']")
    done = checkout.snakemake("-n", "-p", "--config", *config)
    assert done.returncode == 0, done.stdout
    prepare = (
        "sr3d prepare folder --raw 'my scans' --out data/own --workers 2 --wait --up y --val 0.3"
    )
    assert prepare in done.stdout
    train = (
        "sr3d train --dataset own --data data/own --split train --setting sr3d --train 0 --seed 0"
        " --out results/own_small/own/sr3d/train0 --threads 1 --device cpu --set"
        " model=small train=small augment=small --replace --wait"
        " --done results/own_small/own/sr3d/train0/done.json >"
    )
    assert train in " ".join(done.stdout.split())
    papers = checkout.snakemake("-n", "-p", "--config", "tier=own", "device=cuda")
    assert papers.returncode == 0, papers.stdout
    assert "--out results/own/own/sr3d/train4 --threads " in papers.stdout
    assert "--device cuda --workers 4" in papers.stdout
    assert "small" not in papers.stdout


def test_any_setting_can_be_trained_on_own_scans(checkout: Checkout) -> None:
    few = ("trainings=1", "tests=1")
    planned = checkout.planned("--config", "tier=own", "tables=[table1, table5, open]", *few)
    assert planned["prepare_own"] == 1
    assert planned["train"] > 10


def test_downloads_ask_for_what_the_configuration_says(checkout: Checkout, tmp_path: Path) -> None:
    config = ("tier=paper", "tables=[table1]", "settings=[sr3d]", "trainings=1", "tests=1")
    moved = "raw={scannet: elsewhere, sunrgbd: there}"
    done = checkout.snakemake("-n", "-p", "--config", *config, moved)
    assert done.returncode == 0, done.stdout
    scannet = "sr3d download scannet --out elsewhere --url http://kaldir.vc.cit.tum.de/scannet/"
    assert f"{scannet} --parallel 4 --done data/scannet.raw.json" in done.stdout
    assert "sr3d download sunrgbd --out there --url https://rgbd.cs" in done.stdout
    assert "--accept-terms" not in done.stdout
    accepting = checkout.copy(tmp_path / "checkout")
    file = accepting.read("config.yaml")
    file["download"]["scannet"] = {"accept_terms": True, "url": "http://a", "parallel": 2}
    accepting.edit("config.yaml", file)
    done = accepting.snakemake("-n", "-p", "--config", *config)
    assert "--url http://a --parallel 2 --accept-terms --done" in done.stdout


def test_threads_load_scenes_for_a_gpu_alone(checkout: Checkout) -> None:
    for device, wanted in (
        ("cuda", "--device cuda --workers 4 --set"),
        ("cpu", "--device cpu --set"),
    ):
        done = checkout.snakemake("-n", "-p", "--config", f"device={device}")
        assert done.returncode == 0, done.stdout
        assert wanted in " ".join(done.stdout.split())


def test_s3dis_is_a_data_set_like_the_others(checkout: Checkout) -> None:
    planned = checkout.planned("--config", "tier=full", "datasets=[s3dis]")
    assert planned == {"prepare_s3dis": 1, **jobs(5)}


def test_settings_that_tables_share_are_trained_once(tmp_path: Path) -> None:
    checkout = Checkout.make(tmp_path / "checkout", SETTINGS)
    paper = checkout.read("workflow/tables.yaml")
    table = paper["tables"]["table2"]
    rows = table["rows"][2:]
    paper["tables"]["table9"] = table | {"rows": rows, "reference": rows[0]["setting"]}
    checkout.edit("workflow/tables.yaml", paper)
    planned = checkout.planned("--config", "tier=full", "tables=[table9, table2]")
    assert planned == {"prepare_synthetic": 1, **jobs(5)}


@pytest.mark.parametrize(
    ("config", "mentions"),
    [
        ("trainigs=3", ["config.yaml: trainigs: ", "'trainings'"]),
        ("tier=papr", ["config.yaml: ", "'papr'", "full, demo, quick"]),
        ("tables=[table9]", ["workflow/tables.yaml: ", "'table9'", "table2"]),
        ("cited=[votnet]", ["cited in config.yaml", "'votnet'"]),
        ("raw={scanet: x}", ["config.yaml: raw.scanet: ", "'scannet'"]),
        ("overrides=[train.epochs]", ["config.yaml: overrides[0]: ", "name=value"]),
        ("tier=real", ["--config real_scans=DIR"]),
    ],
)
def test_a_wrong_configuration_is_refused_in_one_sentence(
    checkout: Checkout, config: str, mentions: list[str]
) -> None:
    done = checkout.snakemake("-n", "--config", config)
    assert done.returncode == 1
    error = refusal_of(done)
    for name in mentions:
        assert name in error


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("tables", with_table({**TABLE, "foot": []}), "tables.table2.foot: "),
        ("tables", with_table({**TABLE, "rows": [UNKNOWN], "reference": "sr4d"}), "'sr4d'"),
        ("tiers", {"demo": {**TIER, "test": 5}}, "demo.test: "),
    ],
)
def test_a_wrong_table_is_refused_with_the_name_of_its_file(
    tmp_path: Path, file: str, content: object, told: str
) -> None:
    checkout = Checkout.make(tmp_path / "checkout", SETTINGS)
    checkout.edit(f"workflow/{file}.yaml", content)
    done = checkout.snakemake("-n")
    assert done.returncode == 1
    error = refusal_of(done)
    assert told in error
    assert f"workflow/{file}.yaml" in error.partition(told)[0]


def test_lint_finds_nothing(checkout: Checkout) -> None:
    done = checkout.snakemake("--lint")
    assert done.returncode == 0, done.stdout
    assert "Congratulations" in done.stdout, done.stdout


def test_profiles_agree_on_what_reruns(checkout: Checkout) -> None:
    # A workflow profile replaces the default one, so that each must say it.
    shared = ("rerun-triggers", "rerun-incomplete", "show-failed-logs")
    names = ("default", "slurm", "kubernetes")
    profiles = [checkout.read(f"profiles/{name}/profile.yaml") for name in names]
    assert [[p[key] for key in shared] for p in profiles] == 3 * [
        [["mtime", "params", "input"], True, True]
    ]


def test_existing_results_stay_valid_because_the_same_values_are_passed(
    checkout: Checkout,
) -> None:
    """What Snakemake compares: a tier's overrides, then the setting's own, as ever."""
    done = checkout.snakemake("-n", "-p", "--config", "tier=demo", "overrides=[train.batch_size=4]")
    assert done.returncode == 0, done.stdout
    words = " ".join(done.stdout.split())
    own = " ".join(ALL_SETTINGS["baseline"].overrides)
    assert f"--device cpu --set train.batch_size=4 {own} --replace" in words
    assert "--settings" not in words


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (("tier=full", "overrides=[assigner.k=7]"), "assigner.k=7"),
        (("tier=own_small", "tables=[table1]", "settings=[tr3d]"), "small"),
        (("tier=full", "overrides=[model.voxel_size=0.1, model=small]"), "model.voxel_size=0.1"),
        (("tier=full", "settings_file=nowhere.yaml"), "nowhere.yaml"),
    ],
)
def test_what_contradicts_a_setting_is_refused_before_anything_runs(
    checkout: Checkout, config: tuple[str, ...], told: str
) -> None:
    done = checkout.snakemake("-n", "--config", *config)
    assert done.returncode != 0
    assert told in done.stdout
    assert "Traceback" not in done.stdout
