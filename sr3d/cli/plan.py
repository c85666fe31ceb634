"""The verb that tells the price before anything runs: `plan`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from sr3d.cli.arguments import Verbs, real


def add_plan(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "What an experiment costs, before it runs: hours a setting, wall clock, disk."
    verb = verbs.add_parser("plan", parents=[common], help=about, description=about)
    verb.add_argument("experiment", type=Path, metavar="FILE", help="JSON, as the workflow writes")
    verb.add_argument("--json", action="store_true", help="print JSON")
    verb.add_argument(
        "--seconds",
        type=real(0, 1e6, above=True),
        default=30.0,
        metavar="S",
        help="for each measurement (30); one step or scene is always made",
    )
    verb.add_argument(
        "--assume",
        metavar="iteration=S,scene=S",
        help="take these seconds for all settings and measure nothing",
    )
    verb.set_defaults(verb=_plan)


def _plan(args: argparse.Namespace) -> None:
    from sr3d.runs.gpu_lease import lease_gpu
    from sr3d.study.planning.experiment import read_experiment

    experiment = read_experiment(args.experiment)
    # A GPU is leased before PyTorch looks for one.
    with lease_gpu("cpu" if args.assume else experiment.device):
        from sr3d.study.planning.prices import parse_assumed, plan
        from sr3d.study.planning.text import describe

        assumed = parse_assumed(args.assume) if args.assume else None
        found = plan(experiment, args.seconds, assumed)
    print(json.dumps(found.to_dict(), indent=2) if args.json else describe(found))
