"""The data verbs except `prepare`: `download`, `inspect`, `export`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sr3d.cli.arguments import Verbs, whole
from sr3d.cli.inputs import check_output_folder, check_prepared


def add_download(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Download the original files of a data set. Existing files are kept."
    kinds = verbs.add_parser(
        "download",
        help=about,
        description=about,
        examples=("sr3d download sunrgbd --out raw/sunrgbd",),
    ).add_subparsers(title="data sets", metavar="DATASET", required=True)
    some = argparse.ArgumentParser(add_help=False, parents=[common])
    some.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for the downloaded files"
    )
    some.add_argument("--url", metavar="URL", help="base URL of another server")
    some.add_argument(
        "--done", type=Path, metavar="FILE",
        help="write this marker file when the download is complete",
    )  # fmt: skip

    about = "Download ScanNet V2: four files per scan, label map and split lists."
    scannet = kinds.add_parser(
        "scannet",
        parents=[some],
        help=about,
        description=about,
        examples=("sr3d download scannet --out raw/scannet --accept-terms",),
    )
    scannet.add_argument(
        "--accept-terms", action="store_true",
        help="confirm that you have signed ScanNet's terms of use",
    )  # fmt: skip
    scannet.add_argument(
        "--scenes", nargs="+", metavar="ID", help="scans to download (default: all)"
    )
    scannet.add_argument(
        "--parallel", type=whole(1, 16), default=4, metavar="N", help="number of parallel downloads"
    )
    scannet.set_defaults(verb=_download_scannet)

    about = "Download SUN RGB-D: images, both versions of the boxes, split."
    sunrgbd = kinds.add_parser(
        "sunrgbd",
        parents=[some],
        help=about,
        description=about,
        examples=("sr3d download sunrgbd --out raw/sunrgbd",),
    )
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
    print(f"{args.out}: {result.fetched} files downloaded, {result.present} already existed")
    if args.done:
        write_json(args.done, {"folder": str(args.out), "complete": True})


def add_inspect(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Check data before training."
    kinds = verbs.add_parser(
        "inspect", help=about, description=about, examples=("sr3d inspect data data/scannet",)
    ).add_subparsers(title="what", metavar="WHAT", required=True)
    about = "Report counts, sizes and suspicious values of a prepared data set."
    data = kinds.add_parser(
        "data",
        parents=[common],
        help=about,
        description=about,
        examples=(
            "sr3d inspect data data/scannet",
            "sr3d inspect data data/own --split val --pictures pictures",
        ),
    )
    data.add_argument("folder", type=Path, metavar="DIR", help="prepared data set")
    data.add_argument("--split", nargs="+", metavar="NAME", help="splits to inspect (default: all)")
    data.add_argument("--scenes", nargs="+", metavar="ID", help="scenes to inspect (default: all)")
    data.add_argument("--json", action="store_true", help="print JSON instead of text")
    data.add_argument(
        "--verify", action="store_true", help="first compare every file with its checksum"
    )
    data.add_argument(
        "--pictures", type=Path, metavar="DIR",
        help="also write a PNG per scene: top view and two side views with boxes",
    )  # fmt: skip
    data.set_defaults(verb=_inspect_data)


def _inspect_data(args: argparse.Namespace) -> None:
    check_prepared(args.folder, "DIR")
    from sr3d.data.inspection import choose_scenes, describe, inspect
    from sr3d.data.prepared import read_manifest, verify
    from sr3d.detectors import FAMILIES
    from sr3d.detectors.needs import contents
    from sr3d.runs.progress import Counter

    if args.verify:
        verify(args.folder)
    with Counter("scenes") as progress:
        found = inspect(args.folder, args.split, args.scenes, progress=progress.update)
    if args.json:
        print(json.dumps(found.to_dict(), indent=2))
    else:
        print(describe(found, contents(args.folder, read_manifest(args.folder), FAMILIES)))
    if args.pictures:
        from sr3d.study.report.scene_pictures import write_scene_pictures

        chosen = choose_scenes(args.folder, read_manifest(args.folder), args.split, args.scenes)
        for split, scenes in chosen.items():
            with Counter(f"pictures of {split}") as progress:
                write_scene_pictures(
                    args.folder, split, scenes, args.pictures, progress=progress.update
                )
        print(f"{args.pictures}: {sum(map(len, chosen.values()))} pictures")


def add_export(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Export a prepared data set to mmdet3d, or as scans with boxes."
    kinds = verbs.add_parser(
        "export",
        help=about,
        description=about,
        examples=("sr3d export mmdet3d --data data/scannet --out mmdet3d/scannet",),
    ).add_subparsers(title="formats", metavar="FORMAT", required=True)
    some = argparse.ArgumentParser(add_help=False, parents=[common])
    some.add_argument("--data", type=Path, required=True, metavar="DIR", help="prepared data set")
    some.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")

    about = "Export clouds and info files for mmdet3d 1.1 or later."
    mmdet3d = kinds.add_parser(
        "mmdet3d",
        parents=[some],
        help=about,
        description=about,
        examples=("sr3d export mmdet3d --data data/scannet --out mmdet3d/scannet",),
    )
    mmdet3d.set_defaults(verb=_export_mmdet3d)

    about = "Export a PLY file and a JSON file of boxes per scene, for `prepare folder`."
    folder = kinds.add_parser(
        "folder",
        parents=[some],
        help=about,
        description=about,
        examples=("sr3d export folder --data data/synthetic --out scans",),
    )
    folder.set_defaults(verb=_export_folder)


def _check_export(args: argparse.Namespace) -> None:
    check_prepared(args.data)
    check_output_folder(args.out)


def _export_mmdet3d(args: argparse.Namespace) -> None:
    _check_export(args)
    from sr3d.data.mmdet3d.export import export_mmdet3d
    from sr3d.runs.progress import Counter

    with Counter("scenes") as progress:
        done = export_mmdet3d(args.data, args.out, progress=progress.update)
    print(f"{args.out}: {done.scenes} clouds, {', '.join(path.name for path in done.infos)}")


def _export_folder(args: argparse.Namespace) -> None:
    _check_export(args)
    from sr3d.data.own.export import export_folder
    from sr3d.runs.progress import Counter

    with Counter("scenes") as progress:
        count = export_folder(args.data, args.out, progress=progress.update)
    print(f"{args.out}: {count} scans with boxes")
