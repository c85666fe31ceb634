"""A setting's name brings its overrides, and a run bears the name of what it is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sr3d.cli import main
from sr3d.config import Config
from sr3d.config_groups import DATASETS
from sr3d.data.prepared import PreparedWriter
from sr3d.data.scene import Scene
from sr3d.detectors import FAMILIES
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.errors import InputError
from sr3d.geometry.boxes import Boxes
from sr3d.run_setting import configure, departures, infer_setting
from sr3d.runs.record import RunRecord, read_run
from sr3d.settings import CUSTOM, read_settings
from sr3d.study.report.findings import runs_of
from sr3d.study.report.setting_summary import Doubt, warnings_of
from tests.make_runs import make_tree
from tests.test_training import TINY

SETTINGS = read_settings()
TRAINED = [name for name, setting in SETTINGS.items() if setting.tests_of is None]
SHORT = [*TINY, "train.epochs=1", "train.milestones=[]", "train.repeat=1"]


def write(folder: Path, value: object) -> Path:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(value), encoding="utf-8")
    return path


# ---------------------------------------------------------------- the file


def test_a_file_of_ones_own_adds_settings(tmp_path: Path) -> None:
    own = {
        "mine": {"label": "mine", "overrides": ["assigner.k=3"]},
        "mine_3d": {"label": "3d", "overrides": ["test.nms=3d"], "tests_of": "mine"},
        "theirs_3d": {"label": "3d", "overrides": ["test.nms=3d"], "tests_of": "baseline"},
    }
    both = read_settings(write(tmp_path, own))
    assert list(both) == [*SETTINGS, *own]
    found = configure(both, "mine_3d", default_config("scannet"))
    assert (found.config.flat()["assigner.k"], found.config.test.nms) == (3, "3d")
    assert both["mine"].datasets == DATASETS


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({}, ""),
        ([], "mapping"),
        ({"sr3d": {"label": "SR3D", "overrides": []}}, "sr3d"),
        ({"custom": {"label": "mine", "overrides": []}}, "custom"),
        ({"My-Row": {"label": "mine", "overrides": []}}, "My-Row"),
        ({"mine": None}, "mine"),
        ({"mine": {"overrides": []}}, "label"),
        ({"mine": {"label": "mine"}}, "overrides"),
        ({"mine": {"label": "mine", "overides": []}}, "'overrides'"),
        ({"mine": {"label": "", "overrides": []}}, "label"),
        ({"mine": {"label": "mine", "overrides": "assigner.k=3"}}, "overrides"),
        ({"mine": {"label": "mine", "overrides": ["assigner.k"]}}, "overrides[0]"),
        ({"mine": {"label": "mine", "overrides": [], "datasets": ["scanet"]}}, "'scannet'"),
        ({"mine": {"label": "mine", "overrides": [], "prepared": {"scanet": "x"}}}, "'scannet'"),
        ({"mine": {"label": "mine", "overrides": [], "tests_of": "sr3"}}, "'sr3d'"),
        ({"mine": {"label": "mine", "overrides": [], "tests_of": "nms_3d"}}, "tests_of"),
        (
            {"mine": {"label": "mine", "overrides": ["assigner.k=3"], "tests_of": "sr3d"}},
            "assigner.k=3",
        ),
    ],
)
def test_a_wrong_file_is_refused_by_its_name(own: object, told: str, tmp_path: Path) -> None:
    path = write(tmp_path, own)
    with pytest.raises(InputError) as error:
        read_settings(path)
    assert str(path) in str(error.value)
    assert told in str(error.value)


# ---------------------------------------------------------------- what a name is


@pytest.mark.parametrize("name", TRAINED)
def test_a_name_alone_is_its_overrides_and_they_are_its_name(name: str) -> None:
    setting = SETTINGS[name]
    for dataset in setting.datasets:
        start = default_config(dataset)
        found = configure(SETTINGS, name, start)
        assert found.config == with_overrides(start, setting.overrides)
        assert found.overrides == setting.overrides
        again = configure(SETTINGS, name, start, ["seed=3", *setting.overrides])
        assert again.config == configure(SETTINGS, name, start, ["seed=3"]).config
        assert again.config.seed == 3
        labels = setting.labels.get(dataset, "")
        named = infer_setting(SETTINGS, start, setting.overrides, labels=labels)
        assert named.config == found.config
        same = {name} if dataset != "synthetic" else {name, "tr3d", "baseline_augment_tr3d"}
        assert named.name in same


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(TRAINED), st.lists(st.sampled_from([*SHORT, "train.lr=1e-3", "train=tr3d"])))
def test_other_overrides_come_first_and_the_order_of_equal_lists_changes_nothing(
    name: str, beside: list[str]
) -> None:
    """What the workflow passes: the experiment's overrides, then the setting's own."""
    setting, start = SETTINGS[name], default_config("scannet")
    if "scannet" not in setting.datasets:
        return
    try:
        found = configure(SETTINGS, name, start, beside)
    except InputError:
        return
    assert found == configure(SETTINGS, name, start, [*beside, *setting.overrides])
    flat, alone = found.config.flat(), with_overrides(start, setting.overrides).flat()
    told = with_overrides(start, [o for o in beside if o not in setting.overrides]).flat()
    for key, value in flat.items():
        assert value in [of[key] for of in (alone, told) if key in of]  # families have own keys


@pytest.mark.parametrize(
    ("name", "beside", "told"),
    [
        ("baseline", ["assigner.name=spota"], "assigner.name=tr3d"),
        ("sr3d", ["assigner.k=7"], "assigner.k=6"),
        ("sr3d", ["model=fcaf3d"], "model.name=tr3d"),
        ("sr3d", ["loss.rdl_form=printed"], "loss.rdl_form=rank"),
        ("lr_literal", ["train.lr=1e-3"], "train.lr=1e-05"),
        ("tr3d", ["train.epochs=6", "train.milestones=[4]"], "train.epochs=12"),
        ("tr3d", ["train=small"], "train=tr3d"),
        ("fcaf3d", ["model=small"], "model=fcaf3d"),
        ("fcaf3d", ["model.planes=[8, 8, 8, 8]"], "model.planes=[64, 128, 256, 512]"),
        ("nms_3d", ["test.nms=bev"], "test.nms=3d"),
        ("nms_3d", ["assigner.k=7"], "assigner.k=6"),
        ("sr3d", ["model.voxel_size=0.02", "model=small"], "model.voxel_size=0.02"),
        ("boxes_v1", [], "sunrgbd"),
        ("spot", [], "'spota'"),
    ],
)
def test_what_contradicts_a_setting_is_refused(name: str, beside: list[str], told: str) -> None:
    with pytest.raises(InputError) as error:
        configure(SETTINGS, name, default_config("scannet"), beside)
    assert told in str(error.value)
    assert not beside or any(override in str(error.value) for override in beside)


def test_single_values_beside_a_setting_survive_its_presets() -> None:
    beside = ["train.batch_size=8", "model.engine=minkowski", "test.sample_count=100000"]
    config = configure(SETTINGS, "fcaf3d", default_config("scannet"), beside).config
    published = configure(SETTINGS, "fcaf3d", default_config("scannet")).config
    assert (config.train.batch_size, config.model.engine) == (8, "minkowski")
    assert config == dataclasses.replace(
        published,
        train=dataclasses.replace(published.train, batch_size=8),
        model=dataclasses.replace(published.model, engine="minkowski"),
    )


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "sr3d"),
        (["model=small", "train=small", "augment=small"], "sr3d"),
        (["train.batch_size=2", "assigner.k=7"], "k7"),
        (["loss.cls=focal", "assigner.name=tr3d"], "baseline"),
        (["loss.cls=focal"], "spota"),
        (["train.lr=1e-5"], "lr_literal"),
        (["model=fcaf3d", "train=fcaf3d", "augment=fcaf3d"], "fcaf3d"),
        (["assigner.k=3"], CUSTOM),
        (["assigner.k=7", "loss.tau=1"], CUSTOM),
        (["model=fcaf3d"], CUSTOM),
        (["test.oracle=iou"], CUSTOM),
    ],
)
def test_overrides_alone_are_named_by_what_they_make(overrides: list[str], name: str) -> None:
    start = default_config("scannet")
    found = infer_setting(SETTINGS, start, overrides)
    assert (found.name, found.config) == (name, with_overrides(start, overrides))


def test_the_version_of_the_ground_truth_tells_settings_apart() -> None:
    start = default_config("sunrgbd")
    names = {
        labels: infer_setting(SETTINGS, start, [], labels=labels).name for labels in ("v1", "v2")
    }
    assert names == {"v1": "boxes_v1", "v2": "sr3d"}


# ---------------------------------------------------------------- the verbs


@pytest.fixture(scope="module")
def baseline(rooms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of the baseline, by its name."""
    out = tmp_path_factory.mktemp("results") / "synthetic/baseline/train0"
    assert main(train_words(rooms, out, "--setting", "baseline", "--set", *SHORT)) == 0
    return out


