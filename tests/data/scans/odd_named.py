"""Odd PLY and PCD files, whose fields have names, and what is right for them."""

from __future__ import annotations

import numpy as np

from sr3d.errors import Kind
from tests.data.scans import odd_files as odd
from tests.data.scans.expected import BRIGHT, FEW, NONE, SOME, Case, Read, Refused
from tests.data.scans.making import Array
from tests.data.scans.odd_files import COLORS, POINTS, RGB, XYZ, named, places


def lines(*replaced: tuple[str, str], form: str = "binary_little_endian") -> list[str]:
    """The PLY header with some lines replaced; a line break makes several."""
    header = "\n".join(odd.ply_header([*XYZ, *RGB], form))
    for old, new in replaced:
        assert old in header
        header = header.replace(old, new)
    return header.split("\n")


def f4(values: Array) -> Array:
    return values.astype(np.float32)


HARMONICS = f4((COLORS / 255 - 0.5) / 0.28209479177387814)
FULL = [*XYZ, *RGB]
ASCII = lines(form="ascii")
SURVEY = np.array([5e5, 5.4e6, 120])

PLY: list[Case] = [
    ("capitals", odd.ply([*XYZ, *named("Red Green Blue")]), Read()),
    ("one-letter", odd.ply([*XYZ, *named("r g b")]), Read()),
    ("upper-places", odd.ply([*named("X Y Z", f4(POINTS)), *RGB]), Read()),
    ("diffuse", odd.ply([*XYZ, *named("diffuse_red diffuse_green diffuse_blue")]), Read()),
    ("ambient", odd.ply([*XYZ, *named("ambient_red ambient_green ambient_blue")]), Read()),
    ("scalar", odd.ply([*XYZ, *named("scalar_Red scalar_Green scalar_Blue", f4(COLORS))]), Read()),
    ("scalar-R", odd.ply([*XYZ, *named("scalar_R scalar_G scalar_B", f4(COLORS))]), Read()),
    ("floats", odd.ply([*XYZ, *named("red green blue", BRIGHT)]), Read()),
    ("shorts", odd.ply([*XYZ, *named("red green blue", COLORS.astype("u2") * 257)]), Read()),
    ("shorts-of-bytes", odd.ply([*XYZ, *named("red green blue", COLORS.astype("u2"))]), Read()),
    ("splats", odd.ply([*XYZ, *named("f_dc_0 f_dc_1 f_dc_2", HARMONICS)]), Read()),
    ("splats-text", odd.ply_text([*XYZ, *named("f_dc_0 f_dc_1 f_dc_2", HARMONICS)]), Read()),
    ("splats-compressed", odd.compressed_splats(), Refused("packed_position", "uncompressed")),
    ("packed-uint", odd.ply([*XYZ, ("rgba", odd.packed())]), Read()),
    ("packed-no-alpha", odd.ply([*XYZ, ("rgb", odd.packed(0))]), Read()),
    ("packed-int", odd.ply([*XYZ, ("rgba", odd.packed().view("i4"))]), Read()),
    ("packed-float", odd.ply([*XYZ, ("rgb", odd.packed().view("f4"))]), Read()),
    ("packed-alpha-last", odd.ply([*XYZ, ("rgba", odd.packed(0) << 8 | 255)]), Read()),
    ("color-is-a-number", odd.ply([*XYZ, ("color", f4(POINTS[:, 2]))]), NONE),
    ("intensity", odd.ply([*XYZ, ("intensity", f4(POINTS[:, 2]))]), NONE),
    ("black", odd.ply([*XYZ, *named("red green blue", COLORS * 0)]), NONE),
    ("white", odd.ply([*XYZ, *named("red green blue", COLORS * 0 + 255)]), NONE),
    ("grey", odd.ply([*XYZ, *named("red green blue", COLORS * 0 + 204)]), NONE),
    ("cut-to-bytes", odd.ply([*XYZ, *named("red green blue", COLORS // 128)]), NONE),
    (
        "nan-colours",
        odd.ply([*XYZ, *named("red green blue", f4(odd.changed(SOME, np.nan, COLORS)))]),
        NONE,
    ),
    (
        "few-nan-colours",
        odd.ply([*XYZ, *named("red green blue", f4(odd.changed(FEW, np.nan, COLORS)))]),
        Read(dropped=FEW),
    ),
    ("double", odd.ply([*places(POINTS.astype("f8")), *RGB]), Read()),
    ("crlf", odd.ply(FULL, end="\r\n"), Read()),
    ("blank-lines", odd.ply(FULL, lines(("element", "\nelement"))), Read()),
    ("indented", odd.ply(FULL, lines(("property", "  \tproperty"))), Read()),
    ("indented-text", odd.ply_text(FULL, [f"    {line}" for line in ASCII]), Read()),
    ("spaces-after", odd.ply(FULL, lines(("uchar red", "uchar red  "))), Read()),
    ("end-with-space", odd.ply(FULL, lines(("end_header", "end_header "))), Read()),
    ("comment", odd.ply(FULL, lines(("element", "comment Größe 3 m\nelement"))), Read()),
    ("obj-info", odd.ply(FULL, lines(("element", "obj_info made by x\nelement"))), Read()),
    ("late-comment", odd.ply(FULL, lines(("end_header", "obj_info x\nend_header"))), Read()),
    ("byte-order-mark", b"\xef\xbb\xbf" + odd.ply(FULL), Read()),
    ("numpy-types", odd.ply(FULL, lines(("float", "float32"), ("uchar", "uint8"))), Read()),
    (
        "twice",
        odd.ply([*XYZ, *named("scalar scalar scalar", f4(POINTS)), *RGB]),
        Read(),
    ),
    ("name-with-spaces", odd.ply([*XYZ, ("scalar_Original cloud index", XYZ[0][1]), *RGB]), Read()),
    ("no-faces", odd.ply(FULL, lines(("end_header", "element face 0\nproperty list uchar int "
                                      "vertex_indices\nend_header"))), Read()),
    ("camera-after", odd.ply(FULL, lines(("end_header", "element camera 1\nproperty float "
                                          "view_px\nend_header"))) + bytes(4), Read()),
    ("rows-on-two-lines", odd.ply_text(FULL, ASCII, row="\n"), Read()),
    ("all-on-one-line", odd.ply_text(FULL, ASCII, end=" "), Read()),
    ("blank-rows", odd.ply_text(FULL, ASCII, end="\n\n"), Read()),
    ("tabs-and-crlf", odd.ply_text(FULL, ASCII, row="\t", end=" \r\n"), Read()),
    ("decimal-commas", odd.ply_text(FULL).replace(b"1.0\n", b"1,0\n").replace(b".", b","), Read()),
    ("bytes-as-floats", odd.ply_text([*XYZ, *named("red green blue", BRIGHT)], ASCII), Read()),
    ("nan", odd.ply([*places(odd.changed(SOME, np.nan)), *RGB]), Read(dropped=SOME)),
    ("nan-text", odd.ply_text([*places(odd.changed(SOME, np.nan)), *RGB]), Read(dropped=SOME)),
    ("nan-of-windows", odd.ply_text([*places(odd.changed(SOME, np.nan)), *RGB])
     .replace(b"nan", b"-1.#IND"), Read(dropped=SOME)),
    ("infinity", odd.ply([*places(odd.changed(SOME, np.inf)), *RGB]), Read(dropped=SOME)),
    ("zeros", odd.ply([*places(odd.changed(SOME, 0)), *RGB]), Read(dropped=SOME)),
    ("many-1e10", odd.ply([*places(odd.changed(SOME, 1e10)), *RGB]), Read(dropped=SOME)),
    ("many-minus-9999", odd.ply([*places(odd.changed(SOME, -9999)), *RGB]), Read(dropped=SOME)),
    ("float-max", odd.ply([*places(odd.changed(SOME, 3.4028235e38)), *RGB]), Read(dropped=SOME)),
    ("one-far", odd.ply([*places(odd.changed([7], 5000)), *RGB]), Read(dropped=(7,))),
    ("some-far", odd.ply([*places(odd.changed(FEW, [[300, 1, 1], [9, 400, 2]])), *RGB]),
     Read(dropped=FEW)),
    ("hardly-one-measured", odd.ply([*places(odd.changed(slice(50, None), np.nan)), *RGB]),
     Refused("2,350 of 2,400", kind=Kind.VALUE)),
    ("none-measured", odd.ply([*places(odd.changed(slice(None), np.nan)), *RGB]),
     Refused("2,400 of 2,400", kind=Kind.VALUE)),
    ("a-handful", odd.ply([(name, values[:20]) for name, values in FULL]),
     Refused("20", kind=Kind.VALUE)),
    ("centimetres-long", odd.ply(places(f4(POINTS * 0.01))), Refused("--unit")),
    ("a-town", odd.ply(places(f4(POINTS * [60, 60, 2]))), Refused("--unit", kind=Kind.VALUE)),
    ("a-line", odd.ply(places(f4(POINTS[:, :1] * [[1, 2, 3]]))), Refused(kind=Kind.VALUE)),
    ("survey", odd.ply([*places(POINTS.astype("f8") + SURVEY), *RGB]), Read()),
    ("survey-in-float", odd.ply([*places(f4(POINTS + SURVEY)), *RGB]),
     Refused("0.5 m", kind=Kind.VALUE)),
    ("cut-off", odd.ply(FULL)[:-40], Refused("PLY")),
    ("cut-off-text", odd.ply_text(FULL)[:-40], Refused("2399 of 2400")),
    ("no-number", odd.ply_text(FULL).replace(b"\n", b"\nx ", 12), Refused("")),
    ("no-places", odd.ply(RGB), Refused("red, green, blue", "x, y and z")),
    ("no-vertex", odd.ply(FULL, lines(("element vertex", "element point"))), Refused("vertex")),
    ("unknown-line", odd.ply(FULL, lines(("element", "elment"))), Refused("elment")),
    ("no-end", odd.ply(FULL, lines(("end_header", "")))[:200], Refused("end_header")),
    ("lfs", odd.lfs_pointer(), Refused("1,952,856", "git lfs pull")),
    ("annex", b"/annex/objects/SHA256E-s1--4d7a.ply\n", Refused("git annex get")),
    ("web-page", b"<!DOCTYPE html><html>Log in</html>", Refused(kind=Kind.UNREADABLE)),
    ("gzip", b"\x1f\x8b\x08" + bytes(50), Refused("gunzip")),
    ("empty", b"", Refused(kind=Kind.EMPTY)),
    ("is-npy", odd.npy(POINTS), Refused(".npy")),
    ("is-pcd", odd.pcd(FULL), Refused(".pcd")),
    ("is-text", odd.text(POINTS).encode(), Refused(kind=Kind.UNREADABLE)),
]  # fmt: skip

PACKED = ("rgb", odd.packed(0))
SPACED = ("Original cloud index", XYZ[0][1])
PCD: list[Case] = [
    ("upper", odd.pcd([*XYZ, ("RGB", odd.packed(0))]), Read()),
    ("upper-places", odd.pcd([*named("X Y Z", POINTS), PACKED]), Read()),
    ("letters", odd.pcd([*XYZ, *named("R G B")]), Read()),
    ("floats", odd.pcd([*XYZ, *named("r g b", BRIGHT)]), Read()),
    ("float-bits", odd.pcd([*XYZ, ("rgb", odd.packed(0).view("f4"))]), Read()),
    ("float-bits-alpha", odd.pcd([*XYZ, ("rgb", odd.packed().view("f4"))]), Read()),
    ("float-bits-text", odd.pcd([*XYZ, ("rgb", odd.packed(0).view("f4"))], "ascii"), Read()),
    ("float-bits-alpha-text", odd.pcd([*XYZ, ("rgb", odd.packed().view("f4"))], "ascii"), NONE),
    ("float-number", odd.pcd([*XYZ, ("rgb", odd.packed(0).astype("f4"))]), Read()),
    ("number-text", odd.pcd([*XYZ, ("rgb", odd.packed())], "ascii", TYPE="F F F F"), Read()),
    ("unsigned-text", odd.pcd([*XYZ, ("rgba", odd.packed(0))], "ascii"), Read()),
    ("signed", odd.pcd([*XYZ, ("rgba", odd.packed().view("i4"))]), Read()),
    ("black", odd.pcd([*XYZ, ("rgb", odd.packed(0) * 0)]), NONE),
    ("black-floats-text", odd.pcd([*XYZ, ("rgb", f4(POINTS[:, 0]) * 0)], "ascii"), NONE),
    ("intensity", odd.pcd([*XYZ, ("intensity", POINTS[:, 0])]), NONE),
    ("columns", odd.pcd([*XYZ, PACKED], FIELDS="", COLUMNS="x y z rgb", VERSION=".5"), Read()),
    ("no-count", odd.pcd([*XYZ, PACKED], COUNT=""), Read()),
    ("no-points", odd.pcd([*XYZ, PACKED], POINTS="", WIDTH="60", HEIGHT="40"), Read()),
    ("twice", odd.pcd([*XYZ, PACKED, ("i", POINTS[:, 0]), ("i", POINTS[:, 0])]), Read()),
    ("spaces", odd.pcd([*XYZ, PACKED, SPACED]), Read()),
    ("spaces-first", odd.pcd([SPACED, *XYZ, PACKED]), Read()),
    ("spaces-unclear", odd.pcd([*XYZ, SPACED, ("other name", POINTS[:, 0])]), Refused("FIELDS")),
    ("nan-text", odd.pcd([*places(odd.changed(SOME, np.nan)), PACKED], "ascii"),
     Read(dropped=SOME)),
    ("nan-and-its-colour", odd.pcd([
        *places(odd.changed(SOME, np.nan)),
        ("rgb", odd.changed(SOME, np.nan, odd.packed(0).view("f4")[:, None])[:, 0].astype("f4")),
    ]), Read(dropped=SOME)),
    ("few-without-colour", odd.pcd([
        *XYZ,
        ("rgb", odd.changed(FEW, np.nan, odd.packed(0).view("f4")[:, None])[:, 0].astype("f4")),
    ]), Read(dropped=FEW)),
    ("blank-rows", odd.pcd([*XYZ, PACKED], "ascii").replace(b"\n-", b"\n\n-"), Read()),
    ("crlf", odd.pcd([*XYZ, PACKED], "ascii").replace(b"\n", b"\r\n"), Read()),
    ("small-letters", odd.pcd([*XYZ, PACKED]).replace(b"FIELDS", b"fields"), Read()),
    ("double", odd.pcd([*places(POINTS.astype("f8")), PACKED]), Read()),
    ("more-behind", odd.pcd([*XYZ, PACKED]) + bytes(100), Read()),
    ("far", odd.pcd([*places(odd.changed([7], 1e6)), PACKED]), Read(dropped=(7,))),
    ("cut-off", odd.pcd([*XYZ, PACKED])[:-100], Refused("bytes")),
    ("cut-off-text", odd.pcd([*XYZ, PACKED], "ascii")[:-100], Refused("POINTS", "2400")),
    ("too-many-text", odd.pcd([*XYZ, PACKED], "ascii", POINTS="2000"), Refused("POINTS")),
    ("no-places", odd.pcd([PACKED]), Refused("FIELDS rgb", "x, y and z")),
    ("lfs", odd.lfs_pointer(), Refused("git lfs pull")),
]  # fmt: skip
