"""The verb that puts data sets into the prepared format: `prepare`."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sr3d.cli.arguments import COUNT, SEED, Verbs, real, whole
from sr3d.cli.jobs import add_wait
from sr3d.cli.scans import add_scan_options, reading_of
from sr3d.config import DATASETS
from sr3d.errors import InputError
from sr3d.runs.files import exclusive


def add_prepare(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Put a data set into the prepared format. Interrupted, the same command goes on."
    kinds = verbs.add_parser("prepare", help=about, description=about).add_subparsers(
        title="data sets", metavar="DATASET", required=True
    )
    out = argparse.ArgumentParser(add_help=False, parents=[common])
    out.add_argument("--out", type=Path, required=True, metavar="DIR", help="prepared folder")
    out.add_argument("--workers", type=whole(1, 1024), default=2, metavar="N", help="threads (2)")
    add_wait(out)

    about = "Generate procedural rooms: no download, no licence."
    rooms = kinds.add_parser("synthetic", parents=[out], help=about, description=about)
    rooms.add_argument("--train", type=COUNT, default=160, metavar="N", help="training rooms (160)")
    rooms.add_argument("--val", type=COUNT, default=40, metavar="N", help="validation rooms (40)")
    rooms.add_argument("--seed", type=SEED, default=0, help="other rooms for another seed (0)")
    rooms.add_argument(
        "--points", type=whole(1000, 10_000_000), default=20_000, help="points a room (20000)"
    )
    rooms.add_argument("--rotated", action="store_true", help="one view, oriented boxes")
    rooms.set_defaults(verb=_prepare_rooms)

    some = argparse.ArgumentParser(add_help=False, parents=[out])
    some.add_argument("--scenes", nargs="+", metavar="ID", help="only these; default all")
    some.add_argument("--append", action="store_true", help="add to what the folder holds")
    some.add_argument(
        "--keep-going",
        action="store_true",
        help="leave out scenes that cannot be read; of a published set, accept other counts",
    )

    about = "Read ScanNet V2's raw scans (mesh, segments, aggregation, alignment)."
    scannet = kinds.add_parser("scannet", parents=[some], help=about, description=about)
    scannet.add_argument("--raw", type=Path, required=True, metavar="DIR", help="folder of scans")
    scannet.add_argument("--meta", type=Path, metavar="DIR", help="label map and split lists")
    scannet.set_defaults(verb=_prepare_scannet)

    about = "Read SUN RGB-D's official folder (depth images, boxes, split); no Matlab."
    sunrgbd = kinds.add_parser("sunrgbd", parents=[some], help=about, description=about)
    sunrgbd.add_argument("--raw", type=Path, required=True, metavar="DIR", help="OFFICIAL_SUNRGBD")
    sunrgbd.add_argument(
        "--labels",
        choices=("v2", "v1"),
        default="v2",
        help="version of the boxes (v2, which mmdetection3d scores; VoteNet's default is v1)",
    )
    sunrgbd.add_argument(
        "--points",
        type=whole(0, 10_000_000),
        default=50_000,
        metavar="N",
        help="points drawn of a frame, once (50000); 0 keeps all",
    )
    sunrgbd.set_defaults(verb=_prepare_sunrgbd)

    about = "Read S3DIS's raw rooms (Stanford3dDataset_v1.2_Aligned_Version); Area 5 is the test."
    s3dis = kinds.add_parser("s3dis", parents=[some], help=about, description=about)
    s3dis.add_argument("--raw", type=Path, required=True, metavar="DIR", help="folder of areas")
    s3dis.set_defaults(verb=_prepare_s3dis)

    about = "Read clouds and info files that mmdet3d prepared, of any of its data sets."
    mmdet3d = kinds.add_parser("mmdet3d", parents=[some], help=about, description=about)
    mmdet3d.add_argument("--root", type=Path, required=True, metavar="DIR", help="mmdet3d's folder")
    mmdet3d.add_argument(
        "--dataset",
        choices=[name for name in DATASETS if name != "own"],
        metavar="NAME",
        help="which, where the folder holds several",
    )
    mmdet3d.add_argument(
        "--infos",
        nargs="+",
        metavar="SPLIT=FILE",
        help="info files of other names than <dataset>_infos_<split>.pkl",
    )
    mmdet3d.add_argument(
        "--clockwise",
        action="store_true",
        help="the yaw turns clockwise, as mmdet3d wrote it before version 1.0",
    )
    mmdet3d.set_defaults(verb=_prepare_mmdet3d)

    _add_folder(kinds, some)


def _add_folder(kinds: Verbs, some: argparse.ArgumentParser) -> None:
    about = (
        "Read a folder of your own scans, of any kind that `detect` reads, with boxes from files: "
        "ours, COCO-like, labelCloud's, SUSTechPOINTS', Supervisely's, Xtreme1's, OpenPCDet's "
        "(docs/own_data.md)."
    )
    folder = kinds.add_parser("folder", parents=[some], help=about, description=about)
    folder.add_argument("--raw", type=Path, required=True, metavar="DIR", help="folder of scans")
    labels = folder.add_argument_group("labels and set, where they shall not be as they are found")
    labels.add_argument("--boxes", metavar="FORMAT", help="their format (found by their content)")
    labels.add_argument(
        "--labels", type=Path, metavar="DIR", help="their folder (that of the scans)"
    )
    labels.add_argument(
        "--classes",
        metavar="A,B,C",
        help="in this order; or a file, one a line (sorted, from labels)",
    )
    labels.add_argument(
        "--ignore-unknown", action="store_true", help="pass over boxes of other classes"
    )
    labels.add_argument(
        "--val", type=real(0, 1), metavar="SHARE",
        help="of scans to test on, chosen by name (train.txt and val.txt, else 0.2)",
    )  # fmt: skip
    yaw = labels.add_mutually_exclusive_group()
    yaw.add_argument(
        "--aligned", dest="rotated", action="store_false", default=None,
        help="boxes have no yaw: take the axis-aligned ones around those that have",
    )  # fmt: skip
    yaw.add_argument(
        "--rotated", action="store_true", default=None, help="boxes have a yaw, whatever labels say"
    )
    labels.add_argument(
        "--upright", action="store_true", help="take the upright boxes around those that lean"
    )
    labels.add_argument(
        "--points", type=whole(0, 10_000_000), default=0, metavar="N",
        help="draw so many points of a larger scan, once (0: keep all)",
    )  # fmt: skip
    add_scan_options(folder)
    folder.set_defaults(verb=_prepare_folder)


def _prepare_rooms(args: argparse.Namespace) -> None:
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
    from sr3d.data.readers.scannet import prepare_scannet

    _read(args, prepare_scannet, raw=args.raw, meta=args.meta)


def _prepare_sunrgbd(args: argparse.Namespace) -> None:
    from sr3d.data.readers.sunrgbd import prepare_sunrgbd

    _read(args, prepare_sunrgbd, raw=args.raw, labels=args.labels, points=args.points)


def _prepare_s3dis(args: argparse.Namespace) -> None:
    from sr3d.data.readers.s3dis import prepare_s3dis

    _read(args, prepare_s3dis, raw=args.raw)


def _prepare_mmdet3d(args: argparse.Namespace) -> None:
    from sr3d.data.mmdet3d.reader import prepare_mmdet3d

    infos: dict[str, list[Path]] = {}
    for item in args.infos or []:
        split, equals, path = item.partition("=")
        if not equals:
            raise InputError(f"--infos {item}: write it as SPLIT=FILE, for example val={item}")
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
    from sr3d.data.own.classes import parse_classes
    from sr3d.data.own.folder import Telling, prepare_folder

    told = Telling(
        boxes=args.boxes,
        labels=args.labels,
        classes=parse_classes(args.classes) if args.classes is not None else (),
        ignore_unknown=args.ignore_unknown,
        val=args.val,
        rotated=args.rotated,
        upright=args.upright,
        points=args.points,
    )
    _read(args, prepare_folder, raw=args.raw, told=told, reading=reading_of(args))


def _read(args: argparse.Namespace, prepare: Callable[..., Any], **own: Any) -> None:
    """Call a reader with what all of them take, and what is its `own`."""
    from sr3d.data.readers.conversion import HowTo
    from sr3d.runs.progress import Counter

    with _alone(args), Counter("scenes") as progress:
        how = HowTo(args.workers, args.keep_going, progress.update)
        prepare(out=args.out, scenes=args.scenes, append=args.append, how=how, **own)
    _say_prepared(args.out)


@contextmanager
def _alone(args: argparse.Namespace) -> Iterator[None]:
    """Two processes that prepare into one folder would write into each other's files.

    A folder that is new and still empty when the input is refused goes again.
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

    manifest = read_manifest(out)
    for split, scenes in manifest.splits.items():
        boxes = sum(manifest.scenes[scene]["boxes"] for scene in scenes)
        print(f"{out}: {split}: {len(scenes)} scenes, {boxes} boxes")
    if manifest.left_out:
        print(f"{out}: {len(manifest.left_out)} scenes left out; manifest.json says why")
