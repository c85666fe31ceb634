"""LZF against a reference that copies byte by byte, and against a compressor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sr3d.data.scans.lzf import decompress
from tests.data.scans.making import lzf_compress

literals = st.binary(min_size=1, max_size=32).map(lambda data: ("literal", data, 0))
copies = st.tuples(st.just("copy"), st.integers(3, 264), st.integers(1, 8192))


@given(st.lists(st.one_of(literals, copies), max_size=12))
def test_any_stream_gives_what_copying_byte_by_byte_gives(tokens: list) -> None:
    packed, out = bytearray(), bytearray()
    for kind, what, back in tokens:
        if kind == "literal":
            packed += bytes([len(what) - 1]) + what
            out += what
        elif out:
            distance = (back - 1) % min(len(out), 8192) + 1
            for _ in range(what):
                out.append(out[-distance])
            high = (distance - 1) >> 8
            length = what - 2
            packed += bytes([length << 5 | high] if length < 7 else [224 | high, length - 7])
            packed.append((distance - 1) & 255)
    assert decompress(bytes(packed), len(out)) == bytes(out)


@given(st.lists(st.sampled_from([b"abc", b"abcabd", b"\0\0\0\0", b"x"]), max_size=300))
def test_what_was_compressed_comes_back(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    assert decompress(lzf_compress(data), len(data)) == data


@pytest.mark.parametrize(
    ("packed", "size"), [(b"\x05ab", 6), (b"\x20", 3), (b"\x00a\x20\x05", 4), (b"\x01ab", 3)]
)
def test_damage_is_told(packed: bytes, size: int) -> None:
    with pytest.raises(ValueError, match="compressed data"):
        decompress(packed, size)
