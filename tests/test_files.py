"""Files are whole or absent; what killed processes left goes; a full disk is one sentence."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sr3d.errors import DamagedFile, InputError, Kind
from sr3d.runs.files import (
    atomic_path,
    exclusive,
    read_json,
    remove_abandoned,
    with_checksum,
    without_checksum,
    write_text,
    writing,
)
from tests.refusals import refuses
from tests.test_training import TINY

WRITER = """
import sys, time
from sr3d.runs.files import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print(temporary, flush=True)
    time.sleep(600)
"""


def start_writer(path: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that holds a temporary file of `path`, and that file."""
    words = [sys.executable, "-c", WRITER, str(path)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_temporary_files_of_killed_writers_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    mine = [".config.settings.json", ".hidden", "a.tmp", ".run.json.lock", "last.ckpt"]
    for name in mine:
        (tmp_path / name).write_text("mine")
    killed, left = start_writer(tmp_path / "last.ckpt")
    living, kept = start_writer(tmp_path / "last.ckpt")
    try:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert left.exists()
        write = "import sys; from sr3d.runs.files import write_text; write_text(sys.argv[1], 'x')"
        subprocess.run([sys.executable, "-c", write, str(tmp_path / "run.json")], check=True)
        assert not left.exists()
        assert kept.exists()
    finally:
        living.kill()
        living.wait()
    remove_abandoned(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*mine, "run.json"])


def test_a_block_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    write_text(tmp_path / "a.json", "first")

    def fail() -> None:
        with atomic_path(tmp_path / "a.json") as temporary:
            temporary.write_text("second")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "first"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS])
def test_an_error_of_the_disk_has_a_remedy(number: int) -> None:
    with pytest.raises(InputError) as caught, writing("some/file"):
        raise OSError(number, os.strerror(number))
    assert (caught.value.file, caught.value.kind) == (Path("some/file"), Kind.UNWRITABLE)
    assert caught.value.remedy


