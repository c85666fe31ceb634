from tests.sparse.triton_cases import DEVICE, error, kernel_map, random  # isort: skip

import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import triton

from sr3d.errors import InputError, Kind
from sr3d.sparse import torch_engine
from sr3d.sparse.triton import tune, tuning
from sr3d.sparse.triton.engine import run_convolution
from sr3d.sparse.triton.tuning import KernelConfig, Layer, TuningEntry

LAYER = Layer("convolution", "half", ci=64, co=64, volume=27, rows=14)
CONFIG = KernelConfig(64, 64, 64, warps=4, stages=5)


def with_tables(
    monkeypatch: pytest.MonkeyPatch,
    shipped: list[TuningEntry],
    measured: tuple[TuningEntry, ...] = (),
) -> None:
    """Choose between these entries, as if on a GPU."""
    monkeypatch.setattr(tuning, "shipped_table", lambda: tuple(shipped))
    monkeypatch.setattr(tuning, "user_table", lambda device: Path("unused"))
    monkeypatch.setattr(tuning, "read_table", lambda path: measured)
    monkeypatch.setattr(tuning, "choose", CHOOSE)


GPU = torch.device("cuda", 0)
CHOOSE = tuning.choose.__wrapped__  # which remembers nothing


def test_layers_are_known_by_powers_of_two_never_by_exact_sizes() -> None:
    def layer(n: int) -> Layer:
        return tuning.layer_of("convolution", torch.float16, 64, 64, 27, n)

    assert layer(0).rows == layer(1).rows == 0
    assert layer(16384) == layer(20001) == layer(32767)
    assert layer(32768).rows == 15
    assert layer(5) != tuning.layer_of("convolution", torch.float32, 64, 64, 27, 5)


def test_half_types_share_their_entries_and_float32_follows_torch() -> None:
    assert tuning.arithmetic(torch.float16) == tuning.arithmetic(torch.bfloat16) == "half"
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("highest")
        assert tuning.arithmetic(torch.float32) == "float32"
        torch.set_float32_matmul_precision("high")
        assert tuning.arithmetic(torch.float32) == "tf32"
    finally:
        torch.set_float32_matmul_precision(before)


def test_the_nearest_entry_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    near = replace(LAYER, rows=12)
    far = replace(LAYER, ci=512, co=512)
    other = replace(LAYER, operation="weight_gradient")
    entries = [
        TuningEntry(far, replace(CONFIG, warps=8)),
        TuningEntry(near, replace(CONFIG, warps=2)),
    ]
    with_tables(monkeypatch, [TuningEntry(other, CONFIG), *entries])
    assert tuning.choose(LAYER, GPU).warps == 2
    assert tuning.choose(far, GPU).warps == 8
    assert tuning.choose(replace(LAYER, ci=256, co=512), GPU).warps == 8
    assert LAYER.distance(other) == math.inf


def test_what_was_measured_here_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = (TuningEntry(replace(LAYER, rows=15), replace(CONFIG, warps=2)),)
    with_tables(monkeypatch, [TuningEntry(LAYER, replace(CONFIG, warps=8))], measured)
    assert tuning.choose(LAYER, GPU).warps == 2  # one doubling away, and yet
    measured = (replace(measured[0], layer=replace(LAYER, rows=16)),)
    with_tables(monkeypatch, [TuningEntry(LAYER, replace(CONFIG, warps=8))], measured)
    assert tuning.choose(LAYER, GPU).warps == 8  # two doublings are too far


def test_blocks_shrink_to_the_layer() -> None:
    wide = KernelConfig(64, 128, 64, warps=4, stages=5, groups=9)
    narrow = tuning.fitted(wide, replace(LAYER, ci=3, co=24, volume=8))
    assert (narrow.block_m, narrow.block_n, narrow.block_k, narrow.groups) == (64, 32, 16, 8)
    weight = tuning.fitted(wide, replace(LAYER, operation="weight_gradient", ci=3, co=24, volume=8))
    assert (weight.block_m, weight.block_n, weight.block_k) == (16, 32, 64)


