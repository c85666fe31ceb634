"""Latency, stages, memory and a training step of every detector of Table 1 on the same scene.

    python -m benchmarks.table1 --data data/scannet --split train --out FILE.json

Networks of the published size with random weights. Each round measures all detectors, one after
the other and each in a process of its own (`sr3d benchmark`), so all detectors meet what else the
machine does. Each figure is the median of the rounds. The training step has one scene.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sr3d.runs.files import write_json
from sr3d.runs.machine import code_version, machine_facts, versions
from sr3d.study.report.paper import read_paper

TABLES = Path(__file__).parents[1] / "workflow" / "tables.yaml"


def settings() -> list[str]:
    """The settings of Table 1 that can run, in its order."""
    rows = read_paper(TABLES).tables["table1"].rows
    return [row.setting for row in rows if row.setting is not None]


def measured(setting: str, options: Sequence[str]) -> dict[str, Any]:
    """What `sr3d benchmark` writes about one setting."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "benchmark.json"
        command = [sys.executable, "-m", "sr3d", "benchmark", "--setting", setting, *options]
        subprocess.run([*command, "--json", str(out)], check=True, stdout=subprocess.DEVNULL)
        found: dict[str, Any] = json.loads(out.read_text())
        return found


def figures(found: dict[str, Any]) -> dict[str, float]:
    """The figures of one measurement that the table has."""
    detection, training = found["detection"], found["training"]
    values = {
        "latency_ms": detection["latency_ms"]["median"],
        "memory_mb": detection["memory"]["peak_mb"],
        "step_ms": training["step_ms"]["median"],
        "step_memory_mb": training["memory"]["peak_mb"],
    }
    return values | {f"stage_{name}": one["ms"] for name, one in detection["stages"].items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="a prepared folder of ScanNet")
    parser.add_argument("--split", default="val")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--settings", nargs="+", default=settings(), metavar="NAME")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    options = ["--data", args.data, "--split", args.split, "--device", args.device]
    options += ["--threads", str(args.threads), "--scenes", "1", "--repeats", "3"]
    options += ["--train", "--batch", "1"]
    rounds: list[dict[str, dict[str, float]]] = []
    facts: dict[str, dict[str, Any]] = {}
    loads = []
    for _ in range(args.rounds):
        rounds.append({})
        for name in args.settings:
            found = measured(name, options)
            rounds[-1][name] = figures(found)
            facts[name] = {key: found[key] for key in ("parameters", "config_digest")}
            loads.append(os.getloadavg()[0])
            print(name, rounds[-1][name], flush=True)
            # After each detector, so that an interrupted run keeps what it has measured.
            write_json(args.out, result(args, rounds, facts, loads))


def result(
    args: argparse.Namespace,
    rounds: Sequence[Mapping[str, Mapping[str, float]]],
    facts: Mapping[str, Mapping[str, Any]],
    loads: Sequence[float],
) -> dict[str, Any]:
    """The content of the file. facts: of the detectors measured so far. loads: load averages."""

    def medians(name: str) -> dict[str, float]:
        runs = [each[name] for each in rounds if name in each]
        return {key: round(statistics.median(run[key] for run in runs), 1) for key in runs[0]}

    return {
        "benchmark": "table1",
        "what": "milliseconds and megabytes of one scene, medians of the rounds",
        "device": args.device,
        "threads": args.threads,
        "rounds": args.rounds,
        "load": statistics.median(loads),
        "detectors": {name: {**medians(name), **own} for name, own in facts.items()},
        "each_round": list(rounds),
        "machine": machine_facts(),
        "versions": versions(),
        "code": code_version(),
        "command": f"benchmarks.table1 --data {Path(args.data).name} --split {args.split} "
        f"--threads {args.threads} --rounds {args.rounds}",
    }


if __name__ == "__main__":
    main()
