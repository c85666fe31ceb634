"""PLY text against plyfile, which reads the same files by another way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plyfile import PlyData, PlyElement

from sr3d.data.scans import ScanOptions, read_scan
from sr3d.data.scans.ply_files import open_ply
from sr3d.errors import InputError
from tests.data.scans.making import room, write_ply

NUMBERS = st.floats(-1e6, 1e6, width=32)


@st.composite
def contents(draw: st.DrawFn) -> tuple[list[tuple[float, float, int]], list[list[int]]]:
    rows = draw(st.lists(st.tuples(NUMBERS, NUMBERS, st.integers(0, 255)), min_size=1, max_size=9))
    length = draw(st.sampled_from([None, 3, 4]))
    sizes = st.lists(
        st.integers(0, 8), min_size=length or 0, max_size=5 if length is None else length
    )
    return rows, draw(st.lists(sizes, max_size=6))


@settings(max_examples=60, deadline=None)
@given(content=contents(), row=st.sampled_from([" ", "\n", " \t"]), extra=st.booleans())
def test_a_stream_of_words_is_what_plyfile_reads_line_by_line(
    content: tuple[list[tuple[float, float, int]], list[list[int]]],
    row: str,
    extra: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    values, faces = content
    vertex = np.array(values, dtype=[("x", "f8"), ("y", "f4"), ("red", "u1")])
    kinds: list[tuple[str, str]] = [("vertex_indices", "O")] + [("flag", "u1")] * extra
    face = np.empty(len(faces), dtype=kinds)
    face["vertex_indices"] = [np.array(each, dtype=np.int32) for each in faces] or None
    if extra:
        face["flag"] = 7
    lists = PlyElement.describe(face, "face", val_types={"vertex_indices": "i4"})
    path = tmp_path_factory.mktemp("ply") / "a.ply"
    PlyData([PlyElement.describe(vertex, "vertex"), lists], text=True).write(str(path))
    expected = PlyData.read(str(path))
    header, body = path.read_text().split("end_header\n")
    path.write_text(header + "end_header\n" + body.replace(" ", row))
    found = open_ply(path)
    for name in ("x", "y", "red"):
        assert np.array_equal(found["vertex"].data[name], expected["vertex"].data[name])
    for one, other in zip(
        found["face"].data["vertex_indices"], expected["face"].data["vertex_indices"], strict=True
    ):
        assert np.array_equal(one, other)
    assert not extra or (np.asarray(found["face"].data["flag"], dtype=int) == 7).all()


@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("faces", [[[0, 1, 2, 3]], [[0, 1, 2], [2, 3, 4, 0]], [[0, 1, 2, 3, 4]]])
def test_polygons_become_triangles(tmp_path: Path, text: bool, faces: list[list[int]]) -> None:
    """A flat pentagon of 3 m × 3 m, whose parts have a known area."""
    corners = np.array([[0, 0, 0], [3, 0, 0], [3, 3, 0], [0, 3, 0], [-1, 1.5, 0]])
    write_ply(tmp_path / "a.ply", corners, faces=faces, text=text)
    area = {(4,): 9.0, (3, 4): 4.5 + 6.0, (5,): 10.5}[tuple(len(face) for face in faces)]
    scan = read_scan(tmp_path / "a.ply", ScanOptions(up="z", unit="m", density=1000))
    assert len(scan.points) == pytest.approx(1000 * area, rel=0.01)


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian"])
def test_faces_that_end_early_are_refused(tmp_path: Path, form: str) -> None:
    write_ply(tmp_path / "a.ply", room(points=200)[0], faces=[[0, 1, 2]] * 9, text=form == "ascii")
    whole = (tmp_path / "a.ply").read_bytes()
    (tmp_path / "a.ply").write_bytes(whole[:-10])
    with pytest.raises(InputError, match=r"a\.ply"):
        read_scan(tmp_path / "a.ply")
