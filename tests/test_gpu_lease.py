"""A lease of one GPU, among several processes, on GPUs that exist in name only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sr3d.errors import InputError, Kind
from sr3d.runs import gpu_lease
from sr3d.runs.gpu_lease import lease_gpu, lock_folder, visible_gpus
from tests.lease_holders import holder, kill, told, waits


def test_each_process_gets_a_gpu_of_its_own_and_frees_it_however_it_ends(tmp_path: Path) -> None:
    first, second = holder(tmp_path, "2,5"), holder(tmp_path, "2,5")
    gpu, other = told(first), told(second)
    assert {gpu, other} == {"2", "5"}
    third = holder(tmp_path, "2,5")
    assert waits(third) == ["2", "5"]
    kill(first, tmp_path, gpu)
    assert told(third) == gpu
    second.communicate(timeout=30)  # closes its stdin, and so ends it
    fourth = holder(tmp_path, "2,5")
    assert told(fourth) == other
    for process in (third, fourth):
        process.communicate(timeout=30)
        assert process.returncode == 0


def test_the_environment_is_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,4")
    with lease_gpu("cuda", tmp_path) as gpu:
        assert gpu == os.environ["CUDA_VISIBLE_DEVICES"] == "3"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3,4"


def test_indices_of_nvidia_smi_are_read_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\nprintf '0\\n1\\n'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    assert visible_gpus() == ["0", "1"]
    with lease_gpu("cuda", tmp_path / "locks") as gpu:
        assert gpu == "0"
        assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert "CUDA_DEVICE_ORDER" not in os.environ
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.parametrize(
    ("variable", "gpus"),
    [
        ("", []),
        ("-1", []),
        ("0", ["0"]),
        (" 1, 3", ["1", "3"]),
        ("1,-1,2", ["1"]),
        ("GPU-8932f937,GPU-0a1b", ["GPU-8932f937", "GPU-0a1b"]),
    ],
)
def test_visible_devices_are_read_as_cuda_reads_them(
    monkeypatch: pytest.MonkeyPatch, variable: str, gpus: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert visible_gpus() == gpus


def test_nothing_is_done_on_the_cpu_or_without_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "locks"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with lease_gpu("cpu", folder) as gpu:
        assert gpu is None
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", str(tmp_path))
    with lease_gpu("cuda", folder) as gpu:
        assert gpu is None
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    assert not folder.exists()


def test_a_lock_folder_in_whose_place_a_file_lies_has_its_own_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    (tmp_path / "locks").write_text("in the way")
    with pytest.raises(InputError) as caught, lease_gpu("cuda", tmp_path / "locks"):
        pass
    assert (caught.value.file, caught.value.kind) == (tmp_path / "locks", Kind.UNWRITABLE)
    assert "TMPDIR" in str(caught.value.remedy)  # no option names this folder


def test_jobs_of_a_batch_system_do_not_wait_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two jobs on one node may both call their GPU 0.
    monkeypatch.setattr(gpu_lease.tempfile, "gettempdir", lambda: str(tmp_path))
    folders = set()
    for job in ("17", "18"):
        monkeypatch.setenv("SLURM_JOB_ID", job)
        folders.add(lock_folder())
    assert len(folders) == 2
