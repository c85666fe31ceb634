"""The verbs around data but for `prepare`: `download`, `inspect`, `export`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sr3d.cli.arguments import Verbs, whole


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
    scannet.add_argument(
        "--parallel", type=whole(1, 16), default=4, metavar="N", help="scans at a time (4)"
    )
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
    from sr3d.runs.files import write_json
    from sr3d.runs.progress import Counter

    with Counter() as progress:
        result = download(progress.update_as)
    print(f"{args.out}: {result.fetched} files fetched, {result.present} were there")
    if args.done:
        write_json(args.done, {"folder": str(args.out), "complete": True})


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
    from sr3d.runs.progress import Counter

    if args.verify:
        verify(args.folder)
    with Counter("scenes") as progress:
        found = inspect(args.folder, args.split, args.scenes, progress=progress.update)
    print(json.dumps(found.to_dict(), indent=2) if args.json else describe(found))
    if args.pictures:
        from sr3d.study.report.scene_pictures import draw_scenes

        chosen = choose_scenes(args.folder, read_manifest(args.folder), args.split, args.scenes)
        for split, scenes in chosen.items():
            with Counter(f"pictures of {split}") as progress:
                draw_scenes(args.folder, split, scenes, args.pictures, progress=progress.update)
        print(f"{args.pictures}: {sum(map(len, chosen.values()))} pictures")


def add_export(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Write a prepared data set for another framework, or as scans with boxes."
    kinds = verbs.add_parser("export", help=about, description=about).add_subparsers(
        title="forms", metavar="FORM", required=True
    )
    some = argparse.ArgumentParser(add_help=False, parents=[common])
    some.add_argument("--data", type=Path, required=True, metavar="DIR", help="prepared folder")
    some.add_argument("--out", type=Path, required=True, metavar="DIR", help="where files go")

    about = "Clouds and info files as mmdet3d 1.1 and later reads them."
    mmdet3d = kinds.add_parser("mmdet3d", parents=[some], help=about, description=about)
    mmdet3d.set_defaults(verb=_export_mmdet3d)

    about = "A PLY file and a JSON file of boxes for each scene, as `prepare folder` reads them."
    folder = kinds.add_parser("folder", parents=[some], help=about, description=about)
    folder.set_defaults(verb=_export_folder)


def _export_mmdet3d(args: argparse.Namespace) -> None:
    from sr3d.data.mmdet3d.export import export_mmdet3d
    from sr3d.runs.progress import Counter

    with Counter("scenes") as progress:
        done = export_mmdet3d(args.data, args.out, progress=progress.update)
    print(f"{args.out}: {done.scenes} clouds, {', '.join(path.name for path in done.infos)}")


def _export_folder(args: argparse.Namespace) -> None:
    from sr3d.data.own.export import export_folder
    from sr3d.runs.progress import Counter

    with Counter("scenes") as progress:
        count = export_folder(args.data, args.out, progress=progress.update)
    print(f"{args.out}: {count} scans with boxes")
