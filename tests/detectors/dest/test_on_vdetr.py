"""DEST on V-DETR, the reconstruction."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import sr3d
from sr3d.config import Config
from sr3d.data.rooms.generate import generate_room
from sr3d.detectors import build_detector
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.detectors.dest.on_vdetr import DESTOnVDETR
from sr3d.detectors.weights import write_model
from sr3d.train.step import batch_losses
from tests.detectors.tiny_families import tiny_config, tiny_detector

# Of the last layer: nothing needs what points have read from the queries there.
SILENT = {
    f"decoder.layers.1.ISSM_scan.{name}" for name in ("D", "key_norm.weight", "out_key_proj.weight")
}


def tiny(dataset: str = "synthetic", *overrides: str) -> DESTOnVDETR:
    model = tiny_detector("dest_vdetr", dataset, *overrides)
    assert isinstance(model, DESTOnVDETR)
    return model


@pytest.mark.parametrize("dataset", ["scannet", "sunrgbd", "synthetic"])
def test_all_but_the_decoder_is_v_detr(dataset: str) -> None:
    def values(name: str) -> dict[str, object]:
        words = [f"{part}={name}" for part in ("model", "augment", "train")]
        chosen: Config = with_overrides(default_config(dataset), words)
        named = {"model.name", "model.bidirectional", "model.heads"}
        return {key: value for key, value in chosen.flat().items() if key not in named}

    assert values("dest_vdetr") == values("vdetr")


def test_it_has_the_scans_of_dest_and_v_detrs_other_weights() -> None:
    def shapes(name: str) -> dict[str, tuple[int, ...]]:
        model = build_detector(with_overrides(default_config("scannet"), [f"model={name}"]))
        return {key: tuple(value.shape) for key, value in model.state_dict().items()}

    def shared(found: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        own = ("decoder.layers.", "decoder.query_")
        return {key: shape for key, shape in found.items() if not key.startswith(own)}

    ours, theirs = shapes("dest_vdetr"), shapes("vdetr")
    assert shared(ours) == shared(theirs)
    assert "decoder.query_embed.weight" not in ours
    assert ours["decoder.layers.7.ISSM_scan.A_log"] == (8,)
    assert ours["decoder.layers.0.mlp_query.fc2.weight"] == (256, 256, 1)


@pytest.mark.parametrize("layer", [0, 1])
@torch.no_grad()
def test_points_come_back_in_their_own_order(layer: int) -> None:
    decoder = tiny().eval().decoder
    torch.manual_seed(1)
    queries, memory = torch.randn(2, 12, 16), torch.randn(2, 32, 16)
    points, boxes = torch.rand(2, 32, 3) * 4, torch.rand(2, 12, 7)
    order = torch.randperm(32)
    wanted, keys = decoder.refined(layer, queries, memory, points, boxes)
    found, mixed = decoder.refined(layer, queries, memory[:, order], points[:, order], boxes)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mixed, keys[:, order], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_queries_begin_with_the_features_of_their_points() -> None:
    decoder = tiny().decoder
    memory, best = torch.randn(2, 32, 16), torch.tensor([[3, 0], [31, 3]])
    found = decoder.begun(memory, best)
    assert torch.equal(found[0], memory[0, [3, 0]])
    assert torch.equal(found[1], memory[1, [31, 3]])


@pytest.mark.parametrize("dataset", ["synthetic", "synthetic_rotated"])
def test_every_weight_learns(dataset: str) -> None:
    model = tiny(dataset).train()
    with torch.no_grad():  # the last layers of some heads begin at zero
        for p in model.decoder.mlp_heads.parameters():
            p.add_(0.1 * torch.randn_like(p))
    batch_losses(model, [generate_room(seed, points=1500) for seed in (0, 1)]).total.backward()
    named = dict(model.named_parameters())
    assert {name for name, p in named.items() if p.grad is None} == SILENT
    silent = {n for n, p in named.items() if p.grad is not None and not p.grad.any()}
    assert {n for n in silent if not n.endswith("bias") and "angle_cls_head" not in n} == set()


def test_weights_are_read_again(tmp_path: Path) -> None:
    model = tiny()
    write_model(tmp_path / "a.safetensors", model, tiny_config("dest_vdetr"), {"made": "here"})
    again = sr3d.load(tmp_path / "a.safetensors")
    assert isinstance(again, DESTOnVDETR)
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in again.state_dict().items())