def train_words(data: Path, out: Path, *words: str) -> list[str]:
    return ["train", "--dataset", "synthetic", "--data", str(data), "--out", str(out), *words]


def evaluated(run: Path, data: Path, out: Path, *words: str) -> RunRecord:
    assert main(["test", "--run", str(run), "--data", str(data), "--out", str(out), *words]) == 0
    return read_run(out)


def test_a_name_trains_what_it_says(baseline: Path) -> None:
    record = read_run(baseline)
    expected = [*SHORT, "assigner.name=tr3d", "loss.cls=focal"]
    assert (record.setting, record.overrides) == ("baseline", expected)
    assert record.config == with_overrides(default_config("synthetic"), expected).to_dict()


def test_a_setting_of_ones_own_trains_from_its_file(rooms: Path, tmp_path: Path) -> None:
    own = write(tmp_path, {"mine": {"label": "mine", "overrides": ["assigner.k=3"]}})
    words = ("--setting", "mine", "--settings", str(own), "--set", *SHORT)
    assert main(train_words(rooms, tmp_path / "run", *words)) == 0
    record = read_run(tmp_path / "run")
    assert (record.setting, record.config["assigner"]["k"]) == ("mine", 3)
    again = evaluated(tmp_path / "run", rooms, tmp_path / "test0", "--setting", "mine")
    assert again.setting == "mine"


