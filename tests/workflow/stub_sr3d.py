"""A stand-in for the `sr3d` command: writes what each verb declares, in milliseconds.

Runs are locked, recorded, marked and set aside by the package itself, so that a job finds a
finished run as the real command does. Of `plan` it keeps the experiment that it reads.

$STUB_CALLS is the file that its calls are appended to, one JSON list a line. $STUB_FAIL names a run
(e.g. `sr3d/train1`) that fails, a training half-way. $STUB_HANG names a run that stands still, a
training half-way. It continues as soon as the file `go` is in the working folder.
"""

import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from sr3d.runs.files import digest, exclusive
from sr3d.runs.markers import write_marker
from sr3d.runs.record import SCHEMA_VERSION, RunRecord, read_run, write_run
from sr3d.train.replacing import set_aside


def option(name: str) -> str:
    return sys.argv[sys.argv.index(name) + 1]


def options(name: str) -> list[str]:
    rest = sys.argv[sys.argv.index(name) + 1 :]
    return list(itertools.takewhile(lambda word: not word.startswith("--"), rest))


def wanted(variable: str, folder: Path) -> bool:
    return folder.as_posix().endswith(os.environ.get(variable) or "nothing at all")


def train() -> None:
    out = Path(option("--out"))
    with exclusive(out / "run.json", "--wait" in sys.argv):
        other = (out / "run.json").exists() and read_run(out).config_digest != asked()
        if other and "--replace" in sys.argv:
            set_aside(out)
        if not (out / "run.json").exists():
            _train(out)
    mark(out, option("--done"))


def _train(out: Path) -> None:
    checkpoint = out / "last.ckpt"
    first = int(checkpoint.read_text()) if checkpoint.exists() else 0
    print(f"training from step {first}", flush=True)
    with (out / "metrics.partial.jsonl").open("a") as metrics:
        for step in range(first, 10):
            metrics.write(json.dumps({"step": step + 1, "steps": 10}) + "\n")
            if step == 5:
                metrics.flush()
                checkpoint.write_text("5")
                (out / "model.safetensors").write_text("half")
                if wanted("STUB_FAIL", out):
                    sys.exit("the stub fails on purpose")
                hang(out)
    partial = out / "metrics.partial.jsonl"
    (out / "metrics.jsonl").write_bytes(partial.read_bytes())
    (out / "model.safetensors").write_text("whole")
    record(out, ("model.safetensors", "metrics.jsonl"), {"resumed_at": first})
    checkpoint.unlink(missing_ok=True)
    partial.unlink()


def test() -> None:
    """Makes the missing runs and returns the others, as the real command does."""
    assert (Path(option("--run")) / "model.safetensors").read_text() == "whole"
    failed = []
    for index, marker in enumerate(options("--done")):
        out = Path(option("--out")) / f"test{index}"
        with exclusive(out / "run.json", "--wait" in sys.argv):
            if (out / "run.json").exists() and read_run(out).config_digest != asked():
                set_aside(out)
            if not (out / "run.json").exists():
                hang(out)
                if wanted("STUB_FAIL", out):
                    print(f"the stub fails on purpose in {out}", flush=True)
                    failed.append(out)
                    continue
                print(f"evaluating {out}", flush=True)
                (out / "detections.npz").write_text("")
                record(out, ("detections.npz",), {"made_at": time.time_ns()})
        mark(out, marker)
    if failed:
        sys.exit(f"{len(failed)} failed")


def hang(out: Path) -> None:
    end = time.monotonic() + 300
    while wanted("STUB_HANG", out) and not Path("go").exists():
        assert time.monotonic() < end
        time.sleep(0.05)


def asked() -> str:
    """What identifies a run: all that the command line says of its configuration and its data."""
    return digest([option("--split"), *(options("--set") if "--set" in sys.argv else [])])


def record(out: Path, files: tuple[str, ...], metrics: dict[str, int]) -> None:
    facts: dict[str, Any] = dict.fromkeys(RunRecord.__dataclass_fields__, "")
    facts |= {
        "kind": sys.argv[1],
        "setting": out.parts[-2],
        "train": 0,
        "config": {},
        "config_digest": asked(),
        "metrics": metrics,
        "files": dict.fromkeys(files, ""),
        "schema_version": SCHEMA_VERSION,
    }
    write_run(out, RunRecord(**facts))


def mark(out: Path, marker: str) -> None:
    files = [out / name for name in read_run(out).files]
    write_marker(Path(marker), [out / "run.json"], files)


def main() -> None:
    told = [Path(sys.argv[2]).read_text()] if sys.argv[1] == "plan" else []
    with open(os.environ["STUB_CALLS"], "a") as calls:
        calls.write(json.dumps([*sys.argv[1:], *told]) + "\n")
    match sys.argv[1]:
        case "download":
            Path(option("--done")).parent.mkdir(parents=True, exist_ok=True)
            Path(option("--done")).write_text("{}")
        case "prepare":
            manifest = Path(option("--out")) / "manifest.json"
            manifest.parent.mkdir(parents=True, exist_ok=True)
            manifest.write_text("{}")
        case "train":
            train()
        case "test":
            test()
        case "evaluate":
            write_marker(Path(option("--done")), [Path(file) for file in options("--detections")])
        case "summarise":
            Path(option("--out")).write_text("{}")
        case "report":
            out = Path(option("--out"))
            for table in options("--table"):
                for dataset in options("--dataset"):
                    for suffix in ("md", "csv", "tex"):
                        (out / f"{table}_{dataset}.{suffix}").write_text("setting,AP25\nsr3d,1\n")
            (out / "claims.md").write_text("")
            (out / "index.html").write_text("<p>a page</p>")
        case "track":
            store = Path(option("--store").removeprefix("sqlite:///"))
            store.write_text("tracked\n")
            write_marker(Path(option("--done")), [store])


main()
