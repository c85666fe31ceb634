"""A stand-in for the `sr3d` command: writes what each verb declares, in milliseconds.

Of `plan` it keeps what it is told on stdin.

$STUB_CALLS is the file that its calls are appended to, one JSON list a line; $STUB_FAIL names a run
(e.g. `sr3d/train1`) whose training fails half-way, and $STUB_HANG one that never ends.
"""

import itertools
import json
import os
import sys
import time
from pathlib import Path


def option(name: str) -> str:
    return sys.argv[sys.argv.index(name) + 1]


def options(name: str) -> list[str]:
    rest = sys.argv[sys.argv.index(name) + 1 :]
    return list(itertools.takewhile(lambda word: not word.startswith("--"), rest))


def wanted(variable: str, folder: Path) -> bool:
    return folder.as_posix().endswith(os.environ.get(variable) or "nothing at all")


def train() -> None:
    out = Path(option("--out"))
    out.mkdir(parents=True, exist_ok=True)
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
                if wanted("STUB_HANG", out):
                    time.sleep(60)
    partial = out / "metrics.partial.jsonl"
    (out / "metrics.jsonl").write_bytes(partial.read_bytes())
    (out / "model.safetensors").write_text("whole")
    (out / "run.json").write_text(json.dumps({"resumed_at": first}))
    checkpoint.unlink(missing_ok=True)
    partial.unlink()


def test() -> None:
    assert (Path(option("--run")) / "model.safetensors").read_text() == "whole"
    out = Path(option("--out"))
    (out / "detections.npz").write_text("")
    (out / "run.json").write_text("{}")


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
            Path(option("--store").removeprefix("sqlite:///")).write_text("")


main()
