from tests.sparse import triton_cases  # isort: skip (sets Triton up)

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from sr3d.cli import doctor
from sr3d.detectors.configuration import config_from_dict, default_config, with_overrides
from sr3d.errors import Kind
from sr3d.runs import folder as runs
from sr3d.sparse import functional, torch_engine, triton_check
from sr3d.sparse.agreement import compare_engines
from sr3d.sparse.triton import engine as triton_engine
from sr3d.sparse.triton import probe
from sr3d.sparse.triton_check import native_engine, triton_fault
from tests.pretend_gpu import choose_large_tiles, pretend_gpu
from tests.refusals import refuses
from tests.test_pretend_gpu import detector, on_host, scene

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")


@pytest.fixture(autouse=True)
def unasked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a fresh process."""

    def forget() -> None:
        triton_check.triton_fault.cache_clear()
        triton_check._triton_runs.cache_clear()

    monkeypatch.delenv("SR3D_ENGINE", raising=False)
    monkeypatch.delenv("CC", raising=False)
    forget()
    yield
    forget()


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault() -> None:
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(probe, "fault", fault)
    monkeypatch.setenv("PATH", "")


def test_the_probe_runs_a_kernel() -> None:
    assert triton_fault() is None
    assert native_engine(GPU) == "triton"
    assert native_engine(CPU) == "torch"


@pytest.mark.skipif(triton_cases.DEVICE.type == "cuda", reason="pretends a GPU")
@pytest.mark.usefixtures("no_compiler")
def test_torch_takes_over_with_one_warning_where_triton_cannot_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model, room = detector("sr3d").eval(), scene(1)
    expected = model.detect(room.points, room.colors)
    with pretend_gpu(monkeypatch):
        for _ in range(2):
            found = model.detect(on_host(room).points, on_host(room).colors)
    assert torch.equal(found.labels, expected.labels)
    torch.testing.assert_close(found.scores, expected.scores)
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    for part in ("apt install gcc", "torch", "SR3D_ENGINE=torch"):
        assert part in warning


def test_python_headers_are_asked_for(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_check.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(triton_check.sysconfig, "get_path", lambda name: str(tmp_path))
    for part in ("Python.h", "python3-dev"):
        assert part in triton_check._explained(OSError())
    (tmp_path / "Python.h").touch()
    explained = triton_check._explained(OSError("broken\nmore"))
    for part in ("OSError", "broken", "sr3d doctor"):
        assert part in explained
    assert "more" not in explained


@pytest.mark.usefixtures("no_compiler")
def test_triton_that_is_asked_for_and_cannot_run_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    remedies = ["apt install gcc", "model.engine=native"]
    with refuses(Kind.MISSING, field="model.engine=triton", mentions=remedies):
        functional.engine("triton").__enter__()
    monkeypatch.setenv("SR3D_ENGINE", "triton")
    with refuses(Kind.MISSING, field="SR3D_ENGINE=triton", mentions=remedies):
        native_engine(GPU)
    assert native_engine(CPU) == "torch"


def test_the_environment_chooses_what_native_means(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for value, expected in (("torch", "torch"), ("triton", "triton"), ("native", "triton")):
        monkeypatch.setenv("SR3D_ENGINE", value)
        assert native_engine(GPU) == expected
    monkeypatch.setenv("SR3D_ENGINE", "tritn")
    with refuses(Kind.UNKNOWN, field="SR3D_ENGINE", mentions=["tritn"], remedy=["native"]):
        native_engine(CPU)
    assert caplog.records == []


@pytest.mark.parametrize(("name", "module"), [("torch", torch_engine), ("triton", triton_engine)])
def test_the_configuration_chooses_before_the_environment(
    name: str, module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SR3D_ENGINE", "triton" if name == "torch" else "torch")
    calls: list[str] = []
    convolve = module.convolve

    def spy(*args: Any) -> Any:
        calls.append(name)
        return convolve(*args)

    monkeypatch.setattr(module, "convolve", spy)
    choose_large_tiles(monkeypatch)
    model, room = detector("sr3d", engine=name).eval(), scene(1, points=40)
    model.to(triton_cases.DEVICE).detect(room.points, room.colors)
    assert len(calls) > 5


def test_earlier_configurations_are_read_and_keep_their_digest() -> None:
    config = default_config("scannet")
    assert config.model.engine == "native"
    assert config_from_dict(config.to_dict()).digest() == config.digest()
    with refuses(Kind.UNKNOWN, field="model.engine"):
        with_overrides(config, ["model.engine=cuda"])


def test_the_record_says_what_native_meant_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def name(device: str, *overrides: str) -> str:
        return runs._engine_name(with_overrides(default_config("scannet"), overrides), device)

    assert name("cuda") == "native (triton)"
    assert name("cuda", "model.engine=torch") == "torch"
    assert name("cpu") == "native"
    monkeypatch.setenv("SR3D_ENGINE", "torch")
    assert name("cuda") == "native (torch)"


def test_the_engines_agree() -> None:
    apart = compare_engines(triton_cases.DEVICE)
    assert apart.keys() == {"forward", "gradient"}
    assert all(0 <= value < 1e-5 for value in apart.values())


def test_the_comparison_notices_a_wrong_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    choose_large_tiles(monkeypatch)
    gradient = triton_engine.weight_gradient
    monkeypatch.setattr(triton_engine, "weight_gradient", lambda *args: gradient(*args) * 1.01)
    apart = compare_engines(triton_cases.DEVICE)
    assert apart["forward"] < 1e-5
    assert apart["gradient"] == pytest.approx(0.01, rel=0.01)


BROKEN = "CUDA driver is broken"  # PyTorch's words


def broken(*_: object) -> Any:
    raise RuntimeError(f"{BROKEN}\nsecond line")


@pytest.mark.parametrize("function", ["is_available", "device_count", "get_device_name"])
def test_doctor_survives_a_broken_driver(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if function == "get_device_name":
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, function, broken)
    found = doctor.examine({})
    assert found["cpu works"].startswith("yes")
    assert any(BROKEN in str(value) for value in found.values())


@pytest.mark.usefixtures("no_compiler")
def test_doctor_says_why_the_engines_were_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(doctor, "_detect", broken)
    found = doctor.examine({"SR3D_ENGINE": "native"})
    assert found["engine on a GPU"] == "torch"
    assert "apt install gcc" in found["triton equals torch"]
    for part in ("failed", "RuntimeError", BROKEN):
        assert part in found["gpu works"]
    assert "second line" not in found["gpu works"]
    assert found["SR3D_ENGINE"] == "native"