def test_another_error_stays_what_it_is() -> None:
    with pytest.raises(OSError, match="Input/output"), writing("some/file"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for write in (exclusive, atomic_path):
        with pytest.raises(InputError) as caught, write(tmp_path / "file" / "run.json"):
            pass
        assert caught.value.file == tmp_path / "file" / "run.json"
        assert caught.value.kind is Kind.UNWRITABLE


@pytest.mark.parametrize("value", [{}, {"a": 1.5, "b": [None, True, "ü"]}, {"c": {"d": 1e-300}}])
def test_a_checksum_is_of_the_content(value: dict[str, object]) -> None:
    sealed = with_checksum(value)
    assert without_checksum(sealed, "x", "") == value
    assert without_checksum(value, "x", "") == value
    for changed in ({**sealed, "a": 2}, {**sealed, "checksum": "0" * 16}, {**sealed, "a": 1e999}):
        with pytest.raises(DamagedFile) as caught:
            without_checksum(changed, "x", "Do this.")
        assert (caught.value.file, caught.value.remedy) == (Path("x"), "Do this.")


@pytest.mark.parametrize(
    ("content", "correct"),
    [(b"", "Write the file again."), (b"{", "Correct the file at that place."),
     (b"\xff{}", "Save it as UTF-8.")],
)  # fmt: skip
def test_a_file_of_ours_that_is_no_json_is_made_again_and_not_corrected_by_hand(
    tmp_path: Path, content: bytes, correct: str
) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    for given, remedy in ((None, correct), ("Repeat the run.", "Repeat the run.")):
        with pytest.raises(DamagedFile) as caught:
            read_json(path, given)
        error = caught.value
        assert (error.file, error.kind, error.remedy) == (path, Kind.UNREADABLE, remedy)


def test_a_pointer_of_git_lfs_has_its_own_remedy(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("version https://git-lfs.github.com/spec/v1\noid x\n")
    with refuses(Kind.MISSING, file="run.json", remedy=["git lfs pull"]):
        read_json(tmp_path / "run.json", "Repeat the run.")


# ---------------------------------------------------------------- a full disk

SCRIPT = """
import resource, sys
from pathlib import Path
import torch
from matplotlib.figure import Figure
from sr3d.train.checkpoint import TrainingState, write_state
from sr3d.train.metrics_log import STOP, MetricsLog, LoggedStep
from sr3d.data.prepared.journal import Entry, Journal
from sr3d.data.rooms.generate import generate_room
from sr3d.errors import InputError
from sr3d.runs.files import write_json
from sr3d.evaluate.scored_files import write_scored
from sr3d.detectors import build_detector
from sr3d.detectors.weights import write_foreign, write_model
from sr3d.study.report.figures.style import save
from sr3d.study.report.scene_pictures import draw_scene
from tests.make_runs import two_detections
from tests.test_training import tiny

out, config = Path(sys.argv[1]), tiny()
model = build_detector(config)
state = TrainingState({}, [], 1, 1.0, "", model.state_dict(), {})
room = generate_room(0, points=4000)
entry = Entry("train", "a", "s", {"note": "x" * 300}, [], [])


def curve():
    values = {name: torch.zeros(()) for name in ("loss", "grad_norm", STOP)}
    with MetricsLog(out / "metrics.jsonl") as curve:
        for step in range(100):
            curve.add(LoggedStep({"step": step}, [], values))
            curve.fetch()


def journal():
    journal = Journal(out / "journal.jsonl", {})
    for _ in range(9):
        journal.add(entry)


writers = {
    "model.safetensors": lambda path: write_model(path, model, config, {}),
    "model.pth": lambda path: write_foreign(path, model, config, "mmdet3d"),
    "last.ckpt": lambda path: write_state(path.parent, state),
    "detections.npz": lambda path: write_scored(path, two_detections(0.5)),
    "run.json": lambda path: write_json(path, ["x" * 999]),
    "fig.svg": lambda path: save(Figure(), path.parent, "fig"),
    "scene.png": lambda path: draw_scene(room, ("a",) * 99, path),
    "metrics.jsonl": lambda _: curve(),
    "journal.jsonl": lambda _: journal(),
}
resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
for name, write in writers.items():
    try:
        write(out / name)
    except InputError as error:
        assert error.file.name == name and error.kind == "unwritable", error
        assert "some space" in error.remedy, error
    else:
        raise AssertionError(f"{name}: fits")
"""


def test_every_writer_names_a_full_disk_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    # A file that is appended to may end within a line, which its reader leaves out.
    assert {p.name for p in tmp_path.iterdir()} <= {"metrics.jsonl", "journal.jsonl"}


def on_a_disk(size: str, disk: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script with a small file system of its own at `disk`, and list what it holds then."""
    if shutil.which("unshare") is None:
        pytest.skip("needs `unshare`, to mount a file system of its own")
    mount = f"mount -t tmpfs -o size={size} tmpfs {shlex.quote(str(disk))}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a file system of its own")
    script = f"{mount} && {script}; code=$?; find {shlex.quote(str(disk))} -type f; exit $code"
    return subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True)


def sr3d(*words: object) -> str:
    return shlex.join([sys.executable, "-m", "sr3d", *map(str, words)])


def fill(disk: Path, left: int) -> str:
    """Shell words that fill a disk of 2 MiB but for `left` KiB."""
    return f"head -c {(2048 - left) * 1024} /dev/zero > {shlex.quote(str(disk / 'filler'))}"


@pytest.mark.parametrize("kibibytes", [0, 8, 64])
def test_a_run_on_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(
    rooms: Path, tmp_path: Path, kibibytes: int
) -> None:
    """The curve does not fit, or all but the weights."""
    disk, run = tmp_path / "disk", tmp_path / "disk/run"
    disk.mkdir()
    words = ["--dataset", "synthetic", "--data", rooms, "--out", run]
    train = sr3d("train", *words, "--set", *TINY, "train.epochs=1", "train.milestones=[]")
    done = on_a_disk("2m", disk, f"{fill(disk, kibibytes)}; {train}")
    assert_one_sentence(done)
    assert "run.json\n" not in done.stdout


def assert_one_sentence(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("sr3d: ")]
    assert len(told) == 1, done.stderr
    assert os.strerror(errno.ENOSPC) in told[0]
    assert ".tmp" not in done.stdout
