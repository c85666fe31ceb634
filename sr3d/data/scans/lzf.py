"""LZF, the compression of PCD files: literals, and copies of what came before.

The format is that of Marc Lehmann's liblzf: a byte below 32 announces one more literal than it
says; any other gives a length in its upper three bits and, with the next byte, how far back to
copy from.
"""

from __future__ import annotations


def decompress(data: bytes, size: int) -> bytes:
    """Exactly `size` bytes.

    Raises:
        ValueError: the data end early, reach back too far or give another size.
    """
    out = bytearray()
    at, end = 0, len(data)
    try:
        while at < end:
            control = data[at]
            at += 1
            if control < 32:
                out += data[at : at + control + 1]
                at += control + 1
                continue
            length = control >> 5
            if length == 7:
                length += data[at]
                at += 1
            start = len(out) - ((control & 31) << 8) - data[at] - 1
            at += 1
            length += 2
            if start < 0:
                raise ValueError("compressed data reach back before their beginning")
            piece = out[start : start + length]
            while len(piece) < length:  # the copy overlaps what it writes
                piece += piece[: length - len(piece)]
            out += piece
            if len(out) > size:
                break
    except IndexError:
        raise ValueError("compressed data end early") from None
    if len(out) != size or at > end:
        raise ValueError(f"compressed data give {len(out)} bytes, not {size}")
    return bytes(out)
