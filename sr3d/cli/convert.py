"""The verb `convert`: checkpoints from and to other frameworks."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from sr3d.cli.arguments import Verbs, add_overrides, overrides_of
from sr3d.cli.inputs import check_output_file, find_model
from sr3d.config_groups import DATASETS
from sr3d.detectors import FAMILIES
from sr3d.errors import InputError, Kind

if TYPE_CHECKING:
    from sr3d.api import ModelSource

_FORMATS = [family.checkpoints for family in FAMILIES.values() if family.checkpoints]
_OTHERS = {name for known in _FORMATS for name in known.published}
_SUFFIX = {"sr3d": ".safetensors", **dict.fromkeys(sorted(_OTHERS), ".pth")}
_log = logging.getLogger(__name__)


def add_convert(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Convert checkpoints from and to the repositories that published the detectors."
    verb = verbs.add_parser(
        "convert",
        parents=[common],
        help=about,
        description=f"{about} The source is such a checkpoint, or a training run of "
        "ours. `sr3d detect` and `sr3d.load` read the result directly.",
        examples=(
            "sr3d convert scannet.pth --out model.safetensors",
            "sr3d convert results/scannet/sr3d/train0 --to mmdet3d --out model.pth",
        ),
    )
    verb.add_argument(
        "source", metavar="SOURCE",
        help="checkpoint (.pth, .safetensors) or folder of a training run",
    )  # fmt: skip
    verb.add_argument(
        "--out", type=Path, required=True, metavar="FILE",
        help="checkpoint to write: .safetensors for --to sr3d, else .pth",
    )  # fmt: skip
    verb.add_argument("--to", choices=[*_SUFFIX], default="sr3d", help="format to write")
    verb.add_argument(
        "--dataset", metavar="NAME",
        help=f"data set of the checkpoint's classes: {', '.join(DATASETS)} (default: found from "
        "the checkpoint)",
    )  # fmt: skip
    verb.add_argument(
        "--model", choices=tuple(FAMILIES),
        help="network (default: found from the checkpoint)",
    )  # fmt: skip
    add_overrides(
        verb, "configuration values that the checkpoint does not hold, e.g. model.voxel_size=0.02"
    )
    verb.set_defaults(verb=_convert)


def _convert(args: argparse.Namespace) -> None:
    if args.out.suffix != _SUFFIX[args.to]:
        raise InputError(
            f"'{args.out.suffix}' is not the suffix of --to {args.to}",
            file=args.out,
            field="--out",
            kind=Kind.VALUE,
            remedy=f"Choose a name that ends in {_SUFFIX[args.to]}.",
        )
    find_model(args.source, "SOURCE")
    check_output_file(args.out, "--out")
    from sr3d.api import find_source
    from sr3d.detectors.weights import write_foreign, write_model
    from sr3d.runs.files import sha256

    source = find_source(
        args.source, args.dataset, network=args.model, overrides=overrides_of(args)
    )
    checkpoint = source.checkpoint
    if checkpoint is None:
        raise InputError(
            "has random weights",
            file=args.source,
            field="SOURCE",
            kind=Kind.EMPTY,
            remedy="Name a checkpoint or a training run.",
        )
    if args.out.exists() and args.out.samefile(checkpoint.path):
        raise InputError(
            "is the source",
            file=args.out,
            field="--out",
            kind=Kind.CONFLICT,
            remedy="Name another file.",
        )
    model = source.detector()
    if args.to == "sr3d":
        origin = {"file": checkpoint.path.name, "sha256": sha256(checkpoint.path)}
        write_model(args.out, model, source.config, {**origin, "name": source.name})
    else:
        write_foreign(args.out, model, source.config, args.to)
    own = source.config.own
    if own.classes and not own.levels:
        _log.warning(
            "its classes belong to no known data set, so their levels (own.levels) are unknown. "
            "It can detect, but assigners that need levels cannot train it"
        )
    print(_about(source))
    print(f"  written: {args.out} ({args.out.stat().st_size / 2**20:.1f} MB)")


def _about(source: ModelSource) -> str:
    from sr3d.data.datasets import dataset_of

    assert source.checkpoint is not None
    dataset, model = dataset_of(source.config), source.config.model
    boxes = "rotated" if dataset.rotated else "axis-aligned"
    return (
        f"{source.checkpoint.path}: {model.name} as {source.checkpoint.naming} names it, "
        f"{len(source.checkpoint.weights)} tensors\n"
        f"  {source.config.dataset}: {len(dataset.classes)} classes, {boxes} boxes; "
        f"{model.size()}"
    )
