"""The verbs that explain: `config`, `schema` and `doctor`."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from sr3d.cli.arguments import (
    Verbs,
    add_overrides,
    add_setting,
    overrides_of,
    warn_without_effect,
)
from sr3d.config_groups import DATASETS
from sr3d.detectors.configuration import config_schema, default_config, with_overrides
from sr3d.run_setting import configure
from sr3d.settings import read_settings, settings_schema
from sr3d.text_tables import text_table


def add_config(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Print every configuration key with its value."
    verb = verbs.add_parser(
        "config",
        parents=[common],
        help=about,
        description=f"{about} The defaults are the paper's.",
        examples=("sr3d config", "sr3d config --dataset sunrgbd --set assigner.k=7"),
    )
    verb.add_argument(
        "--dataset", default="scannet", metavar="NAME", help=f"data set: {', '.join(DATASETS)}"
    )
    add_setting(verb, "row of the paper's tables, such as sr3d or baseline")
    add_overrides(verb, "override configuration values")
    verb.set_defaults(verb=_config)


def _config(args: argparse.Namespace) -> None:
    config, overrides = default_config(args.dataset), overrides_of(args)
    if args.setting:
        settings = read_settings(args.settings)
        config = configure(settings, args.setting, config, overrides).config
    else:
        config = with_overrides(config, overrides)
    warn_without_effect(config, overrides)
    for name, value in config.flat().items():
        print(f"{name}={json.dumps(value)}")


def _tables_schema() -> dict[str, Any]:
    from sr3d.study.report.paper.tables_file import paper_schema

    return paper_schema()


_SCHEMAS = {
    "config": config_schema,
    "settings": settings_schema,
    "tables": _tables_schema,
}


def add_schema(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Print the JSON schema of a file, for editors that check it."
    verb = verbs.add_parser(
        "schema",
        parents=[common],
        help=about,
        description=f"{about} `config` is the configuration of a run, `settings` a file for "
        "--settings, `tables` the workflow's tables.yaml.",
        examples=("sr3d schema settings",),
    )
    verb.add_argument("file", choices=tuple(_SCHEMAS), help="kind of file")
    verb.set_defaults(verb=_schema)


def _schema(args: argparse.Namespace) -> None:
    print(json.dumps(_SCHEMAS[args.file](), indent=2))


def add_doctor(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Check this machine: hardware, versions, and whether the engines agree."
    verb = verbs.add_parser(
        "doctor", parents=[common], help=about, description=about, examples=("sr3d doctor",)
    )
    verb.add_argument("--json", action="store_true", help="print JSON instead of text")
    verb.set_defaults(verb=_doctor)


def _doctor(args: argparse.Namespace) -> None:
    from sr3d.cli.doctor import examine

    findings = examine(os.environ)
    if args.json:
        print(json.dumps(findings, indent=2))
        return
    rows = [(name, str(finding)) for name, finding in findings.items()]
    print("\n".join(text_table(rows, left=2)))
