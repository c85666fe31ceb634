"""Leases of several GPUs by one torchrun, beside others that want the same."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sr3d.errors import InputError, Kind
from sr3d.runs.gpu_lease import lease_gpu
from tests.lease_holders import holder, kill, told, waits

GPUS = "2,5"
Process = subprocess.Popen[str]


def rank(folder: Path, number: int, port: int, count: int = 2, gpus: str = GPUS) -> Process:
    """One process of a torchrun, which its port tells from others."""
    return holder(folder, gpus, LOCAL_RANK=number, LOCAL_WORLD_SIZE=count, MASTER_PORT=port)


def end(*processes: Process) -> None:
    for process in processes:
        _, errors = process.communicate(timeout=60)  # closes its stdin, and so ends it
        assert process.returncode == 0, errors


def test_two_jobs_that_want_the_same_two_gpus_both_finish(tmp_path: Path) -> None:
    # Were every process to lease for itself, the first of each job would have one here, and wait.
    jobs = [[rank(tmp_path, 0, port)] for port in (1, 2)]
    for port, job in enumerate(jobs, 1):
        job.append(rank(tmp_path, 1, port))
    with ThreadPoolExecutor(2) as pool:
        assert [*pool.map(run, jobs)] == [["2", "5"]] * 2


def test_jobs_of_one_and_of_several_gpus_all_finish(tmp_path: Path) -> None:
    gpus = "0,1,2"
    jobs = [
        [rank(tmp_path, number, port, count, gpus) for number in reversed(range(count))]
        for port, count in enumerate((2, 1, 3, 1, 2))
    ]
    with ThreadPoolExecutor(len(jobs)) as pool:
        got = [*pool.map(run, jobs)]
    assert [len({*some}) for some in got] == [2, 1, 3, 1, 2]
    assert not [*tmp_path.glob("job-*")]


def run(job: list[Process]) -> list[str]:
    """The GPUs of a job; holders fail where two use one at once."""
    gpus = [told(process) for process in job]
    end(*job)
    return gpus


def test_one_job_at_a_time_keeps_some_gpus_while_it_waits_for_more(tmp_path: Path) -> None:
    lone = holder(tmp_path, GPUS)
    assert told(lone) == "2"
    first = [rank(tmp_path, number, port=1) for number in range(2)]
    assert waits(first[0]) == ["2"]
    second = [rank(tmp_path, number, port=2) for number in range(2)]
    assert waits(second[0]) == []  # for the other job
    end(lone)
    assert [told(process) for process in first] == ["2", "5"]
    assert waits(second[0]) == ["2", "5"]
    end(*first)
    assert run(second) == ["2", "5"]


def test_a_gpu_is_free_once_its_process_and_the_first_have_ended(tmp_path: Path) -> None:
    first, second = (rank(tmp_path, number, port=1) for number in range(2))
    assert [told(first), told(second)] == ["2", "5"]
    kill(first, tmp_path, "2")
    one = holder(tmp_path, GPUS)
    assert told(one) == "2"
    another = holder(tmp_path, GPUS)
    assert waits(another) == ["2", "5"]
    kill(second, tmp_path, "5")
    assert told(another) == "5"
    end(one, another)


def test_what_a_killed_job_left_is_not_taken_for_the_next_ones(tmp_path: Path) -> None:
    killed = [rank(tmp_path, number, port=1) for number in range(2)]
    for process, gpu in [(process, told(process)) for process in killed]:
        kill(process, tmp_path, gpu)
    assert (tmp_path / "job-1").exists()
    second = rank(tmp_path, 1, port=1, gpus="7,8")
    first = rank(tmp_path, 0, port=1, gpus="7,8")
    assert run([first, second]) == ["7", "8"]


def test_more_processes_than_gpus_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", GPUS)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(InputError) as caught, lease_gpu("cuda", tmp_path):
        pass
    assert (caught.value.field, caught.value.kind) == ("--nproc-per-node", Kind.CONFLICT)
    assert "--nproc-per-node=2" in str(caught.value.remedy)
