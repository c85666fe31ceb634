"""The verbs around data: `download`, `prepare`, `inspect`, `export`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sr3d.cli.arguments import Verbs
from sr3d.config import DATASETS
from sr3d.errors import InputError


def add_download(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Fetch the original files of a data set; what is there already is taken as it is."
    kinds = verbs.add_parser("download", help=about, description=about).add_subparsers(
        title="data sets", metavar="DATASET", required=True
    )
    some = argparse.ArgumentParser(add_help=False, parents=[common])
    some.add_argument("--out", type=Path, required=True, metavar="DIR", help="where they go")
    some.add_argument("--url", help="another server")
    some.add_argument(
        "--done", type=Path, metavar="FILE", help="note there, in the end, that nothing is missing"
    )

    about = "ScanNet V2: the four files a scan that detection needs, label map and split lists."
    scannet = kinds.add_parser("scannet", parents=[some], help=about, description=about)
    scannet.add_argument(
        "--accept-terms", action="store_true", help="you have signed ScanNet's terms of use"
    )
    scannet.add_argument("--scenes", nargs="+", metavar="ID", help="only these; default all")
    scannet.add_argument("--parallel", type=int, default=4, metavar="N", help="scans at a time (4)")
    scannet.set_defaults(verb=_download_scannet)

    about = "SUN RGB-D: images, boxes of both versions, split."
    sunrgbd = kinds.add_parser("sunrgbd", parents=[some], help=about, description=about)
    sunrgbd.add_argument(
        "--keep-archives", action="store_true", help="keep the zip files after unpacking"
    )
    sunrgbd.set_defaults(verb=_download_sunrgbd)


def _download_scannet(args: argparse.Namespace) -> None:
    from sr3d.data.download.scannet import download_scannet

    url = {"url": args.url} if args.url else {}
    _say_downloaded(
        args,
        lambda progress: download_scannet(
            args.out,
            accept_terms=args.accept_terms,
            scenes=args.scenes,
            parallel=args.parallel,
            progress=progress,
            **url,
        ),
    )


def _download_sunrgbd(args: argparse.Namespace) -> None:
    from sr3d.data.download.sunrgbd import download_sunrgbd

    url = {"url": args.url} if args.url else {}
    _say_downloaded(
        args,
        lambda progress: download_sunrgbd(
            args.out, keep_archives=args.keep_archives, progress=progress, **url
        ),
    )


def _say_downloaded(args: argparse.Namespace, download: Callable[[Any], Any]) -> None:
    from sr3d.files import write_json
    from sr3d.progress import Counter

    with Counter() as progress:
        result = download(progress.update_as)
    print(f"{args.out}: {result.fetched} files fetched, {result.present} were there")
    if args.done:
        write_json(args.done, {"folder": str(args.out), "complete": True})


def add_prepare(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Put a data set into the prepared format. Interrupted, the same command goes on."
    kinds = verbs.add_parser("prepare", help=about, description=about).add_subparsers(
        title="data sets", metavar="DATASET", required=True
    )
    out = argparse.ArgumentParser(add_help=False, parents=[common])
    out.add_argument("--out", type=Path, required=True, metavar="DIR", help="prepared folder")
    out.add_argument("--workers", type=int, default=2, metavar="N", help="threads (2)")

    about = "Generate procedural rooms: no download, no licence."
    rooms = kinds.add_parser("synthetic", parents=[out], help=about, description=about)
    rooms.add_argument("--train", type=int, default=160, metavar="N", help="training rooms (160)")
    rooms.add_argument("--val", type=int, default=40, metavar="N", help="validation rooms (40)")
    rooms.add_argument("--seed", type=int, default=0, help="other rooms for another seed (0)")
    rooms.add_argument("--points", type=int, default=20_000, help="points a room (20000)")
    rooms.add_argument("--rotated", action="store_true", help="one view, oriented boxes")
    rooms.set_defaults(verb=_prepare_rooms)

    some = argparse.ArgumentParser(add_help=False, parents=[out])
    some.add_argument("--scenes", nargs="+", metavar="ID", help="only these; default all")
    some.add_argument("--append", action="store_true", help="add to what the folder holds")
    some.add_argument(
        "--keep-going",
        action="store_true",
        help="leave out scenes that cannot be read, accept other counts than the published ones",
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
        help="version of the boxes (v2, which mmdet3d and TR3D score; VoteNet's default is v1)",
    )
    sunrgbd.add_argument(
        "--points",
        type=int,
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
        "--dataset", choices=DATASETS, metavar="NAME", help="which, where the folder holds several"
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


def _prepare_rooms(args: argparse.Namespace) -> None:
    from sr3d.data.rooms.generate import prepare_rooms
    from sr3d.progress import Progress

    with Progress("rooms", args.train + args.val) as progress:
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


def _read(args: argparse.Namespace, prepare: Callable[..., Any], **own: Any) -> None:
    """Call a reader with what all of them take, and what is its `own`."""
    from sr3d.data.readers.conversion import HowTo
    from sr3d.progress import Counter

    if args.workers < 1:
        raise InputError(f"--workers {args.workers}: must be 1 or more")
    with Counter("scenes") as progress:
        how = HowTo(args.workers, args.keep_going, progress.update)
        prepare(out=args.out, scenes=args.scenes, append=args.append, how=how, **own)
    _say_prepared(args.out)


def _say_prepared(out: Path) -> None:
    from sr3d.data.prepared import read_manifest

    manifest = read_manifest(out)
    for split, scenes in manifest.splits.items():
        boxes = sum(manifest.scenes[scene]["boxes"] for scene in scenes)
        print(f"{out}: {split}: {len(scenes)} scenes, {boxes} boxes")
    if manifest.left_out:
        print(f"{out}: {len(manifest.left_out)} scenes left out; manifest.json says why")


def add_inspect(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Look at data, to see whether they are right."
    kinds = verbs.add_parser("inspect", help=about, description=about).add_subparsers(
        title="what", metavar="WHAT", required=True
    )
    about = "Counts, sizes and suspicions of a prepared folder; pictures on request."
    data = kinds.add_parser("data", parents=[common], help=about, description=about)
    data.add_argument("folder", type=Path, metavar="DIR", help="prepared folder")
    data.add_argument("--split", nargs="+", metavar="NAME", help="only these; default all")
    data.add_argument("--scenes", nargs="+", metavar="ID", help="only these; default all")
    data.add_argument("--json", action="store_true", help="print JSON")
    data.add_argument(
        "--verify", action="store_true", help="first compare every file with its checksum"
    )
    data.add_argument(
        "--pictures",
        type=Path,
        metavar="DIR",
        help="write a PNG for each of these scenes: from above and from two sides, with boxes",
    )
    data.set_defaults(verb=_inspect_data)


def _inspect_data(args: argparse.Namespace) -> None:
    from sr3d.data.inspection import choose_scenes, describe, inspect
    from sr3d.data.prepared import read_manifest, verify
    from sr3d.progress import Counter

    if args.verify:
        verify(args.folder)
    with Counter("scenes") as progress:
        found = inspect(args.folder, args.split, args.scenes, progress=progress.update)
    print(json.dumps(found.to_dict(), indent=2) if args.json else describe(found))
    if args.pictures:
        from sr3d.report.scene_pictures import draw_scenes

        chosen = choose_scenes(args.folder, read_manifest(args.folder), args.split, args.scenes)
        for split, scenes in chosen.items():
            with Counter(f"pictures of {split}") as progress:
                draw_scenes(args.folder, split, scenes, args.pictures, progress=progress.update)
        print(f"{args.pictures}: {sum(map(len, chosen.values()))} pictures")


def add_export(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Write a prepared data set for another framework."
    kinds = verbs.add_parser("export", help=about, description=about).add_subparsers(
        title="frameworks", metavar="FRAMEWORK", required=True
    )
    about = "Clouds and info files as mmdet3d 1.1 and later reads them."
    mmdet3d = kinds.add_parser("mmdet3d", parents=[common], help=about, description=about)
    mmdet3d.add_argument("--data", type=Path, required=True, metavar="DIR", help="prepared folder")
    mmdet3d.add_argument("--out", type=Path, required=True, metavar="DIR", help="where files go")
    mmdet3d.set_defaults(verb=_export_mmdet3d)


def _export_mmdet3d(args: argparse.Namespace) -> None:
    from sr3d.data.mmdet3d.export import export_mmdet3d
    from sr3d.progress import Counter

    with Counter("scenes") as progress:
        done = export_mmdet3d(args.data, args.out, progress=progress.update)
    print(f"{args.out}: {done.scenes} clouds, {', '.join(path.name for path in done.infos)}")
