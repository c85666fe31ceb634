"""The scores of the example in docs/own_data.md: ten rooms as own scans.

    python -m benchmarks.own_data --out results/published/own_data.json

Runs the commands of the page in this checkout, a few minutes on one core. Finished runs are not
repeated.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from sr3d.runs.files import write_json
from sr3d.runs.record import RunRecord, read_run

COMMANDS = (
    "sr3d prepare synthetic --out data/ten --train 8 --val 2",
    "sr3d export folder --data data/ten --out raw/own",
    "snakemake --config tier=own_small trainings=1 tests=1",
)
SETTINGS = ("sr3d", "baseline")


def found(results: Path) -> dict[str, Any]:
    """The scores of each setting, with what identifies the runs."""
    runs = {name: read_run(results / "own" / name / "train0" / "test0") for name in SETTINGS}
    first = runs[SETTINGS[0]]
    return {
        "what": "docs/own_data.md: 8 rooms to train on, 2 to test on; one training, one evaluation",
        "commands": COMMANDS,
        "commit": first.code.get("commit"),
        "edited": any(run.code.get("edited") for run in runs.values()),
        "machine": first.machine,
        "versions": first.versions,
        **{name: _scores(run) for name, run in runs.items()},
    }


def _scores(run: RunRecord) -> dict[str, Any]:
    scores = {name: run.metrics[name] for name in ("AP25", "AP50")}
    return {**scores, "config_digest": run.config_digest, "data_digest": run.data["digest"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--results", type=Path, metavar="DIR", help="read finished runs, and run nothing"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    args = parser.parse_args()
    if args.results is None:
        for command in COMMANDS:
            print(command, file=sys.stderr)
            subprocess.run(command, shell=True, check=True)
    write_json(args.out, found(args.results or Path("results/own_small")))


if __name__ == "__main__":
    main()
