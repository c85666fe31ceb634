"""Outside its own files nothing in the package names a family, and families say what they need."""

from __future__ import annotations

import dataclasses
import importlib
import io
import re
import tokenize
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import sr3d
from sr3d.cli import main
from sr3d.data.datasets import dataset_of
from sr3d.data.prepared import PreparedDataset, read_manifest
from sr3d.data.rooms.generate import generate_room
from sr3d.data.scene import Scene
from sr3d.detectors import FAMILIES, NETWORKS, build_detector
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.detectors.needs import contents, lacks_instances, with_needs
from sr3d.detectors.tr3d.detector import TR3D
from sr3d.errors import InputError, Kind
from sr3d.sparse import SparseTensor
from sr3d.sparse.functional import engine_on
from sr3d.train.loop import TrainingJob
from sr3d.train.training import train
from tests.data.older_formats import as_version_2
from tests.family_configs import ON_POINTS, small_config
from tests.refusals import refused, refuses

PACKAGE = Path(sr3d.__file__).parent
# Who may, and why.
ALLOWED = {
    "detectors/__init__.py": "the table of families",
    "detectors/common/checkpoint_names.py": "one repository published two families",
    "matching/tr3d.py": "an assigner of that name, which is an option of others too",
    "matching/fcaf3d.py": "likewise",
    "study/report/tables/filled.py": "names of settings, beside which a row of boxes stands",
    "cli/prepare.py": "data as VoteNet's scripts extract them",
    "interop/mmdet3d/": "TR3D's network as a detector of mmdetection3d",
}
# A folder cannot begin with a digit as a name can, so it is the one of the configuration's class.
FOLDERS = {name: family.config.__module__.split(".")[2] for name, family in FAMILIES.items()}
ALLOWED |= {f"detectors/{folder}/": "the family itself" for folder in FOLDERS.values()}
# What contains the name of a family by chance: argparse's `dest`, and English words.
CHANCE = re.compile(r"^dest$|widest|destination|destroy")


def words_of_code(path: Path) -> list[str]:
    """Names and strings of a module; neither comments nor docstrings, which may cite a source."""
    words, statement_begins = [], True
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type == tokenize.NAME or (token.type == tokenize.STRING and not statement_begins):
            words.append(CHANCE.sub("", token.string.lower()))
        statement_begins = token.type in (
            tokenize.NEWLINE,
            tokenize.NL,
            tokenize.INDENT,
            tokenize.DEDENT,
            tokenize.COMMENT,
            tokenize.ENCODING,
        )
    return words


def test_no_other_module_names_a_family() -> None:
    named = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(family in word for word in words_of_code(path) for family in FAMILIES)
    }
    assert {path for path in named if not path.startswith(tuple(ALLOWED))} == set()
    for allowed in ALLOWED:  # no reason that nobody needs
        assert any(path.startswith(allowed) for path in named), allowed


def test_the_folder_of_a_family_can_be_imported_by_its_name() -> None:
    for folder in FOLDERS.values():
        module = importlib.import_module(f"sr3d.detectors.{folder}")
        assert getattr(sr3d.detectors, folder) is module


def test_a_configuration_can_name_every_family() -> None:
    for name, family in FAMILIES.items():
        assert family.config.of_values({}).model.name == name
    assert set(NETWORKS.values()) == set(FAMILIES)


# ---------------------------------------------------------------- what families need of the data

TINY = [
    "model.voxel_size=0.1",
    "model.stem_channels=8",
    "model.planes=[8,8,8,8]",
    "model.neck_channels=8",
    "train.epochs=1",
    "train.milestones=[]",
    "train.batch_size=2",
    "train.repeat=1",
]


class Voting(TR3D):
    """A family that trains on instances and mean sizes, or asserts that it could."""

    def inputs(
        self, scenes: Sequence[Scene], generators: Sequence[torch.Generator] | None = None
    ) -> SparseTensor:
        for scene in scenes if self.training else ():
            assert scene.instance is not None
            assert scene.instance.shape == scene.points.shape[:1]
        assert len(self.dataset.mean_sizes) == len(self.classes)
        return super().inputs(scenes, generators)


@pytest.fixture
def voting(monkeypatch: pytest.MonkeyPatch) -> None:
    family = dataclasses.replace(
        FAMILIES["tr3d"], title="Voting", build=Voting, needs=("instance", "mean_sizes")
    )
    monkeypatch.setitem(FAMILIES, "tr3d", family)


def job(data: Path, out: Path, dataset: str = "synthetic") -> TrainingJob:
    chosen = with_overrides(default_config(dataset), TINY)
    return TrainingJob(chosen, TINY, data, out, setting="sr3d", index=0)


@pytest.mark.usefixtures("voting")
def test_a_family_gets_the_instances_and_mean_sizes_that_it_needs(
    rooms: Path, tmp_path: Path
) -> None:
    record = train(job(rooms, tmp_path / "out"))
    sizes = [list(size) for size in PreparedDataset(rooms, "train").mean_sizes()]
    assert record.config["mean_sizes"] == sizes == read_manifest(rooms).mean_sizes
    assert record.data["instances"] is True
    loaded = sr3d.load(tmp_path / "out")
    assert [list(size) for size in loaded.dataset.mean_sizes] == sizes
    assert train(job(rooms, tmp_path / "out")).seeds == record.seeds  # finished, not repeated


