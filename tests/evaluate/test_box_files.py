"""Files of detections as people have them are scored, or refused with a reason."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sr3d.cli import main
from sr3d.data.datasets import SCANNET
from sr3d.errors import InputError, Kind
from sr3d.evaluate.diagnosis import diagnose
from sr3d.geometry.box_set import BoxSet
from sr3d.study.external_boxes import Evaluation, evaluate_files
from sr3d.study.statistics import compare, t_interval
from tests.data.checkpoint_files import pretending
from tests.refusals import refuses

SCENES = [f"scene{i:04d}_00" for i in range(10)]


def counts(caplog: pytest.LogCaptureFixture) -> list[list[str]]:
    """The whole numbers that stand alone in each warning."""
    return [[word for word in r.message.split() if word.isdigit()] for r in caplog.records]


def boxes(rotated: bool = False, seed: int = 0) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    box = np.concatenate([draw.uniform(0, 5, (40, 3)), draw.uniform(0.4, 1.5, (40, 3))], axis=1)
    yaw = draw.uniform(0.3, 1.2, (40, 1)) if rotated else np.zeros((40, 1))
    return {
        "scene": np.repeat(SCENES, 4),
        "label": np.arange(40) % 10,
        "box": np.concatenate([box, yaw], axis=1),
        "scenes": np.array(SCENES),
    }


def saved(path: Path, **changes: Any) -> Path:
    entries = {**boxes(), **changes}
    if path.name.startswith("truth"):
        entries.pop("score", None)
    np.savez(path, **{name: value for name, value in entries.items() if value is not None})
    return path


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    return saved(tmp_path / "truth.npz")


def found(path: Path, **changes: Any) -> Path:
    return saved(path, scenes=None, score=np.linspace(1, 0.2, 40), **changes)


def scored(truth: Path, *files: Path, against: tuple[Path, ...] = ()) -> Evaluation:
    return evaluate_files(truth, files, "scannet", against)


# ------------------------------------------------------------------ scenes


@pytest.mark.parametrize(
    "name",
    [
        "{}.bin", "{}.ply", "{}.ply.json", "data/scannet/points/{}.bin", "C:\\scans\\{}.ply",
        "scans/{}/{}_vh_clean_2.ply", "{}_vh_clean_2.ply.json", "{}_pred", "pred_{}", " {}\n",
    ],
)  # fmt: skip
def test_scenes_may_be_named_by_their_files(
    truth: Path, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    named = np.array([name.replace("{}", scene) for scene in boxes()["scene"]])
    assert scored(truth, found(tmp_path / "a.npz", scene=named)).files[0].result["AP50"] > 99.9
    assert name.replace("{}", SCENES[0]).strip() in caplog.text
    assert f"'{SCENES[0]}'" in caplog.text


def test_scenes_in_folders_are_named_as_prepare_names_them(tmp_path: Path) -> None:
    truth = saved(tmp_path / "truth.npz", scene=np.full(40, "flat1_room"), scenes=None)
    file = found(tmp_path / "a.npz", scene=np.full(40, "flat1/room.ply"))
    assert scored(truth, file).files[0].result["AP50"] > 99.9


def test_other_scenes_are_shown_beside_those_of_the_ground_truth(
    truth: Path, tmp_path: Path
) -> None:
    named = np.array([f"room_{scene}" for scene in boxes()["scene"]])
    with refuses(Kind.UNKNOWN, file="a.npz", mentions=[f"'room_{SCENES[0]}'", f"'{SCENES[0]}'"]):
        scored(truth, found(tmp_path / "a.npz", scene=named))
    both = boxes()["scene"].astype("<U20")
    both[0] = f"{both[0]}.bin"
    names = [f"'{SCENES[0]}'", f"'{SCENES[0]}.bin'"]
    with refuses(Kind.CONFLICT, file="b.npz", mentions=names):
        scored(truth, found(tmp_path / "b.npz", scene=both))


def test_no_ground_truth_is_no_score(tmp_path: Path) -> None:
    none = {name: value[:0] for name, value in boxes().items() if name != "scenes"}
    empty = saved(tmp_path / "truth.npz", **none)
    with refuses(Kind.EMPTY, file="truth.npz", mentions=["10"]):
        scored(empty, found(tmp_path / "a.npz"))


# ------------------------------------------------------------------ what detect writes


def detect_file(path: Path, scene: str, rows: np.ndarray, up: str = "z", **more: Any) -> Path:
    """A file as `sr3d detect` writes it of a scan whose `up` is y or z, in feet."""
    from sr3d.data.scans.frame import Frame, turn_upright
    from sr3d.geometry.boxes import Boxes

    origin = np.array([100.0, 200.0, 300.0])
    frame = Frame(up, "ft", turn_upright(up), origin)
    own = boxes()["label"][boxes()["scene"] == scene]
    placed = frame.back(Boxes(torch.tensor(rows, dtype=torch.float32)))
    detections = [
        {
            "class": SCANNET.classes[label], "score": 0.9, "center": placed.centers[i].tolist(),
            "size": placed.sizes[i].tolist(), "yaw": float(rows[i, 6]), **more,
        }
        for i, label in enumerate(own)
    ]  # fmt: skip
    about = {"up": up, "unit": "ft", "metres_per_unit": 0.3048, "origin": origin.tolist(),
             "rotation": frame.rotation.tolist()}  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({
        "schema": "sr3d/detections", "version": 1, "file": f"scans/{scene}.ply", "frame": about,
        "detections": detections,
    }))  # fmt: skip
    return path


@pytest.mark.parametrize("up", ["z", "y", "-y"])
def test_files_of_detect_are_scored_in_upright_metres(tmp_path: Path, up: str) -> None:
    rows = boxes(rotated=True)
    truth = saved(tmp_path / "truth.npz", box=rows["box"])
    for scene in SCENES:
        own = rows["box"][rows["scene"] == scene]
        detect_file(tmp_path / "out" / "sub" / f"{scene}.ply.json", scene, own, up)
    (tmp_path / "out" / "other.json").write_text('{"a": 1}')
    assert scored(truth, tmp_path / "out").files[0].result["AP50"] > 99.9
    one = scored(truth, tmp_path / "out" / "sub" / f"{SCENES[0]}.ply.json")
    assert 0 < one.files[0].result["AP50"] < 99


def test_scenes_and_scores_that_are_missing_are_told(
    truth: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scored(truth, found(tmp_path / "all.npz"))
    assert caplog.text == ""
    scored(truth, detect_file(tmp_path / "a.json", SCENES[0], boxes()["box"][:4]))
    assert ["1", "10"] in counts(caplog)
    content = json.loads((tmp_path / "a.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps({**content, "score_thr": 0.3}))
    scored(truth, tmp_path / "a.json")
    assert "--score-thr" in caplog.text
    none = {name: boxes()[name][:0] for name in ("scene", "label", "box")}
    file = saved(tmp_path / "none.npz", scenes=None, score=np.zeros(0), **none)
    assert scored(truth, file).files[0].result["AP50"] == 0
    assert counts(caplog)[-1] == ["0", "10"]


def test_other_json_is_refused(truth: Path, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1}')
    with pytest.raises(InputError, match=r"a\.json"):
        scored(truth, tmp_path / "a.json")
    (tmp_path / "empty").mkdir()
    with refuses(Kind.EMPTY, file="empty"):
        scored(truth, tmp_path / "empty")
    row = boxes()["box"][:4]
    with refuses(Kind.UNKNOWN, field="detections[0]", mentions=["chiar"]):
        scored(truth, detect_file(tmp_path / "b.json", SCENES[0], row, **{"class": "chiar"}))


def test_files_of_mmdet3ds_inferencers_have_the_bottoms_z(truth: Path, tmp_path: Path) -> None:
    rows = boxes()
    for scene in SCENES:
        own = rows["scene"] == scene
        box = rows["box"][own].copy()
        box[:, 2] -= box[:, 5] / 2
        content = {
            "labels_3d": rows["label"][own].tolist(), "scores_3d": [0.9] * len(box),
            "bboxes_3d": box.tolist(), "box_type_3d": "Depth",
        }  # fmt: skip
        (tmp_path / "preds").mkdir(exist_ok=True)
        (tmp_path / "preds" / f"{scene}.json").write_text(json.dumps(content))
    assert scored(truth, tmp_path / "preds").files[0].result["AP50"] > 99.9
    (tmp_path / "a.json").write_text(json.dumps({**content, "box_type_3d": "Camera"}))
    with pytest.raises(InputError, match="Camera"):
        scored(truth, tmp_path / "a.json")


def test_labels_may_be_names_of_classes(truth: Path, tmp_path: Path) -> None:
    names = np.array([SCANNET.classes[label] for label in boxes()["label"]])
    assert scored(truth, found(tmp_path / "a.npz", label=names)).files[0].result["AP50"] > 99.9
    names[3] = "bedd"
    with refuses(Kind.UNKNOWN, file="b.npz", field="label", mentions=["bedd"]):
        scored(truth, found(tmp_path / "b.npz", label=names))


# ------------------------------------------------------------------ mmdet3d's results


class DepthInstance3DBoxes:
    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor, self.box_dim, self.with_yaw = tensor, 7, True


class CameraInstance3DBoxes(DepthInstance3DBoxes):
    pass


def results(cls: type | None, **entries: Callable[[str, int], Any]) -> list[dict[str, Any]]:
    """As mmengine's DumpResults has them; entries: how scenes are named."""
    rows = boxes()
    made = []
    for i, scene in enumerate(SCENES):
        own = rows["scene"] == scene
        box = rows["box"][own].astype(np.float32)
        labels, scores = rows["label"][own], np.linspace(0.9, 0.5, int(own.sum()))
        if cls is None:
            found: dict[str, Any] = {"bboxes_3d": box, "scores_3d": scores, "labels_3d": labels}
        else:
            box[:, 2] -= box[:, 5] / 2  # its tensors begin at the bottom
            found = {
                "bboxes_3d": cls(torch.tensor(box)),
                "scores_3d": torch.tensor(scores),
                "labels_3d": torch.tensor(labels),
            }
        made.append({"pred_instances_3d": found, "box_type_3d": cls}
                    | {name: value(scene, i) for name, value in entries.items()})  # fmt: skip
    return made


