"""The verb that turns checkpoints into one another: `convert`."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from sr3d.cli.arguments import Verbs, add_overrides, overrides_of
from sr3d.config import DATASETS, FAMILIES
from sr3d.errors import InputError

if TYPE_CHECKING:
    from sr3d.api import Source

_SUFFIX = {"sr3d": ".safetensors", "mmdet3d": ".pth", "samsung": ".pth"}
_log = logging.getLogger(__name__)


def add_convert(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = (
        "Turn a TR3D or FCAF3D checkpoint of mmdetection3d or SamsungLabs, or a training of ours, "
        "into one file that `sr3d detect` and `sr3d.load` take as it is; or back into theirs."
    )
    verb = verbs.add_parser("convert", parents=[common], help=about, description=about)
    verb.add_argument(
        "source", metavar="SOURCE", help="a checkpoint (.pth, .safetensors) or a training's folder"
    )
    verb.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="model.safetensors, model.pth"
    )
    verb.add_argument(
        "--to", choices=[*_SUFFIX], default="sr3d", help="whose checkpoint to write (sr3d)"
    )
    verb.add_argument(
        "--dataset", metavar="NAME",
        help=f"whose classes it knows: {', '.join(DATASETS)} (found from the file)",
    )  # fmt: skip
    verb.add_argument("--model", choices=FAMILIES, help="the network (found likewise)")
    add_overrides(verb, "what the file does not tell, e.g. model.voxel_size=0.02")
    verb.set_defaults(verb=_convert)


def _convert(args: argparse.Namespace) -> None:
    if args.out.suffix != _SUFFIX[args.to]:
        raise InputError(f"--out {args.out}: must end in {_SUFFIX[args.to]} for --to {args.to}")
    from sr3d.api import find_source
    from sr3d.detectors.weights import write_foreign, write_model
    from sr3d.runs.files import sha256

    source = find_source(
        args.source, args.dataset, network=args.model, overrides=overrides_of(args)
    )
    checkpoint = source.checkpoint
    if checkpoint is None:
        raise InputError(f"{args.source}: has random weights; name a checkpoint or a training")
    if args.out.exists() and args.out.samefile(checkpoint.path):
        raise InputError(f"--out {args.out}: is the source itself; name another file")
    model = source.detector()
    if args.to == "sr3d":
        origin = {"file": checkpoint.path.name, "sha256": sha256(checkpoint.path)}
        write_model(args.out, model, source.config, {**origin, "name": source.name})
    else:
        write_foreign(args.out, model, source.config, args.to)
    own = source.config.own
    if own.classes and not own.levels:
        _log.warning(
            "its classes are of no known data set, and which of them are large is unknown "
            "(own.levels): it detects, but TR3D's assigner cannot train by it"
        )
    print(_about(source))
    print(f"  written: {args.out} ({args.out.stat().st_size / 2**20:.1f} MB)")


def _about(source: Source) -> str:
    from sr3d.data.datasets import dataset_of

    assert source.checkpoint is not None
    dataset, model = dataset_of(source.config), source.config.model
    boxes = "rotated" if dataset.rotated else "axis-aligned"
    return (
        f"{source.checkpoint.path}: {model.name} as {source.checkpoint.naming} names it, "
        f"{len(source.checkpoint.weights)} tensors\n"
        f"  {source.config.dataset}: {len(dataset.classes)} classes, {boxes} boxes; "
        f"voxels of {model.voxel_size:g} m, widths {', '.join(map(str, model.planes))}"
    )
