"""Run a stage: `python -m benchmarks.gpu 1`. Called by `benchmarks/gpu.sh`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

MINUTES = {1: 4.0, 2: 6.0, 3: 10.0}
OUT = Path(__file__).resolve().parents[1] / "results" / "gpu"


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/gpu.sh", description=__doc__)
    parser.add_argument("stage", type=int, choices=MINUTES)
    parser.add_argument("--minutes", type=float, help="time limit (default: 4, 6, 10)")
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes on the CPU")
    parser.add_argument("--data", type=Path, help="prepared ScanNet, in place of procedural rooms")
    parser.add_argument("--points", type=Path, help="SCAN.npz with `points` (N, 6)")
    parser.add_argument("--since", type=float, default=time.time(), help=argparse.SUPPRESS)
    args = parser.parse_args()
    minutes = args.minutes or MINUTES[args.stage]
    end = time.monotonic() + 60 * minutes - (time.time() - args.since)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and the step's process ends too
    if args.dry_run:
        os.environ["TRITON_INTERPRET"] = "1"  # read when a step imports Triton

    from benchmarks.gpu import correctness, details, speed
    from benchmarks.gpu.plan import DRY, Plan
    from benchmarks.gpu.runner import StageFiles, run_stage

    plan = replace(DRY if args.dry_run else Plan(), data=args.data, scan=args.points)
    steps = {1: correctness.STEPS, 2: speed.steps(plan), 3: details.STEPS}[args.stage]
    if args.dry_run:  # the limits are for a GPU, and the interpreter is slow
        steps = tuple(replace(step, limit=10 * step.limit) for step in steps)
    files = StageFiles.inside(Path(os.environ.get("OUT") or OUT), args.stage)
    files.write(
        {
            "stage": args.stage,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "minutes": minutes,
            "dry_run": args.dry_run,
        }
    )
    unfinished = run_stage(steps, plan, files, end)
    print(f"results: {files.results}, output of the steps: {files.log}")
    return bool(unfinished)


if __name__ == "__main__":
    sys.exit(main())