def dump(path: Path, cls: type | None, content: Any, protocol: int = 4) -> Path:
    module = "mmdet3d.structures.bbox_3d.depth_box3d"
    with pretending(cls or DepthInstance3DBoxes, module):
        path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("cls", [None, DepthInstance3DBoxes])
@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize(
    "entries",
    [
        {"lidar_path": lambda scene, _: f"data/scannet/points/{scene}.bin"},
        {"lidar_points": lambda scene, _: {"lidar_path": f"points/{scene}.bin"}},
        {"sample_idx": lambda scene, _: scene},
    ],
)
def test_results_that_mmengine_dumped(
    truth: Path, tmp_path: Path, cls: type | None, protocol: int, entries: dict[str, Any]
) -> None:
    file = dump(tmp_path / "results.pkl", cls, results(cls, **entries), protocol)
    assert scored(truth, file).files[0].result["AP50"] > 99.9


class Det3DDataSample:
    """Whose instances are objects too."""

    def __init__(self, entry: dict[str, Any]) -> None:
        self._metainfo_fields = {"lidar_path"}
        self._lidar_path = entry["lidar_path"]
        self._pred_instances_3d = Mode(entry["pred_instances_3d"])


class Mode:
    """Pickled as some versions pickle an enumeration, or as an object of attributes."""

    def __init__(self, values: dict[str, Any] | None = None) -> None:
        self.__dict__.update(values or {})

    def __reduce_ex__(self, protocol: Any) -> Any:
        if not self.__dict__:
            return getattr, (DepthInstance3DBoxes, "DEPTH")
        return super().__reduce_ex__(protocol)


