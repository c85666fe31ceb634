"""The verb `detect`: finds boxes in your own scans."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sr3d.cli.arguments import Verbs, add_compile, add_device, real
from sr3d.cli.inputs import check_dataset, check_output_folder, find_model
from sr3d.cli.scans import add_scan_options, scan_options
from sr3d.config_groups import DATASETS
from sr3d.errors import InputError, Kind

if TYPE_CHECKING:
    from sr3d.data.datasets import Dataset
    from sr3d.data.scans import Scan
    from sr3d.data.scene import Scene
    from sr3d.deploy.detection import ModelFacts, ScanDetections, ScanDetector

_NAME = "{scan}"
_DEMO_ROOM, _DEMO_POINTS = 2026, 60_000  # a room that the model has not seen
_BAR = 0.02  # metres, the thickness of a box's edges in a mesh


def add_detect(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Detect objects in your own scans."
    verb = verbs.add_parser(
        "detect",
        parents=[common],
        help=about,
        description=f"{about} Formats: .ply, .pcd, .npy, .npz, .bin, .txt, .xyz, .csv, .obj, "
        ".gltf, .glb, .las, .laz, depth images (.png), and folders of scans.",
        examples=(
            "sr3d detect --demo",
            "sr3d detect scan.ply --view scan.html",
            "sr3d detect scans/ --model results/scannet/sr3d/train0 --boxes 'boxes/{scan}.ply'",
            "sr3d detect phone.obj --up y --unit cm --score-thr 0.5",
        ),
    )
    verb.add_argument(
        "scans", nargs="*", type=Path, metavar="SCAN",
        help="scan file or folder of scans. Required unless --demo is given",
    )  # fmt: skip
    verb.add_argument(
        "--demo", action="store_true", help="detect in a generated room instead of a scan"
    )
    verb.add_argument(
        "--model", metavar="MODEL",
        help="folder of a training run, or checkpoint (.safetensors, .pth) (default: the packaged "
        "model, trained on generated rooms)",
    )  # fmt: skip
    verb.add_argument(
        "--dataset", metavar="NAME",
        help=f"data set of the checkpoint's classes: {', '.join(DATASETS)} (default: found from "
        "the checkpoint)",
    )  # fmt: skip
    add_device(verb)
    add_compile(verb)
    outputs = verb.add_argument_group("outputs")
    outputs.add_argument(
        "--out", type=Path, default=Path("detections"), metavar="DIR",
        help="folder for one JSON file of detections per scan",
    )  # fmt: skip
    outputs.add_argument(
        "--score-thr", type=real(0, 1), default=0.3, metavar="S",
        help="minimum score of a box, from 0 to 1",
    )  # fmt: skip
    outputs.add_argument(
        "--keep-duplicates", action="store_true",
        help="keep near-duplicate boxes, which are removed by default",
    )  # fmt: skip
    outputs.add_argument(
        "--boxes", metavar="FILE",
        help=f"also write the boxes as a mesh, .ply or .obj. For several scans, put {_NAME} into "
        "the name",
    )  # fmt: skip
    outputs.add_argument(
        "--view", metavar="FILE",
        help=f"also write an interactive 3D viewer, .html. For several scans, put {_NAME} into the "
        "name",
    )  # fmt: skip
    add_scan_options(verb)
    room = verb.add_argument_group("pose of the room (found from the scan by default)")
    room.add_argument(
        "--walls", type=real(-360, 360), metavar="DEG",
        help="angle from the x axis to a wall, in degrees counter-clockwise. 0 does not rotate the "
        "scan",
    )  # fmt: skip
    room.add_argument(
        "--floor", type=real(-1000, 1000), metavar="Z",
        help="height of the floor in metres, with z up. 0 does not move the scan",
    )  # fmt: skip
    verb.set_defaults(verb=_detect)


def _detect(args: argparse.Namespace) -> None:
    _check(args)
    options, scans = scan_options(args), _scans(args)
    if args.model is not None:
        find_model(args.model, "--model")
    from sr3d.runs.gpu_lease import lease_gpu

    # A GPU is leased before PyTorch looks for one.
    with lease_gpu(args.device):
        from sr3d.cli.detecting_model import choose_model
        from sr3d.data.scans import read_scan
        from sr3d.data.scans.room_frame import RoomOptions, into_room_frame
        from sr3d.deploy.compiled import PRECISIONS
        from sr3d.deploy.detection import detect_files
        from sr3d.runs.folder import check_device

        check_device(args.device)
        room = RoomOptions(args.walls, args.floor)
        detector, facts = choose_model(args)
        runner = detector.compile(PRECISIONS[args.compile]) if args.compile else detector
        if args.demo:
            _demo(args, runner, detector.dataset, facts)
            return

        def read(path: Path) -> Scan:
            return into_room_frame(read_scan(path, options), path, detector.dataset, room)

        def write(found: ScanDetections) -> None:
            _write(args, found, facts)

        classes = detector.dataset.classes
        keep = args.keep_duplicates
        detect_files(runner, classes, scans, read, args.score_thr, write, keep)


def _check(args: argparse.Namespace) -> None:
    if args.scans and args.demo:
        raise InputError(
            "takes no scan", field="--demo", kind=Kind.CONFLICT, remedy="Leave out one of the two."
        )
    if not (args.scans or args.demo):
        raise InputError(
            "no scan was given",
            field="SCAN",
            kind=Kind.MISSING,
            remedy="Name scans or folders of scans, or pass --demo.",
        )
    if args.dataset is not None:
        check_dataset(args.dataset)
    check_output_folder(args.out)
    for option, name, kinds in (
        ("--boxes", args.boxes, (".ply", ".obj")),
        ("--view", args.view, (".html",)),
    ):
        if name is None:
            continue
        if Path(name).suffix.lower() not in kinds:
            remedy = f"Choose a name that ends in {' or '.join(kinds)}."
            raise InputError(
                "unknown format", file=name, field=option, kind=Kind.VALUE, remedy=remedy
            )
        check_output_folder(Path(name.partition(_NAME)[0] + "x").parent, option)


def _scans(args: argparse.Namespace) -> list[tuple[Path, Path]]:
    """Files and their names.

    Raises:
        InputError: a scan is absent or of an unknown format, or an output would replace a scan.
    """
    from sr3d.data.scans import check_kind, find_scans

    scans = find_scans(args.scans, without=args.out) if args.scans else []
    for path in args.scans:
        if path.is_file():
            check_kind(path)
    for option, name in (("--boxes", args.boxes), ("--view", args.view)):
        if name is None:
            continue
        if len(scans) > 1 and _NAME not in name:
            raise InputError(
                f"one file cannot hold the outputs of {len(scans)} scans",
                file=name,
                field=option,
                kind=Kind.CONFLICT,
                remedy=f"Put {_NAME} into the name.",
            )
        written = {_named(name, scan).resolve() for _, scan in scans}
        if any(path.resolve() in written for path, _ in scans):
            raise InputError(
                "is one of the scans",
                file=name,
                field=option,
                kind=Kind.CONFLICT,
                remedy="Choose another name.",
            )
    return scans


def _named(pattern: str, scan: Path) -> Path:
    return Path(pattern.replace(_NAME, str(scan)))


def _demo(
    args: argparse.Namespace, runner: ScanDetector, dataset: Dataset, facts: ModelFacts
) -> None:
    """Detect in a generated room. Shows its true boxes too, and always writes a page."""
    from sr3d.data.rooms.generate import generate_room
    from sr3d.data.scans import Fact, Frame, Scan
    from sr3d.deploy.detection import ScanDetections, detect_in_scan

    room = generate_room(_DEMO_ROOM, rotated=dataset.rotated, points=_DEMO_POINTS)
    made = Fact("points", str(len(room)), "a procedural room, made here")
    scan = Scan(room.points.numpy(), room.colors.numpy(), Frame(), (made,))
    detections = detect_in_scan(runner, scan, args.score_thr, args.keep_duplicates)
    args.view = args.view or str(args.out / "demo.html")
    found = ScanDetections("a procedural room", Path("demo"), scan, detections, dataset.classes)
    _write(args, found, facts, room)


def _write(
    args: argparse.Namespace, found: ScanDetections, facts: ModelFacts, truth: Scene | None = None
) -> None:
    """Write all outputs of one scan, and print the findings."""
    from sr3d.deploy.detection import describe
    from sr3d.runs.files import write_json

    place = args.out / found.name.with_name(found.name.name + ".json")
    write_json(place, describe(found, facts, args.score_thr))
    written = [str(place)]
    if args.boxes:
        written.append(str(_write_boxes(_named(args.boxes, found.name), found)))
    if args.view:
        written.append(
            str(_write_view(_named(args.view, found.name), found, truth, args.score_thr))
        )
    print(f"{found.file}: {found.counts()}")
    for fact in found.scan.facts:
        print(f"  {fact}")
    print(f"  written: {', '.join(written)}")


def _write_boxes(path: Path, found: ScanDetections) -> Path:
    import numpy as np

    from sr3d.data.scans.wireframes import write_wireframes
    from sr3d.geometry.boxes import Boxes
    from sr3d.study.report.viewer.layers import class_color

    detections, frame = found.detections, found.scan.frame
    labels = detections.labels.tolist()
    names = [
        f"{found.classes[label]}_{i}_{score:.2f}"
        for i, (label, score) in enumerate(zip(labels, detections.scores.tolist(), strict=True))
    ]
    colors = [list(bytes.fromhex(class_color(label)[1:])) for label in labels]
    corners = frame.back(Boxes(detections.boxes)).corners
    painted = np.array(colors, dtype=np.uint8).reshape(-1, 3)
    write_wireframes(path, corners, _BAR / frame.scale, names, painted)
    return path


def _write_view(path: Path, found: ScanDetections, truth: Scene | None, score_thr: float) -> Path:
    from sr3d.data.datasets import SYNTHETIC
    from sr3d.study.report.viewer import BoxLayer, write_viewer

    boxes, scores, labels = found.detections
    layers = [BoxLayer("detections", boxes, labels, scores, found.classes)]
    if truth is not None:
        layers.append(
            BoxLayer("the room's", truth.boxes.tensor, truth.labels, None, SYNTHETIC.classes)
        )
    scan = found.scan
    write_viewer(path, found.name.name, scan.points, scan.colors, layers, score=score_thr)
    return path