def test_a_run_without_a_name_is_named_by_what_it_is(rooms: Path, tmp_path: Path) -> None:
    assert main(train_words(rooms, tmp_path / "a", "--set", *SHORT, "assigner.k=7")) == 0
    assert main(train_words(rooms, tmp_path / "b", "--set", *SHORT, "assigner.k=3")) == 0
    assert [read_run(tmp_path / name).setting for name in "ab"] == ["k7", CUSTOM]
    assert (
        evaluated(tmp_path / "b", rooms, tmp_path / "b/test0").key
        == "synthetic/custom/train0/test0"
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--setting", "baseline", "--set", "assigner.name=spota"], "assigner.name=tr3d"),
        (["--setting", "basline"], "'baseline'"),
        (["--setting", "mine"], "--settings"),
        (["--setting", "baseline_gt_iou"], "baseline"),
        (["--setting", "boxes_v1"], "sunrgbd"),
        (["--setting", "sr3d", "--settings", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_a_training_that_is_not_what_it_says_is_refused_before_it_begins(
    words: list[str],
    told: str,
    rooms: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(train_words(rooms, tmp_path / "run", *words)) == 2
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_evaluation_is_named_by_what_it_is(baseline: Path, rooms: Path, tmp_path: Path) -> None:
    def name(*words: str) -> tuple[str, str | None]:
        record = evaluated(baseline, rooms, tmp_path / "_".join(["out", *words]), *words)
        return record.setting, record.tests_of

    assert name() == name("--setting", "baseline") == ("baseline", None)
    oracle = ("baseline_gt_iou", "baseline")
    assert name("--setting", "baseline_gt_iou") == oracle
    assert name("--set", "test.oracle=iou") == oracle
    assert name("--set", "test.score_thr=0.2") == (CUSTOM, "baseline")
    # Asked for by name, an evaluation may depart from the training in what is no method.
    assert name("--setting", "baseline", "--set", "test.score_thr=0.2") == ("baseline", None)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--setting", "nms_3d"], "sr3d"),
        (["--setting", "sr3d"], "sr3d"),
        (["--setting", "baseline", "--set", "test.oracle=iou"], "test.oracle"),
        (["--setting", "baseline_gt_iou", "--set", "test.oracle=centerness"], "test.oracle=iou"),
        (["--setting", "baselin"], "'baseline'"),
    ],
)
def test_an_evaluation_of_another_settings_trainings_is_refused(
    words: list[str],
    told: str,
    baseline: Path,
    rooms: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "test0"
    command = ["test", "--run", str(baseline), "--data", str(rooms), "--out", str(out)]
    assert main([*command, *words]) == 2
    assert told in capsys.readouterr().err
    assert not out.exists()


def test_other_boxes_than_the_settings_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    from sr3d.data.datasets import SUNRGBD

    writer = PreparedWriter(
        tmp_path / "data", "sunrgbd", SUNRGBD.classes, True, "a test", labels="v2"
    )
    box = torch.tensor([[0.5, 0.5, 0.5, 1, 1, 1, 0]])
    scene = Scene("a", torch.rand(50, 3), torch.rand(50, 3), Boxes(box), torch.tensor([1]))
    writer.add("train", scene)
    writer.finish()
    words = ["train", "--dataset", "sunrgbd", "--data", str(tmp_path / "data")]
    assert main([*words, "--out", str(tmp_path / "run"), "--setting", "boxes_v1"]) == 2
    assert "--labels v1" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_config_prints_a_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--setting", "baseline", "--set", "train.batch_size=4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {'assigner.name="tr3d"', 'loss.cls="focal"', "train.batch_size=4"} <= {*lines}
    assert main(["config", "--setting", "baseline", "--set", "loss.cls=ras"]) == 2


# ---------------------------------------------------------------- what is read back


def test_a_record_under_a_name_that_it_is_not_is_told(tmp_path: Path) -> None:
    made = {"baseline": ["loss.cls=focal"], "mine": ["assigner.k=3"]}
    make_tree(tmp_path, settings=made, score=lambda *_: 50.0)

    def departures_told(setting: str) -> list[str]:
        found = warnings_of(runs_of(tmp_path / "synthetic" / setting))
        return [warning.text for warning in found if warning.doubt is Doubt.OTHER_SETTING]

    told = departures_told("baseline")
    assert all("6 of 6" in text for text in told)
    assert any("assigner.name=spota" in text for text in told)
    assert departures_told("mine") == []  # no setting of the package


def test_what_runs_of_a_setting_have_in_common_is_no_departure() -> None:
    start = default_config("synthetic")
    config: Config = configure(SETTINGS, "tr3d", start, ["train.batch_size=7"]).config
    assert departures(SETTINGS, "tr3d", start, config) == []
    assert departures(SETTINGS, "baseline", start, config) != []


def test_settings_of_the_package_hold_no_value_without_effect() -> None:
    for name, setting in SETTINGS.items():
        for dataset in setting.datasets:
            if dataset == "own":
                continue  # has classes and levels of a folder
            config = configure(SETTINGS, name, default_config(dataset)).config
            given = [override.partition("=")[0] for override in setting.overrides]
            assert config.without_effect(given) == {}, name


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["assigner.name=simota", "assigner.k=9"], {"assigner.k": "assigner.name=simota"}),
        (["loss.cls=focal", "loss.tau=3"], {"loss.tau": "loss.cls=focal"}),
        (["train.min_lr=1e-6"], {"train.min_lr": "train.schedule=step"}),
        (["train.schedule=cosine", "train.min_lr=1e-6", "loss.tau=3"], {}),
        (["model=fcaf3d", "train.momentum=0.5"], {"train.momentum": "train.optimizer=adamw"}),
        (["augment.crop_when=moved"], {"augment.crop_when": "augment.crop=[1.0, 1.0]"}),
        (
            ["augment.crop_when=moved", "augment.crop_aspect=0.5"],
            {
                "augment.crop_aspect": "augment.crop=[1.0, 1.0]",
                "augment.crop_when": "augment.crop=[1.0, 1.0]",
            },
        ),
        (["augment.crop=[0.5,1]", "augment.crop_when=moved"], {}),
        (
            ["model=votenet", "test.min_points=0", "test.keep_best=true"],
            {"test.keep_best": "test.min_points=0"},
        ),
        (["model=brnet", "model.heading_bins=6"], {"model.heading_bins": "dataset=scannet"}),
        (
            ["model=mlcvnet", "loss.vote_points=box", "loss.vote_centre=box"],
            {"loss.vote_centre": "loss.vote_points=box"},
        ),
        (
            ["model=rbgnet", "loss.vote_points=box", "loss.vote_centre=box"],
            {"loss.vote_centre": "loss.vote_points=box"},
        ),
        (
            ["model=groupfree", "model.box_size=metres", "loss.size_class=2"],
            {"loss.size_class": "model.box_size=metres"},
        ),
        (
            ["model=3detr", "model.squared_radii=false"],
            {"model.squared_radii": "model.encoder=vanilla"},
        ),
        (["model=3detr_m", "model.squared_radii=false"], {}),
    ],
)
def test_each_value_without_effect_gets_a_warning(
    overrides: list[str], told: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["config", "--set", *overrides]) == 0
    assert len(caplog.records) == len(told)
    for record, (name, why) in zip(caplog.records, told.items(), strict=True):
        assert name in record.getMessage()
        assert why in record.getMessage()


def test_every_condition_names_fields_and_values_that_exist() -> None:
    for family in FAMILIES.values():
        config = family.config.of_values({})
        for name, (other, listed) in config.conditions.items():
            assert name in config.flat()
            if other == "dataset":
                assert {*listed} <= {*DATASETS}
                continue
            for value in listed:
                with_overrides(config, [f"{other}={value}"])
