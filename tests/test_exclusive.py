"""Locks between processes: who holds one, and waiting for its end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sr3d.errors import InputError
from sr3d.runs.files import exclusive

HOLDER = """
import sys
from sr3d.runs.files import exclusive
with exclusive(sys.argv[1]):
    print(flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that holds the lock until its input ends."""
    words = [sys.executable, "-c", HOLDER, str(tmp_path / "file")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process


def test_a_refusal_names_the_process_and_its_host(tmp_path: Path, holder) -> None:
    for _ in range(2):  # being refused does not forget the holder
        with pytest.raises(InputError) as refused, exclusive(tmp_path / "file"):
            pass
        assert f"process {holder.pid} on {socket.gethostname()}" in str(refused.value)


def test_waiting_ends_with_the_other_process(tmp_path: Path, holder, caplog) -> None:
    def let_go(*_: object) -> bool:
        holder.stdin.close()
        return True

    caplog.handler.addFilter(let_go)  # when the message that we wait is logged
    with exclusive(tmp_path / "file", wait=True):
        assert f"process {holder.pid}" in caplog.text
    assert f"process {os.getpid()}" in (tmp_path / ".file.lock").read_text()


def test_a_lock_dies_with_its_process(tmp_path: Path, holder) -> None:
    holder.kill()
    holder.wait()
    with exclusive(tmp_path / "file"):
        pass
