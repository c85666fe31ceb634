"""The verb `prepare`: convert data sets to the prepared format."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sr3d.cli.arguments import COUNT, SEED, Verbs, real, whole
from sr3d.cli.inputs import check_folder, check_output_folder
from sr3d.cli.jobs import add_wait
from sr3d.cli.scans import add_scan_options, scan_options
from sr3d.config_groups import DATASETS
from sr3d.errors import InputError, Kind
from sr3d.runs.files import exclusive


def add_prepare(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Convert a data set, or your own scans, to the prepared format."
    kinds = verbs.add_parser(
        "prepare",
        help=about,
        description=f"{about} To resume an interrupted run, run the same command again.",
        examples=("sr3d prepare synthetic --out data/synthetic",),
    ).add_subparsers(title="data sets", metavar="DATASET", required=True)
    out = argparse.ArgumentParser(add_help=False, parents=[common])
    out.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    out.add_argument(
        "--workers", type=whole(1, 1024), default=2, metavar="N", help="number of threads"
    )
    add_wait(out)

    about = "Generate procedural rooms. No download and no licence is needed."
    rooms = kinds.add_parser(
        "synthetic",
        parents=[out],
        help=about,
        description=about,
        examples=("sr3d prepare synthetic --out data/synthetic --train 32 --val 8",),
    )
    rooms.add_argument(
        "--train", type=COUNT, default=160, metavar="N", help="number of training rooms"
    )
    rooms.add_argument(
        "--val", type=COUNT, default=40, metavar="N", help="number of validation rooms"
    )
    rooms.add_argument("--seed", type=SEED, default=0, metavar="N", help="seed of the rooms")
    rooms.add_argument(
        "--points", type=whole(1000, 10_000_000), default=20_000, metavar="N",
        help="points per room",
    )  # fmt: skip
    rooms.add_argument(
        "--rotated", action="store_true", help="scan each room from one view, with oriented boxes"
    )
    rooms.set_defaults(verb=_prepare_rooms)

    some = argparse.ArgumentParser(add_help=False, parents=[out])
    some.add_argument("--scenes", nargs="+", metavar="ID", help="scenes to prepare (default: all)")
    some.add_argument("--append", action="store_true", help="add to the data set in --out")
    some.add_argument(
        "--keep-going", action="store_true",
        help="omit scenes that cannot be read, and accept counts that differ from the published "
        "data set",
    )  # fmt: skip

    about = "Prepare ScanNet V2 from its raw scans (mesh, segments, aggregation, alignment)."
    scannet = kinds.add_parser(
        "scannet",
        parents=[some],
        help=about,
        description=about,
        examples=("sr3d prepare scannet --raw raw/scannet/scans --out data/scannet",),
    )
    scannet.add_argument("--raw", type=Path, required=True, metavar="DIR", help="folder of scans")
    scannet.add_argument(
        "--meta", type=Path, metavar="DIR",
        help="folder of the label map and split lists (default: found near --raw)",
    )  # fmt: skip
    scannet.set_defaults(verb=_prepare_scannet)

    about = "Prepare SUN RGB-D from its official folder (depth images, boxes, split)."
    sunrgbd = kinds.add_parser(
        "sunrgbd",
        parents=[some],
        help=about,
        description=f"{about} Matlab is not needed.",
        examples=("sr3d prepare sunrgbd --raw raw/OFFICIAL_SUNRGBD --out data/sunrgbd",),
    )
    sunrgbd.add_argument(
        "--raw", type=Path, required=True, metavar="DIR", help="folder OFFICIAL_SUNRGBD"
    )
    sunrgbd.add_argument(
        "--labels", choices=("v2", "v1"), default="v2",
        help="version of the boxes. mmdet3d scores v2, and VoteNet's default is v1",
    )  # fmt: skip
    sunrgbd.add_argument(
        "--points", type=whole(0, 10_000_000), default=50_000, metavar="N",
        help="points sampled per frame, once. 0 keeps all",
    )  # fmt: skip
    sunrgbd.set_defaults(verb=_prepare_sunrgbd)

    about = "Prepare S3DIS from its raw rooms. Area 5 is the validation split."
    s3dis = kinds.add_parser(
        "s3dis",
        parents=[some],
        help=about,
        description=about,
        examples=(
            "sr3d prepare s3dis --raw raw/Stanford3dDataset_v1.2_Aligned_Version --out data/s3dis",
        ),
    )
    s3dis.add_argument(
        "--raw", type=Path, required=True, metavar="DIR",
        help="folder of areas: Stanford3dDataset_v1.2_Aligned_Version",
    )  # fmt: skip
    s3dis.set_defaults(verb=_prepare_s3dis)

    about = "Prepare clouds and info files of mmdet3d, of any data set."
    mmdet3d = kinds.add_parser(
        "mmdet3d",
        parents=[some],
        help=about,
        description=about,
        examples=("sr3d prepare mmdet3d --root mmdet3d/scannet --out data/scannet",),
    )
    mmdet3d.add_argument(
        "--root", type=Path, required=True, metavar="DIR", help="data folder of mmdet3d"
    )
    mmdet3d.add_argument(
        "--dataset", choices=[name for name in DATASETS if name != "own"],
        help="data set, if the folder holds several (default: found from the folder)",
    )  # fmt: skip
    mmdet3d.add_argument(
        "--infos", nargs="+", metavar="SPLIT=FILE",
        help="info files (default: <dataset>_infos_<split>.pkl)",
    )  # fmt: skip
    mmdet3d.add_argument(
        "--clockwise", action="store_true",
        help="read the yaw as clockwise, as mmdet3d wrote it before version 1.0",
    )  # fmt: skip
    mmdet3d.set_defaults(verb=_prepare_mmdet3d)

    _add_folder(kinds, some)


def _add_folder(kinds: Verbs, some: argparse.ArgumentParser) -> None:
    about = "Prepare a folder of your own scans with boxes."
    folder = kinds.add_parser(
        "folder",
        parents=[some],
        help=about,
        description=f"{about} It reads the scan formats of `detect` and the box formats of sr3d, "
        "COCO, labelCloud, SUSTechPOINTS, Supervisely, Xtreme1 and OpenPCDet. docs/own_data.md "
        "explains them.",
        examples=("sr3d prepare folder --raw scans --labels labels --out data/own",),
    )
    folder.add_argument("--raw", type=Path, required=True, metavar="DIR", help="folder of scans")
    labels = folder.add_argument_group("labels and splits (found from the files by default)")
    labels.add_argument(
        "--boxes", metavar="FORMAT", help="format of the box files (default: found by content)"
    )
    labels.add_argument(
        "--labels", type=Path, metavar="DIR", help="folder of the box files (default: --raw)"
    )
    labels.add_argument(
        "--classes", metavar="A,B,C",
        help="classes in their order, or a file with one class per line (default: found from the "
        "labels and sorted)",
    )  # fmt: skip
    labels.add_argument(
        "--ignore-unknown", action="store_true", help="ignore boxes of other classes"
    )
    labels.add_argument(
        "--val", type=real(0, 1), metavar="SHARE",
        help="share of scans in the validation split, from 0 to 1, chosen by name (default: "
        "train.txt and val.txt, else 0.2)",
    )  # fmt: skip
    yaw = labels.add_mutually_exclusive_group()
    yaw.add_argument(
        "--aligned", dest="rotated", action="store_false", default=None,
        help="replace rotated boxes by the axis-aligned boxes around them",
    )  # fmt: skip
    yaw.add_argument(
        "--rotated", action="store_true", default=None, help="treat all boxes as rotated"
    )
    labels.add_argument(
        "--upright",
        action="store_true",
        help="replace tilted boxes by the upright boxes around them",
    )
    labels.add_argument(
        "--points", type=whole(0, 10_000_000), default=0, metavar="N",
        help="maximum points per scan, sampled once. 0 keeps all",
    )  # fmt: skip
    add_scan_options(folder)
    folder.set_defaults(verb=_prepare_folder)


def _prepare_rooms(args: argparse.Namespace) -> None:
    check_output_folder(args.out)
    from sr3d.data.rooms.generate import prepare_rooms
    from sr3d.runs.progress import Progress

    with _alone(args), Progress("rooms", args.train + args.val) as progress:
        prepare_rooms(
            args.out,
            train=args.train,
            val=args.val,
            seed=args.seed,
            rotated=args.rotated,
            points=args.points,
            workers=args.workers,
            progress=lambda done, _: progress.update(done),
        )
    _say_prepared(args.out)


def _prepare_scannet(args: argparse.Namespace) -> None:
    _check(args, "raw", "meta")
    from sr3d.data.readers.scannet import prepare_scannet

    _read(args, prepare_scannet, raw=args.raw, meta=args.meta)


def _prepare_sunrgbd(args: argparse.Namespace) -> None:
    _check(args, "raw")
    from sr3d.data.readers.sunrgbd import prepare_sunrgbd

    _read(args, prepare_sunrgbd, raw=args.raw, labels=args.labels, points=args.points)


def _prepare_s3dis(args: argparse.Namespace) -> None:
    _check(args, "raw")
    from sr3d.data.readers.s3dis import prepare_s3dis

    _read(args, prepare_s3dis, raw=args.raw)


def _prepare_mmdet3d(args: argparse.Namespace) -> None:
    _check(args, "root")
    from sr3d.data.mmdet3d.reader import prepare_mmdet3d

    infos: dict[str, list[Path]] = {}
    for item in args.infos or []:
        split, equals, path = item.partition("=")
        if not equals:
            raise InputError(
                f"'{item}' is not a pair",
                field="--infos",
                kind=Kind.VALUE,
                remedy=f"Write it as SPLIT=FILE, for example val={item}.",
            )
        infos.setdefault(split, []).append(Path(path))
    _read(
        args,
        prepare_mmdet3d,
        root=args.root,
        dataset=args.dataset,
        infos=infos or None,
        clockwise=args.clockwise,
    )


def _prepare_folder(args: argparse.Namespace) -> None:
    _check(args, "raw", "labels")
    from sr3d.data.own.labels import parse_classes
    from sr3d.data.own.preparation import LabelOptions, prepare_folder

    label_options = LabelOptions(
        boxes=args.boxes,
        labels=args.labels,
        classes=parse_classes(args.classes) if args.classes is not None else (),
        ignore_unknown=args.ignore_unknown,
        val=args.val,
        rotated=args.rotated,
        upright=args.upright,
        points=args.points,
    )
    _read(
        args,
        prepare_folder,
        raw=args.raw,
        label_options=label_options,
        scan_options=scan_options(args),
    )


def _check(args: argparse.Namespace, *folders: str) -> None:
    """Refuse input folders that are absent, and an output folder that cannot be written."""
    for name in folders:
        if (path := getattr(args, name)) is not None:
            check_folder(path, f"--{name}", "Name an existing folder.")
    check_output_folder(args.out)


def _read(args: argparse.Namespace, prepare: Callable[..., Any], **own: Any) -> None:
    """Call a reader with the shared arguments and its `own` arguments."""
    from sr3d.data.readers.conversion import ConversionOptions
    from sr3d.runs.progress import Counter

    with _alone(args), Counter("scenes") as progress:
        how = ConversionOptions(args.workers, args.keep_going, progress.update)
        prepare(out=args.out, scenes=args.scenes, append=args.append, how=how, **own)
    _say_prepared(args.out)


@contextmanager
def _alone(args: argparse.Namespace) -> Iterator[None]:
    """Lock the output folder, because two processes would write into each other's files.

    If the input is refused, a folder that is new and still empty is removed.
    """
    new = not args.out.exists()
    with exclusive(args.out / "manifest.json", args.wait):
        try:
            yield
        except InputError:
            files = (path for path in args.out.rglob("*") if path.is_file())
            if new and all(path.suffix == ".lock" for path in files):
                shutil.rmtree(args.out)
            raise


def _say_prepared(out: Path) -> None:
    from sr3d.data.prepared import read_manifest
    from sr3d.detectors import FAMILIES
    from sr3d.detectors.needs import contents

    manifest = read_manifest(out)
    for split, scenes in manifest.splits.items():
        boxes = sum(manifest.scenes[scene]["boxes"] for scene in scenes)
        print(f"{out}: {split}: {len(scenes)} scenes, {boxes} boxes")
    print(f"{out}: {contents(out, manifest, FAMILIES)}")
    if manifest.left_out:
        print(f"{out}: {len(manifest.left_out)} scenes left out. manifest.json has the reasons")
