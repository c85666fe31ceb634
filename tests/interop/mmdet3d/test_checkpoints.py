"""mmengine's checkpoints are read, and nothing else that a file may ask for is done."""

import pickle
from pathlib import Path

import pytest

pytest.importorskip("mmdet3d", reason="needs the environment of envs/openmmlab.sh")

import numpy as np
import torch
from mmengine.logging import MessageHub
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.optim import MultiStepLR
from mmengine.runner.checkpoint import load_checkpoint, save_checkpoint

import sr3d.interop.mmdet3d  # noqa: F401
from sr3d.detectors.weights import read_checkpoint
from tests.detectors.golden.tr3d import golden_model

pytestmark = pytest.mark.openmmlab


class Asks:
    """Pickled, it asks for a call."""

    def __init__(self, *call: object) -> None:
        self.call = call

    def __reduce__(self) -> tuple:
        function, *arguments = self.call
        return function, tuple(arguments)


def test_what_mmengine_saves_is_read(tmp_path: Path) -> None:
    hub = MessageHub("test_what_mmengine_saves_is_read")
    hub.update_scalar("train/loss", 2.5)
    hub.update_info("iter", 3)
    layer, other = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    content = {
        "meta": {"iter": 3, "dataset_meta": {"mapping": np.arange(4)}, "lr": np.float64(0.1)},
        "state_dict": layer.state_dict(),
        "message_hub": hub.state_dict(),
    }
    save_checkpoint(content, str(tmp_path / "epoch_1.pth"))
    read = load_checkpoint(other, str(tmp_path / "epoch_1.pth"))
    assert torch.equal(other.weight, layer.weight)
    curve = read["message_hub"]["log_scalars"]["train/loss"]
    assert isinstance(curve, HistoryBuffer)
    assert curve.current() == 2.5


def test_sr3d_convert_reads_what_mmengine_saves(tmp_path: Path) -> None:
    """Curves and a schedule beside the weights, as a training in mmdet3d leaves them."""
    hub = MessageHub("test_sr3d_convert_reads_what_mmengine_saves")
    hub.update_scalar("train/loss", 2.5)
    model = golden_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    content = {
        "state_dict": model.state_dict(),
        "message_hub": hub.state_dict(),
        "param_schedulers": [MultiStepLR(optimizer, milestones=[8, 11, 12]).state_dict()],
    }
    save_checkpoint(content, str(tmp_path / "epoch_1.pth"))
    read = read_checkpoint(tmp_path / "epoch_1.pth").weights
    assert read.keys() == model.state_dict().keys()
    assert all(torch.equal(read[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "asks",
    [
        Asks(eval, "1 + 1"),
        Asks(getattr, HistoryBuffer, "__init__"),
        Asks(getattr, torch.nn.Linear, "forward"),
    ],
)
def test_anything_else_is_refused(asks: Asks, tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "meta": asks}, tmp_path / "bad.pth")
    with pytest.raises((pickle.UnpicklingError, ValueError)):
        torch.load(tmp_path / "bad.pth", weights_only=True)
