"""Every published naming is read, every misfit told, and what we write reads back bit for bit."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import sr3d
from sr3d.config import OwnData
from sr3d.detectors import FAMILIES, build_detector
from sr3d.detectors.common.checkpoint_names import own_name
from sr3d.detectors.configuration import default_config
from sr3d.detectors.infer_config import infer_config, load_model
from sr3d.detectors.weights import put_weights, read_checkpoint, write_foreign, write_model
from sr3d.errors import Kind
from sr3d.runs.files import sha256
from tests.detectors.published import NAMINGS, renamed, thin_config, thin_detector
from tests.detectors.thin import thin_fcaf3d
from tests.refusals import refuses


def equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("naming", NAMINGS)
def test_every_published_naming_is_read(naming: str, prefix: str, tmp_path: Path) -> None:
    config, model = thin_detector(NAMINGS[naming][0], "scannet")
    state = model.state_dict()
    theirs = renamed(state, naming, prefix)
    # mmcv's EMAHook: buffers with the weights that were not averaged, dots replaced.
    theirs["ema_backbone_conv1_kernel"] = torch.zeros(27, 3, 4)
    content = {"meta": {"epoch": 12, "CLASSES": model.dataset.classes}, "state_dict": theirs}
    torch.save(
        {**content, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}}, tmp_path / "a.pth"
    )
    checkpoint = read_checkpoint(tmp_path / "a.pth")
    assert equal(dict(checkpoint.weights), state)
    assert infer_config(checkpoint) == config


@pytest.mark.parametrize("naming", ["mmdet3d-1.0-fcaf3d", "samsung-fcaf3d", "samsung-tr3d"])
def test_it_is_said_whose_naming_it_was(naming: str, tmp_path: Path) -> None:
    names = {
        "mmdet3d-1.0-fcaf3d": "mmdetection3d before 1.1",
        "samsung-fcaf3d": "SamsungLabs/fcaf3d",
        "samsung-tr3d": "SamsungLabs/tr3d",
    }
    _, model = thin_detector(NAMINGS[naming][0], "scannet")
    torch.save(renamed(model.state_dict(), naming), tmp_path / "a.pth")
    assert read_checkpoint(tmp_path / "a.pth").naming == names[naming]


def test_the_tables_of_names_are_inverse() -> None:
    for network in ("tr3d", "fcaf3d"):
        weights = build_detector(thin_config(network, "scannet")).state_dict()
        formats = FAMILIES[network].checkpoints
        assert formats is not None
        for published in formats.published.values():
            assert [own_name(name) for name in published.convert(weights)] == [*weights]


@pytest.mark.parametrize("network", ["tr3d", "fcaf3d"])
@pytest.mark.parametrize("dataset", ["scannet", "s3dis", "synthetic_rotated"])
def test_round_trips_are_exact(network: str, dataset: str, tmp_path: Path) -> None:
    config, model = thin_detector(network, dataset)
    state = model.state_dict()
    write_model(tmp_path / "own.safetensors", model, config, {"file": "x.pth"})
    write_model(tmp_path / "again.safetensors", model, config, {"file": "x.pth"})
    assert sha256(tmp_path / "own.safetensors") == sha256(tmp_path / "again.safetensors")
    for naming in ("mmdet3d", "samsung"):
        write_foreign(tmp_path / f"{naming}.pth", model, config, naming)
    for name in ("own.safetensors", "mmdet3d.pth", "samsung.pth"):
        read = read_checkpoint(tmp_path / name)
        assert read.config == config
        assert read.classes == model.dataset.classes
        assert equal(load_model(read, infer_config(read)).state_dict(), state)


def test_classes_of_ones_own_travel_with_the_file(tmp_path: Path) -> None:
    own = OwnData(("crane", "pump"), (1, 0), rotated=True)
    config = dataclasses.replace(
        default_config("own", own), model=thin_config("tr3d", "s3dis").model
    )
    write_model(tmp_path / "own.safetensors", build_detector(config), config, {})
    model = sr3d.load(tmp_path / "own.safetensors")
    assert model.classes == ("crane", "pump")
    assert model.dataset.rotated


@pytest.mark.parametrize("network", ["tr3d", "fcaf3d"])
def test_exports_have_the_names_that_others_publish(network: str, tmp_path: Path) -> None:
    config, model = thin_detector(network, "scannet")
    for naming, published in (("mmdet3d", f"mmdet3d-{network}"), ("samsung", f"samsung-{network}")):
        write_foreign(tmp_path / "a.pth", model, config, naming)  # type: ignore[arg-type]
        content = torch.load(tmp_path / "a.pth", weights_only=True)  # plain values alone
        assert equal(content["state_dict"], renamed(model.state_dict(), published))
        assert content["state_dict"]._metadata[""]["version"] == 2
        assert content["meta"]["dataset_meta"]["classes"] == model.dataset.classes


def test_samsung_fcaf3d_divided_sunrgbds_colours(tmp_path: Path) -> None:
    """Its network on colours c / 255 is ours on c: the stem norm hides all but rounding."""
    config, model = thin_detector("fcaf3d", "sunrgbd")
    torch.save(renamed(model.state_dict(), "samsung-fcaf3d"), tmp_path / "first.pth")
    torch.save(renamed(model.state_dict(), "mmdet3d-fcaf3d"), tmp_path / "later.pth")
    first, later = (read_checkpoint(tmp_path / f"{name}.pth") for name in ("first", "later"))
    stem = "backbone.conv1.kernel"
    assert torch.equal(later.weights[stem], model.state_dict()[stem])
    x = torch.rand(50, 27 * 3)
    theirs = (x / 255) @ model.state_dict()[stem].reshape(81, -1)
    ours = x @ first.weights[stem].reshape(81, -1)
    assert torch.allclose(ours, theirs, rtol=1e-5)
    # Back into their naming, the factor is back too, but for the last bit.
    write_foreign(tmp_path / "back.pth", load_model(first, infer_config(first)), config, "samsung")
    back = torch.load(tmp_path / "back.pth", weights_only=True)["state_dict"][
        "backbone.conv1.0.kernel"
    ]
    assert torch.allclose(back, model.state_dict()[stem], rtol=2e-7, atol=0)


@pytest.mark.parametrize("dataset", ["sunrgbd", "synthetic_rotated"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_samsung_fcaf3d_turns_clockwise(dataset: str, suffix: str, tmp_path: Path) -> None:
    """The same tensors give every box, and with yaw of the other sign."""
    model = thin_fcaf3d(dataset)
    points = torch.rand(400, 6, generator=torch.Generator().manual_seed(0)) * 2
    boxes = {}
    for naming in ("samsung-fcaf3d", "mmdet3d-fcaf3d"):
        path = tmp_path / (naming + suffix)
        state = renamed(model.state_dict(), naming)
        if suffix == ".pth":
            torch.save({"state_dict": state}, path)
        else:
            save_file({name: tensor.clone() for name, tensor in state.items()}, path)
        read = sr3d.load(path, dataset=dataset)
        # Of the stem, the factor of SUN RGB-D's colours is tested above.
        read.load_state_dict({**read.state_dict(), **_stem(model.state_dict())})
        with torch.no_grad():
            boxes[naming] = read(read.voxels([points[:, :3]], [points[:, 3:]])).boxes  # type: ignore[operator]
    theirs, ours = boxes.values()
    assert torch.equal(theirs[:, :6], ours[:, :6])
    assert torch.equal(theirs[:, 6], -ours[:, 6])
    assert ours[:, 6].min() < -0.1
    assert ours[:, 6].max() > 0.1


def _stem(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if name == "backbone.conv1.kernel"}


@pytest.mark.parametrize("naming", [n for n in NAMINGS if n != "samsung-fcaf3d"])
def test_all_other_repositories_turn_as_we_do(naming: str, tmp_path: Path) -> None:
    _, model = thin_detector(NAMINGS[naming][0], "sunrgbd")
    torch.save(renamed(model.state_dict(), naming), tmp_path / "a.pth")
    assert equal(dict(read_checkpoint(tmp_path / "a.pth").weights), model.state_dict())


@pytest.mark.parametrize("naming", ["mmdet3d", "samsung"])
@pytest.mark.parametrize("network", ["tr3d", "fcaf3d"])
def test_exports_turn_as_their_readers_do(naming: Any, network: str, tmp_path: Path) -> None:
    config, model = thin_detector(network, "synthetic_rotated")
    write_foreign(tmp_path / "a.pth", model, config, naming)
    written = torch.load(tmp_path / "a.pth", weights_only=True)["state_dict"]
    expected = renamed(model.state_dict(), f"{naming}-{network}")
    if (naming, network) == ("samsung", "fcaf3d"):
        name = "neck_with_head.reg_conv.kernel"
        sign = torch.tensor([1.0] * 6 + [-1.0, 1.0])
        expected[name] = expected[name] * sign
    assert equal(written, expected)


def saved(tmp_path: Path, state: dict[str, Tensor]) -> Any:
    save_file({name: tensor.clone() for name, tensor in state.items()}, tmp_path / "w.safetensors")
    return read_checkpoint(tmp_path / "w.safetensors")


def test_one_sentence_names_all_that_does_not_fit(tmp_path: Path) -> None:
    _, model = thin_detector("tr3d", "scannet")
    state = dict(model.state_dict())
    state["neck.lateral_block_0.0.kernel"] = torch.zeros(27, 5, 5)
    for i in range(5):
        state[f"img_backbone.conv{i}.weight"] = torch.zeros(1)
    for name in [n for n in state if n.startswith("backbone.layer3.")]:
        del state[name]
    lost = sum(
        n.startswith("backbone.layer3.") and "num_batches" not in n for n in model.state_dict()
    )
    shape = ["neck.lateral_block_0.0.kernel", "(27, 5, 5)", "(27, 12, 12)"]
    missing = [str(lost), "backbone.layer3.0.conv1.kernel", str(lost - 3)]
    unknown = ["5", "img_backbone.conv0.weight", "2"]
    with refuses(Kind.CONFLICT, file="w.safetensors") as caught:
        put_weights(model, saved(tmp_path, state))
    groups = caught.value.problem.split("; ")
    for group, mentions in zip(groups, (shape, missing, unknown), strict=True):
        for name in mentions:
            assert name in group


def test_counts_of_batches_may_be_absent_and_weights_must_be_numbers(tmp_path: Path) -> None:
    _, model = thin_detector("tr3d", "scannet")
    state = dict(model.state_dict())
    counted = {name: t for name, t in state.items() if "num_batches_tracked" not in name}
    assert len(counted) < len(state)
    put_weights(model, saved(tmp_path, counted))
    counted["bbox_head.conv_cls.bias"] = torch.full_like(
        counted["bbox_head.conv_cls.bias"], torch.nan
    )
    with refuses(Kind.VALUE, file="w.safetensors", mentions=["bbox_head.conv_cls"]):
        put_weights(model, saved(tmp_path, counted))


@pytest.mark.parametrize(
    ("about", "mentions"),
    [
        ('{"format": "sr3d/model 9"}', ["'sr3d/model 9'", "'sr3d/model 1'"]),
        ("{", []),
        ("[]", []),
        ('{"format": "sr3d/model 1", "config": {"asigner": {}}}', ["asigner", "'assigner'"]),
    ],
)
def test_files_of_other_versions_are_refused(
    about: str, mentions: list[str], tmp_path: Path
) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors", {"sr3d": about})
    with refuses(Kind.VALUE, file="w.safetensors", mentions=mentions):
        read_checkpoint(tmp_path / "w.safetensors")
    meta = {"sr3d_config": about}
    torch.save({"meta": meta, "state_dict": {"a": torch.zeros(1)}}, tmp_path / "w.pth")
    with refuses(Kind.VALUE, file="w.pth"):
        read_checkpoint(tmp_path / "w.pth")
