"""Files from the field that failed once; each folder's EXPECT.txt says what is right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from sr3d.data.scans import find_scans, read_scan
from sr3d.errors import InputError
from tests.shared_data import shared


@dataclass(frozen=True)
class Right:
    """points: how many. colors: whether there are some. fact: name and a part of its text."""

    points: int = 2400
    colors: bool = True
    fact: tuple[str, str] = ("points", "")


ROOM, BARE = Right(), Right(colors=False)
PLACEHOLDER = Right(2399, fact=("left out", "1 of 2,400"))
UNMEASURED = Right(2057, fact=("left out", "343 of 2,400"))

# Words of a refusal, or the right scan.
SCANS: dict[str, Right | str] = {
    "bin_five_columns/scan.bin": Right(colors=False, fact=("width", "5 float32")),
    "bin_float64_3/scan.bin": Right(colors=False, fact=("width", "3 float64")),
    "bin_labels_int64/scan.bin": "int64",
    "bin_xyzi_rgb/scan.bin": Right(fact=("columns", "x y z _ r g b")),
    "lfs_pointer_bin_132/scan.bin": "git lfs pull",
    "npy_nan/scan.npy": UNMEASURED,
    "npy_structured/scan.npy": ROOM,
    "npy_transposed3/scan.npy": Right(colors=False, fact=("shape", "(3, 2400)")),
    "npy_xyz_normals/scan.npy": "normals",
    "npy_xyz_normals_rgb/scan.npy": "--columns",
    "npy_xyzi_rgb/scan.npy": Right(fact=("columns", "x y z _ r g b")),
    "txt_xyzrgb/scan.txt": ROOM,
    "txt_xyzrgb/scan.xyz": ROOM,
    "txt_xyzrgb/scan.asc": ROOM,
    "txt_xyzrgb/scan.csv": ROOM,
    "txt_xyzrgb/scan.pts": ROOM,
    "txt_xyzrgb/scan.PLY": "begins with",
    **{
        f"txt_xyzrgb/scan.{kind}": f".{kind}"
        for kind in ("e57", "usdz", "splat", "drc", "ptx", "zip")
    },
    "pcd_RGB_upper/scan.pcd": ROOM,
    "pcd_R_G_B/scan.pcd": ROOM,
    "pcd_ascii_rgb_float_is_integer/scan.pcd": ROOM,
    "pcd_ascii_rgb_float_nan/scan.pcd": Right(colors=False, fact=("colours", "lost")),
    "pcd_ascii_rgb_zero/scan.pcd": Right(colors=False, fact=("colours", "black")),
    "pcd_columns_v5/scan.pcd": ROOM,
    "pcd_duplicate_fields/scan.pcd": BARE,
    "pcd_field_names_with_spaces/scan.pcd": ROOM,
    "ply_1e10/scan.ply": PLACEHOLDER,
    "ply_flt_max/scan.ply": PLACEHOLDER,
    "ply_one_stray_point/scan.ply": PLACEHOLDER,
    "ply_nan_points/scan.ply": UNMEASURED,
    "ply_Red_Green_Blue/scan.ply": Right(fact=("colours", "Red")),
    "ply_scalar_red/scan.ply": Right(fact=("colours", "scalar_red")),
    "ply_packed_rgba/scan.ply": Right(fact=("colours", "rgba")),
    "ply_gaussian_splats/scan.ply": Right(fact=("colours", "f_dc_0")),
    "ply_all_black/scan.ply": Right(colors=False, fact=("colours", "black")),
    "ply_float_survey/scan.ply": "grid of 0.5 m",
    "ply_indented_header/scan.ply": ROOM,
    "ply_realsense_two_lines/scan.ply": ROOM,
}
FOLDERS = {
    "bin_mmdet3d_tree/s": ["points/scene0000_00.bin"],
    "npy_mmdet3d_instance_folder/s": ["scene0000_00_vert.npy"],
    "npy_pointcept_folder/s": ["Area_1/office_1/coord.npy"],
}


@pytest.mark.parametrize("case", SCANS)
def test_a_file_from_the_field(case: str) -> None:
    expected, path = SCANS[case], shared(f"cases/{case}")
    if isinstance(expected, str):
        with pytest.raises(InputError) as error:
            read_scan(path)
        assert str(error.value).startswith(f"{path}: ")
        assert expected in str(error.value)
        return
    scan = read_scan(path)
    assert len(scan.points) == expected.points
    extent = np.ptp(scan.points, axis=0)
    assert np.abs(extent - [4, 4, 2.6]).max() < 0.2
    assert (scan.colors is not None) == expected.colors
    if scan.colors is not None:  # the room is painted by the place
        assert scan.colors.std(axis=0).min() > 0.1
    name, part = expected.fact
    assert any(part in str(fact) for fact in scan.facts if fact.name == name)


def test_all_files_with_colours_have_the_same() -> None:
    """They are one room in many formats."""
    reference = read_scan(shared("cases/ply_Red_Green_Blue/scan.ply"))
    assert reference.colors is not None
    for case, expected in SCANS.items():
        if expected == ROOM or (isinstance(expected, Right) and expected.points == 2400):
            scan = read_scan(shared(f"cases/{case}"))
            assert np.abs(scan.points - reference.points).max() < 1e-3, case
            if scan.colors is not None:
                assert np.abs(scan.colors - reference.colors).max() < 1 / 255, case


@pytest.mark.parametrize("case", FOLDERS)
def test_a_folder_from_the_field(case: str) -> None:
    found = find_scans([shared(f"cases/{case}")])
    assert [name.as_posix() for _, name in found] == FOLDERS[case]
    for path, _ in found:
        scan = read_scan(path)
        assert (len(scan.points), scan.colors is not None) == (2400, True)