def test_samples_that_were_pickled_whole(truth: Path, tmp_path: Path) -> None:
    rows = results(DepthInstance3DBoxes, lidar_path=lambda scene, _: f"points/{scene}.bin")
    for row in rows:
        row["box_mode_3d"], row["dtype"] = Mode(), torch.float32
    file = dump(tmp_path / "a.pkl", DepthInstance3DBoxes, rows)
    assert scored(truth, file).files[0].result["AP50"] > 99.9
    with pretending(Mode, "mmengine.structures"), pretending(Det3DDataSample, "mmdet.samples"):
        samples = [Det3DDataSample(row) for row in rows]
        file = dump(tmp_path / "b.pkl", DepthInstance3DBoxes, samples)
    assert scored(truth, file).files[0].result["AP50"] > 99.9


def test_results_of_older_versions(truth: Path, tmp_path: Path) -> None:
    content = [
        {
            name.replace("bboxes", "boxes"): value
            for name, value in entry["pred_instances_3d"].items()
        }
        for entry in results(DepthInstance3DBoxes)
    ]
    file = dump(tmp_path / "results.pkl", DepthInstance3DBoxes, content)
    infos = [
        {
            "point_cloud": {}, "pts_path": f"points/{scene}.bin",
            "annos": {
                "gt_num": 4, "name": [SCANNET.classes[i] for i in boxes()["label"][own]],
                "gt_boxes_upright_depth": boxes()["box"][own], "class": boxes()["label"][own],
            },
        }
        for scene in SCENES
        for own in [boxes()["scene"] == scene]
    ]  # fmt: skip
    (tmp_path / "infos.pkl").write_bytes(pickle.dumps(infos))
    assert scored(tmp_path / "infos.pkl", file).files[0].result["AP50"] > 99.9


