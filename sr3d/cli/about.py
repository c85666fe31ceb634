"""The verbs that explain: `config` and `doctor`."""

from __future__ import annotations

import argparse
import json
import os

from sr3d.cli.arguments import Verbs, add_overrides, add_setting, overrides_of
from sr3d.config import DATASETS, default_config
from sr3d.settings import configure, read_settings


def add_config(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Every key of the configuration with its value; the defaults are the paper's."
    verb = verbs.add_parser("config", parents=[common], help=about, description=about)
    verb.add_argument("--dataset", default="scannet", metavar="NAME", help=", ".join(DATASETS))
    add_setting(verb, "of this row of the paper's tables")
    add_overrides(verb, "with these changes")
    verb.set_defaults(verb=_config)


def _config(args: argparse.Namespace) -> None:
    config, overrides = default_config(args.dataset), overrides_of(args)
    if args.setting:
        settings = read_settings(args.settings)
        config = configure(settings, args.setting, config, overrides).config
    else:
        config = config.with_overrides(overrides)
    for name, value in config.flat().items():
        print(f"{name}={json.dumps(value)}")


def add_doctor(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "What this machine has, whether the detector runs on it, and whether its engines agree."
    verb = verbs.add_parser("doctor", parents=[common], help=about, description=about)
    verb.add_argument("--json", action="store_true", help="print JSON")
    verb.set_defaults(verb=_doctor)


def _doctor(args: argparse.Namespace) -> None:
    from sr3d.doctor import examine

    findings = examine(os.environ)
    if args.json:
        print(json.dumps(findings, indent=2))
        return
    width = max(map(len, findings))
    for name, finding in findings.items():
        print(f"{name:<{width}}  {finding}")
