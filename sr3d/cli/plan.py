"""The verb `plan`: the cost of an experiment."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from sr3d.cli.arguments import Verbs, real
from sr3d.cli.inputs import check_output_file


def add_plan(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Estimate the cost of an experiment: hours, wall-clock time, disk space, money."
    verb = verbs.add_parser(
        "plan",
        parents=[common],
        help=about,
        description=about,
        examples=(
            "sr3d plan results/experiment.json",
            "sr3d plan results/experiment.json --assume iteration=0.67,scene=0.04,gpus=4,price=2.5",
        ),
    )
    verb.add_argument(
        "experiment", type=Path, metavar="FILE", help="JSON file that the workflow writes"
    )
    verb.add_argument(
        "--out", type=Path, metavar="FILE",
        help="JSON file to write the whole plan to (default: plan.json beside the experiment)",
    )  # fmt: skip
    verb.add_argument(
        "--json", action="store_true", help="print JSON instead of text, and write no file"
    )
    verb.add_argument(
        "--seconds", type=real(0, 1e6, above=True), default=30.0, metavar="S",
        help="maximum seconds per measurement. At least one step or scene is measured",
    )  # fmt: skip
    verb.add_argument(
        "--assume", metavar="NAME=VALUE,…",
        help="assumptions for all settings: iteration and scene (seconds per training iteration "
        "and per evaluated scene, instead of measuring), gpus (GPUs at the same time, one job on "
        "each), price (money per GPU-hour, or per core-hour on the CPU)",
    )  # fmt: skip
    verb.set_defaults(verb=_plan)


def _plan(args: argparse.Namespace) -> None:
    from sr3d.runs.files import write_json
    from sr3d.runs.gpu_lease import lease_gpu
    from sr3d.study.planning.experiment import read_experiment

    out = args.out or args.experiment.with_name("plan.json")
    if not args.json:
        check_output_file(out, "--out")
    experiment = read_experiment(args.experiment)
    # A GPU is leased before PyTorch looks for one.
    with lease_gpu("cpu" if "iteration=" in (args.assume or "") else experiment.device):
        from sr3d.study.planning.plan_text import describe
        from sr3d.study.planning.prices import parse_assumed, plan

        assumed = parse_assumed(args.assume) if args.assume else None
        found = plan(experiment, args.seconds, assumed)
    if args.json:
        print(json.dumps(found.to_dict(), indent=2))
        return
    write_json(out, found.to_dict())
    print(describe(found, args.experiment, out))