@pytest.mark.usefixtures("voting")
def test_data_without_the_instances_that_a_family_needs_are_refused_before_training(
    rooms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = as_version_2(rooms, tmp_path / "old")
    out = tmp_path / "out"
    command = ["train", "--dataset", "synthetic", "--data", str(old), "--out", str(out)]
    error = refused([*command, "--set", *TINY])
    assert (error.kind, error.field, error.file) == (Kind.MISSING, "model.name", old)
    for word in ("sr3d prepare synthetic", f"--out {old}"):
        assert word in str(error.remedy)
    assert not list(out.rglob("*.*"))
    command = ["prepare", "synthetic", "--train", "6", "--val", "3", "--points", "4000"]
    main([*command, "--workers", "1", "--out", str(old)])  # the remedy
    assert "tr3d" not in capsys.readouterr().out  # nothing is lacking any more
    assert read_manifest(old).digest() == read_manifest(rooms).digest()
    assert train(job(old, out)).data["instances"] is True


@pytest.mark.usefixtures("voting")
def test_inspection_says_what_is_lacking(
    rooms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = as_version_2(rooms, tmp_path / "old")
    main(["inspect", "data", str(old)])
    text = " ".join(capsys.readouterr().out.split())
    assert "tr3d" in text
    assert "sr3d prepare synthetic" in text  # the remedy
    main(["inspect", "data", str(rooms)])
    assert "tr3d" not in capsys.readouterr().out


@pytest.mark.usefixtures("voting")
def test_data_sets_of_boxes_alone_are_not_refused(rooms: Path) -> None:
    """There a family takes the points in a box for its object's."""
    manifest = dataclasses.replace(read_manifest(rooms), scenes={"a": {"points": 1}})
    for dataset, lacks in (("scannet", True), ("sunrgbd", False), ("own", False)):
        other = dataclasses.replace(manifest, dataset=dataset)
        assert lacks_instances(FAMILIES["tr3d"], other) == lacks
        assert ("needs" in contents(rooms, other, {"tr3d": FAMILIES["tr3d"]})) or not lacks


@pytest.mark.usefixtures("voting")
def test_a_network_that_needs_mean_sizes_says_so() -> None:
    assert build_detector(default_config("scannet")).dataset.mean_sizes  # published
    with pytest.raises(InputError) as error:
        build_detector(default_config("synthetic"))
    assert (error.value.kind, error.value.field) == (Kind.MISSING, "mean_sizes")
    three = with_overrides(default_config("synthetic"), ["mean_sizes=[[1,1,1]]"])
    with pytest.raises(InputError) as error:
        dataset_of(three)
    assert (error.value.kind, error.value.field) == (Kind.CONFLICT, "mean_sizes")


@pytest.mark.parametrize("name", FAMILIES)
def test_families_without_needs_train_on_older_folders_as_before(
    name: str, rooms: Path, tmp_path: Path
) -> None:
    if FAMILIES[name].needs:
        pytest.skip("this family has needs")
    chosen: Any = with_overrides(default_config("synthetic"), [f"model={NETWORKS[name]}"])
    old = PreparedDataset(as_version_2(rooms, tmp_path / "old"), "train")
    for scenes in (old, PreparedDataset(rooms, "train")):
        assert with_needs(chosen, FAMILIES[name], scenes) is chosen


# ---------------------------------------------------------------- one family after another


@pytest.mark.parametrize("before", FAMILIES)
def test_a_preset_of_another_family_keeps_nothing_of_the_family_before(before: str) -> None:
    for dataset in ("scannet", "sunrgbd", "synthetic"):
        start = default_config(dataset)
        other = with_overrides(start, [f"model={before}"])
        for after in FAMILIES:
            assert with_overrides(other, [f"model={after}"]) == with_overrides(
                start, [f"model={after}"]
            )


def test_a_value_given_before_a_preset_is_kept_or_the_preset_is_refused() -> None:
    start = default_config("scannet")
    assert with_overrides(start, ["test.score_thr=0.07", "model=fcaf3d"]).test.score_thr == 0.07
    with refuses(Kind.CONFLICT, mentions=["test.score_thr=0.07"]):
        with_overrides(start, ["test.score_thr=0.07", "model=votenet"])


@pytest.mark.parametrize("name", ON_POINTS)
def test_a_detector_on_points_uses_the_engine_that_it_is_told(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(name, "model.engine=torch")
    model, used = build_detector(config).eval(), []

    def noted(device: torch.device) -> str:
        used.append(engine_on(device))
        return used[-1]

    monkeypatch.setattr("sr3d.sparse.functional.native_engine", lambda device: "triton")
    monkeypatch.setattr("sr3d.points.functional.engine_on", noted)
    with torch.no_grad():
        model(model.inputs([generate_room(1, points=5000)]))
    assert {*used} == {"torch"}
    with refuses(Kind.VALUE, field="model.engine"):
        with_overrides(config, ["model.engine=minkowski"])
