"""A full disk and a folder that may not be written: one sentence, nothing half-written."""

from __future__ import annotations

import errno
import os
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sr3d.cli import main
from sr3d.data.prepared import verify
from tests.data.readers.frame_files import write_official
from tests.data.readers.scan_files import ID, write_meta, write_scan

WORDS: dict[str, list[str]] = {
    "scannet": ["--scenes", ID],
    "sunrgbd": ["--points", "50000", "--scenes", "000001"],
    "synthetic": ["--train", "1", "--val", "1", "--points", "4000"],
}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    write_scan(tmp_path / "raw" / "scans")
    write_meta(tmp_path / "raw")
    return write_official(tmp_path / "raw")


def prepare(dataset: str, raw: Path, out: Path) -> list[str]:
    words = ["prepare", dataset, "--out", str(out), *WORDS[dataset]]
    return words if dataset == "synthetic" else [*words, "--raw", str(raw)]


def run(words: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, text=True, capture_output=True, **options)  # type: ignore[call-overload]


def one_sentence(code: int, stderr: str, *named: str) -> None:
    assert code == 2, stderr
    told = [line for line in stderr.splitlines() if line.startswith("sr3d: ")]
    assert len(told) == 1, stderr
    assert "Traceback" not in stderr
    assert all(name in told[0] for name in named)


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """Python ignores the signal, so a longer write is an error, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("dataset", WORDS)
def test_a_disk_that_is_full_for_a_file(
    raw: Path, tmp_path: Path, dataset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = prepare(dataset, raw, out)
    with no_file_beyond(300):  # every points file is longer
        code = main(words)
    one_sentence(code, capsys.readouterr().err, str(out), os.strerror(errno.EFBIG), "space")
    assert [p for p in out.rglob("*") if p.is_file()] == []
    assert main(words) == 0  # with the space that it asked for
    verify(out)


def mounted(options: str, folder: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run sr3d with a small file system of its own at `folder`, and list what it holds then."""
    if shutil.which("unshare") is None:
        pytest.skip("needs `unshare`, to mount a file system of its own")
    mount = f"mount -t tmpfs -o {options} tmpfs {shlex.quote(str(folder))}"
    if run(["unshare", "-rm", "sh", "-c", mount]).returncode:
        pytest.skip("this machine lets nobody mount a file system of its own")
    command = shlex.join([sys.executable, "-m", "sr3d", *words])
    script = f"{mount} && {command}; code=$?; find {shlex.quote(str(folder))} -type f; "
    return run(["unshare", "-rm", "sh", "-c", f"{script} exit $code"])


@pytest.mark.parametrize("dataset", WORDS)
def test_a_disk_that_is_full(raw: Path, tmp_path: Path, dataset: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    # One page is less than any set needs with its folders and points.
    done = mounted("size=4k", disk, prepare(dataset, raw, disk / "out"))
    one_sentence(done.returncode, done.stderr, str(disk), os.strerror(errno.ENOSPC), "space")
    assert "manifest.json" not in done.stdout
    assert ".npz" not in done.stdout


@pytest.mark.parametrize("dataset", WORDS)
def test_a_folder_that_may_not_be_written(raw: Path, tmp_path: Path, dataset: str) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    words = prepare(dataset, raw, locked / "out")
    if os.geteuid() == 0:  # whom permissions do not bind
        done = mounted("ro", locked, words)
    else:
        locked.chmod(0o555)
        done = run([sys.executable, "-m", "sr3d", *words])
    one_sentence(done.returncode, done.stderr, str(locked))
    assert list(locked.iterdir()) == []


@pytest.mark.parametrize("dataset", WORDS)
def test_a_file_in_the_place_of_a_folder(
    raw: Path, tmp_path: Path, dataset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    code = main(prepare(dataset, raw, tmp_path / "file" / "out"))
    one_sentence(code, capsys.readouterr().err, str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "in the way"
