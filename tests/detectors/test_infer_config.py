"""A checkpoint tells its network, its widths, its data set and its voxels."""

from pathlib import Path

import pytest
import torch

from sr3d.config import OwnData
from sr3d.detectors import build_detector
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.detectors.infer_config import infer_config, load_model
from sr3d.detectors.weights import Checkpoint, read_checkpoint
from sr3d.errors import Kind
from tests.data.checkpoint_files import save_mmengine
from tests.detectors.published import renamed, thin_detector
from tests.refusals import refuses


def checkpoint(
    network: str, dataset: str, classes: tuple[str, ...] | None = None, voxel: float | None = None
) -> Checkpoint:
    """Of a network of full size, without memory for its weights."""
    with torch.device("meta"):
        config = with_overrides(default_config(dataset), [f"model={network}"])
        weights = build_detector(config).state_dict()
    return Checkpoint(Path("w.pth"), weights, "", classes=classes, voxel_size=voxel)


@pytest.mark.parametrize("network", ["tr3d", "fcaf3d", "tr3d_dlla", "fcaf3d_dlla"])
@pytest.mark.parametrize(
    "dataset", ["scannet", "sunrgbd", "s3dis", "synthetic", "synthetic_rotated"]
)
def test_full_networks_are_recognised(network: str, dataset: str) -> None:
    expected = with_overrides(default_config(dataset), [f"model={network}"])
    assert infer_config(checkpoint(network, dataset)) == expected


def test_what_the_caller_says_must_agree_or_overrule() -> None:
    with refuses(Kind.CONFLICT, mentions=["--model", "w.pth"]):
        infer_config(checkpoint("tr3d", "scannet"), network="fcaf3d")
    config = infer_config(checkpoint("tr3d", "scannet"), overrides=["model.voxel_size=0.02"])
    assert config.flat()["model.voxel_size"] == 0.02
    config = infer_config(checkpoint("tr3d", "scannet", voxel=0.05))
    assert config.flat()["model.voxel_size"] == 0.05


def test_unknown_classes_become_a_data_set_of_ones_own() -> None:
    classes = tuple(f"thing{i}" for i in range(18))
    config = infer_config(checkpoint("tr3d", "scannet", classes))
    assert config.dataset == "own"
    assert config.own == OwnData(classes)
    named = infer_config(checkpoint("tr3d", "scannet", classes), dataset="scannet")
    assert named.dataset == "scannet"


@pytest.mark.parametrize("by_class", ["assigner.name=tr3d", "assigner.levels=by_class"])
def test_no_assigner_goes_by_levels_that_nobody_knows(by_class: str) -> None:
    config = infer_config(checkpoint("tr3d", "scannet", tuple(f"thing{i}" for i in range(18))))
    with refuses(field="own.levels"):
        with_overrides(config, [by_class])
    levels = [0, 1] * 9
    assert with_overrides(config, [f"own.levels={levels}", by_class]).own.levels == tuple(levels)
    assert with_overrides(config, ["assigner.name=simota"]).own.levels == ()


def test_what_fits_no_data_set_is_told() -> None:
    odd = checkpoint("tr3d", "scannet")
    weights = {**odd.weights, "bbox_head.conv_cls.kernel": torch.empty(128, 7, device="meta")}
    with refuses(Kind.UNKNOWN, file="w.pth", mentions=["--dataset"]):
        infer_config(Checkpoint(odd.path, weights, ""))
    with refuses(Kind.MISSING, file="w.pth"):
        infer_config(Checkpoint(odd.path, weights, ""), dataset="own")
    other = Checkpoint(odd.path, {"rpn_head.conv.weight": torch.zeros(1)}, "")
    with refuses(Kind.CONFLICT, file="w.pth", mentions=["rpn_head"]):
        infer_config(other)


@pytest.mark.parametrize("zipped", [True, False])
def test_an_mmengine_checkpoint_tells_classes_and_voxels(zipped: bool, tmp_path: Path) -> None:
    config, model = thin_detector("tr3d", "s3dis")
    state = renamed(model.state_dict(), "mmdet3d-tr3d")
    classes = model.dataset.classes
    save_mmengine(tmp_path / "a.pth", state, zipped, dataset_meta={"classes": classes})
    read = read_checkpoint(tmp_path / "a.pth")
    assert (read.classes, read.voxel_size) == (classes, 0.08)
    assert infer_config(read) == with_overrides(config, ["model.voxel_size=0.08"])
    loaded = load_model(read, infer_config(read)).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())


def test_classes_under_other_names_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config, model = thin_detector("tr3d", "s3dis")
    read = Checkpoint(tmp_path / "w.pth", model.state_dict(), "", classes=("a", "b", "c", "d", "e"))
    load_model(read, config)
    (warning,) = caplog.records
    assert "a, b, c, d, e" in warning.message
    assert model.dataset.classes[0] in warning.message