@pytest.mark.parametrize("rows", [5, 14, 18, 23])
def test_partial_sums_stay_within_their_memory(rows: int) -> None:
    limit = tuning._PARTIAL_BYTES
    layer = replace(LAYER, rows=rows, co=256)
    n_out = (2 << rows) - 1
    groups = tuning.fitted(replace(CONFIG, groups=9), layer).groups
    assert groups == 1 or groups * n_out * 256 * 4 <= limit
    chunk = tuning.chunk_size(replace(CONFIG, pairs=128), 27, 256, 256, n_out)
    assert chunk % CONFIG.block_k == 0
    assert -(-n_out // chunk) * 27 * 256 * 256 * 4 <= limit
    assert tuning.chunk_size(replace(CONFIG, pairs=100), 27, 8, 8, 50) == 128


def test_shipped_table_is_sound() -> None:
    entries = tuning.shipped_table()
    assert len({entry.layer for entry in entries}) == len(entries)
    kinds = {(e.layer.operation, e.layer.arithmetic) for e in entries}
    assert len(kinds) == 2 * len(get_args(tuning.Arithmetic))
    for entry in entries:
        c = entry.config
        size = 2 if entry.layer.arithmetic == "half" else 4
        # Two links of loads share the stages; Hopper keeps one more tile than it has in flight.
        tiles = -(-(c.stages - 1) // 2) + 1
        assert tiles * (c.block_m + c.block_n) * c.block_k * size <= 99 * 1024
        assert c.warps in (4, 8)
    text = Path(tuning.__file__).with_name("configs.json").read_text()
    assert json.loads(text)["timed"] is False  # until somebody measures it


def case(operation: Any = "convolution") -> tune.TuningCase:
    return tune.TuningCase(operation, 16, 16, kernel_map("pointwise strided"), torch.float32)


def planted(best: dict[str, int]) -> Callable[[Callable[[], Any]], float]:
    """A clock that never runs the kernel: slower the farther from `best`."""

    def milliseconds(run: Callable[[], Any]) -> float:
        (cell,) = (c for c in run.__closure__ or () if isinstance(c.cell_contents, KernelConfig))  # type: ignore[attr-defined]
        config = asdict(cell.cell_contents)
        if config["warps"] == 8:
            raise triton.OutOfResources(1, 0, "shared memory")
        return 1 + sum(abs(math.log2(config[k] / v)) for k, v in best.items())

    return milliseconds


@pytest.mark.parametrize("operation", ["convolution", "weight_gradient"])
def test_tuning_walks_to_the_fastest_and_keeps_it(tmp_path: Path, operation: Any) -> None:
    path = tmp_path / "cache" / "table.json"
    best = {"block_m": 16, "warps": 2, "stages": 7}
    ((entry, time),) = tune.tune([case(operation)], path, planted(best))
    assert {k: asdict(entry.config)[k] for k in best} == best
    assert time == 1
    assert entry.layer == case(operation).layer
    assert tuning.read_table(path) == (entry,)


def test_tuning_again_adds_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    list(tune.tune([case(), case("weight_gradient")], path, planted({"stages": 2})))
    list(tune.tune([case()], path, planted({"stages": 7})))
    stages = {e.layer.operation: e.config.stages for e in tuning.read_table(path)}
    assert stages == {"convolution": 7, "weight_gradient": 2}


def test_a_failure_leaves_the_table_of_the_cases_before(tmp_path: Path) -> None:
    path = tmp_path / "table.json"

    def failing(run: Callable[[], Any]) -> float:
        raise ConnectionError  # stands for any failure

    list(tune.tune([case()], path, planted({"stages": 2})))
    before = path.read_text()
    with pytest.raises(ConnectionError):
        list(tune.tune([case("weight_gradient")], path, failing))
    assert path.read_text() == before


def test_a_tuning_case_computes_the_operation() -> None:
    one = case()
    y = one.run()(tuning.choose(one.layer, DEVICE))
    assert y.shape == (one.kernel_map.n_out, 16)
    x, weight = random(one.kernel_map.n_in, 16), random(1, 16, 16)
    y = run_convolution(tuning.choose(one.layer, DEVICE), x, weight, one.kernel_map)
    assert error(y, torch_engine.convolve(x, weight, one.kernel_map)) < 2e-6


def test_room_has_the_layers_of_the_network() -> None:
    cases = tune.room_cases(DEVICE, [torch.float16], size=200)
    layers = [c.layer for c in cases]
    assert len(set(layers)) == len(layers)
    assert {c.layer.operation for c in cases} == {"convolution", "weight_gradient"}
    shapes = {(c.ci, c.co, len(c.kernel_map.sizes)) for c in cases}
    assert {(6, 64, 27), (64, 128, 27), (128, 64, 27), (128, 128, 27), (128, 128, 1)} <= shapes


@pytest.mark.parametrize(
    "text",
    [
        "not json",
        "[]",
        '{"entries": [{}]}',
        json.dumps({"entries": [asdict(LAYER) | asdict(replace(CONFIG, block_m=48))]}),
        json.dumps({"entries": [asdict(replace(LAYER, arithmetic="int8")) | asdict(CONFIG)]}),  # type: ignore[arg-type]
    ],
)
def test_a_broken_table_is_named_with_its_remedy(tmp_path: Path, text: str) -> None:
    path = tmp_path / "table.json"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        tuning.read_table(path)
    assert (caught.value.file, caught.value.kind) == (path, Kind.UNREADABLE)
    assert "Move" in str(caught.value.remedy)  # tuning reads the table as well


def test_user_table_is_named_after_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    expected = Path("/somewhere/sr3d/sparse-nvidia-h100-80gb-hbm3.json")
    assert tuning.user_table(GPU) == expected
    assert tuning.read_table(Path("/nowhere/table.json")) == ()