def test_results_that_cannot_be_scored(truth: Path, tmp_path: Path) -> None:
    index = results(None, sample_idx=lambda _, i: i)[:3]
    with refuses(Kind.CONFLICT, field="[0]", mentions=["lidar_path"]):
        scored(truth, dump(tmp_path / "a.pkl", None, index))
    names = {"sample_idx": lambda scene, _: scene}
    camera = results(CameraInstance3DBoxes, **names)
    with refuses(Kind.VALUE, field="[0]", mentions=["CameraInstance3DBoxes", "convert_to"]):
        scored(truth, dump(tmp_path / "b.pkl", CameraInstance3DBoxes, camera))
    odd = results(None, **names)
    odd[2]["pred_instances_3d"]["scores_3d"] = np.ones(3)
    with pytest.raises(InputError, match=r"\[2\].*4 boxes.*3 scores"):
        scored(truth, dump(tmp_path / "c.pkl", None, odd))
    (tmp_path / "d.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(InputError, match="holds a list"):
        scored(truth, tmp_path / "d.pkl")


def test_results_are_read_without_running_them(truth: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "touched",))

    (tmp_path / "a.pkl").write_bytes(pickle.dumps([{"pred_instances_3d": Trap()}]))
    with pytest.raises(InputError, match="refused"):
        scored(truth, tmp_path / "a.pkl")
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("name", ["a.npz", "a.pkl", "a.json"])
def test_a_pointer_is_not_the_file(truth: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\nsize 9\n")
    with refuses(mentions=["git lfs pull"]):
        scored(truth, tmp_path / name)


def test_a_dictionary_of_lists_may_be_json(truth: Path, tmp_path: Path) -> None:
    rows = boxes()
    entries = {name: rows[name].tolist() for name in ("scene", "label", "box")}
    path = tmp_path / "a.json"
    path.write_text(json.dumps({**entries, "score": [0.5] * 40}))
    assert scored(truth, path).files[0].result["AP50"] == 100


# ------------------------------------------------------------------ why a score is low


def _changed(column: int | slice, values: Callable[[np.ndarray], np.ndarray]) -> Any:
    def change(box: np.ndarray) -> np.ndarray:
        box = box.copy()
        box[:, column] = values(box)
        return box

    return change


MISTAKES: dict[str, tuple[bool, Callable[[np.ndarray], np.ndarray]]] = {
    "bottom_centre": (False, _changed(2, lambda b: b[:, 2] - b[:, 5] / 2)),
    "top_centre": (False, _changed(2, lambda b: b[:, 2] + b[:, 5] / 2)),
    "half_sizes": (False, _changed(slice(3, 6), lambda b: b[:, 3:6] / 2)),
    "double_sizes": (False, _changed(slice(3, 6), lambda b: b[:, 3:6] * 2)),
    "degrees": (True, _changed(6, lambda b: np.degrees(b[:, 6]))),
    "clockwise": (True, _changed(6, lambda b: -b[:, 6])),
    "quarter_turn": (True, lambda b: b[:, [0, 1, 2, 4, 3, 5, 6]]),
    "corners": (False, lambda b: np.concatenate(
        [b[:, :3] - b[:, 3:6] / 2 + 10, b[:, :3] + b[:, 3:6] / 2 + 10, b[:, 6:]], axis=1)),
    "centimetres": (False, lambda b: b * np.array([100] * 6 + [1])),
    "millimetres": (False, lambda b: b * np.array([1000] * 6 + [1])),
    "y_up": (False, lambda b: np.stack(
        [b[:, 0], b[:, 2], -b[:, 1], b[:, 3], b[:, 5], b[:, 4], b[:, 6]], axis=1)),
    "clockwise_from_y": (True, _changed(6, lambda b: np.pi / 2 - b[:, 6])),
    "yaw_of_upright": (False, _changed(6, lambda b: np.linspace(0.3, 3, len(b)))),
    "sizes_from_z": (False, lambda b: b[:, [0, 1, 2, 5, 4, 3, 6]]),
    "sizes_z_x_y": (False, lambda b: b[:, [0, 1, 2, 5, 3, 4, 6]]),
    "sizes_x_z_y": (False, lambda b: b[:, [0, 1, 2, 3, 5, 4, 6]]),
    "low_corner": (False, _changed(slice(0, 3), lambda b: b[:, :3] - b[:, 3:6] / 2)),
    "feet": (False, lambda b: b / np.array([0.3048] * 6 + [1])),
    "inches": (False, lambda b: b / np.array([0.0254] * 6 + [1])),
    "x_y_exchanged": (False, lambda b: b[:, [1, 0, 2, 4, 3, 5, 6]]),
    "mirrored_x": (False, _changed(0, lambda b: -b[:, 0])),
    "mirrored_y": (False, _changed(1, lambda b: -b[:, 1])),
    "shifted": (False, _changed(slice(0, 2), lambda b: b[:, :2] + [3, -2])),
    "half_sizes+bottom_centre": (False, lambda b: np.concatenate(
        [b[:, :2], b[:, 2:3] - b[:, 5:6] / 2, b[:, 3:6] / 2, b[:, 6:]], axis=1)),
}  # fmt: skip


@pytest.mark.parametrize("name", list(MISTAKES))
def test_the_mistake_behind_a_low_score_is_found(tmp_path: Path, name: str) -> None:
    rotated, spoil = MISTAKES[name]
    box = boxes(rotated)["box"]
    if name in ("quarter_turn", "clockwise", "clockwise_from_y"):
        box[:, 3:5] = [2.0, 0.5]  # long boxes, for which it matters
    if name == "clockwise_from_y":
        box[:, 6] = np.linspace(-1.5, 1.5, len(box))
    if name == "corners":
        truth = saved(tmp_path / "truth.npz", box=box + np.array([10] * 3 + [0] * 4))
    else:
        truth = saved(tmp_path / "truth.npz", box=box)
    file = found(tmp_path / "a.npz", box=spoil(box))
    diagnosis = scored(truth, file).files[0].diagnosis
    assert diagnosis is not None
    assert diagnosis.name == name
    assert diagnosis.AP25 + diagnosis.AP50 > 199
    assert sum(diagnosis.was) < 199


@pytest.mark.parametrize(("step", "name"), [(1, "labels_from_1"), (-1, "labels_too_low")])
def test_labels_that_are_shifted_are_found(tmp_path: Path, step: int, name: str) -> None:
    label = boxes()["label"] + 2
    truth = saved(tmp_path / "truth.npz", label=label)
    diagnosis = scored(truth, found(tmp_path / "a.npz", label=label + step)).files[0].diagnosis
    assert diagnosis is not None
    assert diagnosis.name == name


def test_scores_that_are_low_or_high_for_another_reason_are_not_explained() -> None:
    rows, draw = boxes(), np.random.default_rng(1)
    truth = BoxSet(rows["scene"], rows["label"], rows["box"].astype(np.float32))
    for spread in (0.0, 0.3):
        box = rows["box"] + draw.normal(0, spread, (40, 7)) * [1, 1, 1, 0, 0, 0, 0]
        some = BoxSet(rows["scene"], rows["label"], box.astype(np.float32), np.ones(40, np.float32))
        assert diagnose(truth, some, SCANNET.classes, rotated=False) is None
    assert diagnose(truth, some[:0], SCANNET.classes, rotated=False) is None


def test_boxes_that_overlap_nothing_are_told() -> None:
    rows, draw = boxes(), np.random.default_rng(1)
    truth = BoxSet(rows["scene"], rows["label"], rows["box"].astype(np.float32))
    box = rows["box"] + draw.normal(0, 5, (40, 7)) * [1, 1, 1, 0, 0, 0, 0]
    some = BoxSet(rows["scene"], rows["label"], box.astype(np.float32), np.ones(40, np.float32))
    found = diagnose(truth, some, SCANNET.classes, rotated=False)
    assert found is not None
    assert (found.name, found.was) == ("no_overlap", (found.AP25, found.AP50))
    assert f"{found.AP25:.2f}" not in str(found)  # there is no better score to show


def test_classes_in_another_order_are_found(truth: Path, tmp_path: Path) -> None:
    label = np.arange(18)[::-1][boxes()["label"]]
    diagnosis = scored(truth, found(tmp_path / "a.npz", label=label)).files[0].diagnosis
    assert diagnosis is not None
    assert diagnosis.name == "class_order"
    assert diagnosis.AP25 == 100


def test_costs_in_place_of_scores_and_repeated_boxes_are_found(truth: Path, tmp_path: Path) -> None:
    rows = boxes()
    wrong = rows["box"] + draws(rows["box"])
    two = {name: np.concatenate([rows[name]] * 2) for name in ("scene", "label")}
    costs = np.repeat([0.1, 0.9], len(wrong))
    file = saved(tmp_path / "a.npz", **two, box=np.r_[rows["box"], wrong], score=costs)
    diagnosis = scored(truth, file).files[0].diagnosis
    assert diagnosis is not None
    assert diagnosis.name == "costs"
    three = {name: np.concatenate([rows[name]] * 3) for name in ("scene", "label", "box")}
    file = saved(tmp_path / "b.npz", **three, score=np.tile(np.linspace(1, 0.2, len(wrong)), 3))
    diagnosis = scored(truth, file).files[0].diagnosis
    assert diagnosis is not None
    assert (diagnosis.name, diagnosis.AP50) == ("repeated", 100)


def draws(box: np.ndarray) -> np.ndarray:
    """Shifts of metres, another for each box."""
    draw = np.random.default_rng(3)
    return draw.uniform(3, 30, box.shape) * np.array([1, 1, 1, 0, 0, 0, 0])


# ------------------------------------------------------------------ several trainings


def noisy(path: Path, spread: float, seed: int) -> Path:
    draw = np.random.default_rng(seed)
    shift = draw.normal(0, spread, (40, 7)) * [1, 1, 1, 0, 0, 0, 0]
    return found(path, box=boxes()["box"] + shift)


def test_several_trainings_have_an_interval_and_a_difference(truth: Path, tmp_path: Path) -> None:
    good = [noisy(tmp_path / f"good{i}.npz", 0.1, i) for i in range(3)]
    bad = [noisy(tmp_path / f"bad{i}.npz", 0.3, 10 + i) for i in range(4)]
    evaluation = scored(truth, *good, against=tuple(bad))
    for metric in ("AP25", "AP50"):
        ours = [scored(truth, path).files[0].result[metric] for path in good]
        theirs = [scored(truth, path).files[0].result[metric] for path in bad]
        summary = evaluation.summary(metric)
        assert summary.interval == t_interval(ours)
        assert summary.best == max(ours)
        assert summary.mean == pytest.approx(np.mean(ours))
        assert evaluation.comparison(metric) == compare(ours, theirs)
        assert evaluation.difference(metric) == pytest.approx(np.mean(ours) - np.mean(theirs))
        half = evaluation.scene_half_width(metric)
        assert half is not None
        assert 0 < half < 40
    json.dumps(evaluation.to_dict(), allow_nan=False)


def test_one_file_against_one_has_an_interval_over_scenes_alone(
    truth: Path, tmp_path: Path
) -> None:
    evaluation = scored(
        truth, noisy(tmp_path / "a.npz", 0.1, 0), against=(noisy(tmp_path / "b.npz", 0.3, 1),)
    )
    assert evaluation.comparison("AP50") is None
    assert evaluation.scene_half_width("AP50") is not None
    same = scored(truth, tmp_path / "a.npz", against=(tmp_path / "a.npz",))
    assert same.scene_half_width("AP50") == 0
    assert same.difference("AP50") == 0


def test_the_command_prints_scores_differences_and_reasons(
    truth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    low = found(tmp_path / "low.npz", box=MISTAKES["bottom_centre"][1](boxes()["box"]))
    files = [str(noisy(tmp_path / f"a{i}.npz", 0.1, i)) for i in range(2)]
    words = ["evaluate", "--ground-truth", str(truth), "--dataset", "scannet", "--detections"]
    assert main([*words, *files, "--against", str(low)]) == 0
    out, err = capsys.readouterr()
    assert "95 % interval" in out
    assert "difference" in out
    assert "bottom" in err
    assert main([*words, str(low), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["files"][0]["diagnosis"]["name"] == "bottom_centre"
    assert told["AP50"] == told["files"][0]["AP50"] < 1
