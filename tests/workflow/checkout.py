"""A copy of the workflow in a folder of its own, with a stand-in for `sr3d` in its environment."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.workflow.forked import run_snakemake

ROOT = Path(__file__).resolve().parents[2]
STUB = Path(__file__).with_name("stub_sr3d.py")


@dataclass
class Checkout:
    """folder: where it lies. Its rows of Table 2 are `settings`. Its Python, in `.venv`, has the
    packages of ours.
    """

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / ".venv" / "bin" / "python"

    @property
    def sr3d(self) -> Path:
        """The stand-in. Without it, the command itself runs."""
        return self.python.with_name("sr3d")

    @classmethod
    def make(cls, folder: Path, settings: tuple[str, ...]) -> Checkout:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("Snakefile", "config.yaml"):
            shutil.copy(ROOT / name, folder)
        for name in ("workflow", "profiles", "envs"):
            shutil.copytree(ROOT / name, folder / name, symlinks=True)
        checkout = cls(folder)
        paper = checkout.read("workflow/tables.yaml")
        table = paper["tables"]["table2"]
        table["rows"] = [row for row in table["rows"] if row["setting"] in settings]
        if table["reference"] not in settings:
            del table["reference"]
        checkout.edit("workflow/tables.yaml", paper)
        venv.create(folder / ".venv", symlinks=True)
        (packages,) = folder.glob(".venv/lib/python*/site-packages")
        (packages / "ours.pth").write_text(
            f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
        )
        checkout.sr3d.write_text(f"#!{sys.executable}\n{STUB.read_text()}")
        checkout.sr3d.chmod(0o755)
        return checkout

    def copy(self, folder: Path) -> Checkout:
        """The same, finished runs included, for a test that changes something."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Checkout(folder)

    def edit(self, name: str, value: Any) -> None:
        (self.folder / name).write_text(yaml.safe_dump(value))

    def read(self, name: str) -> Any:
        return yaml.safe_load((self.folder / name).read_text())

    def command(self, *arguments: str, **environment: str) -> dict[str, Any]:
        """What to give subprocess for a call of snakemake."""
        path = os.pathsep.join([os.environ["PATH"], str(Path(sys.executable).parent)])
        calls = str(self.folder / "calls.jsonl")
        return {
            "args": [str(self.python), "-m", "snakemake", *arguments],
            "cwd": self.folder,
            "env": {**os.environ, "PATH": path, "STUB_CALLS": calls, **environment},
            "text": True,
        }

    def snakemake(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run snakemake; its stdout has stderr in it."""
        environment = self.command(**environment)["env"]
        return run_snakemake(self.python, arguments, self.folder, environment)

    def complete(self, *arguments: str) -> str:
        """The output of a call that succeeds."""
        done = self.snakemake(*arguments)
        assert done.returncode == 0, done.stdout
        return str(done.stdout)

    @contextmanager
    def hanging(self, *arguments: str, hang: str, until: str) -> Iterator[subprocess.Popen[str]]:
        """A call of snakemake, as the head of a process group, once the file `until` exists.

        hang: the run that stands still.
        """
        call = self.command(*arguments, STUB_HANG=hang)
        with subprocess.Popen(
            **call,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            # A shell's background job ignores Ctrl-C and hands that down to all it starts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process:
            try:
                end = time.monotonic() + 300
                while not (self.folder / until).exists():
                    assert process.poll() is None
                    assert time.monotonic() < end
                    time.sleep(0.05)
                yield process
            finally:  # a failed test does not wait for the run that stands still
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)

    def planned(self, *arguments: str) -> dict[str, int]:
        """How many jobs of each rule a dry run plans; {} when nothing is to be done."""
        done = self.snakemake("-n", "--quiet", "rules", "host", *arguments)
        assert done.returncode == 0, done.stdout
        if "Nothing to be done" in done.stdout:
            return {}
        table = done.stdout.partition("Job stats:")[2].partition("total")[0]
        assert table, done.stdout
        counts = {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}
        return {name: count for name, count in counts.items() if name != "all"}

    def calls(self) -> list[list[str]]:
        """The arguments of every call of `sr3d`, in order of start."""
        lines = (self.folder / "calls.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]
