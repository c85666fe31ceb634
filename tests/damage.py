"""Damage to files, the same at every run: flipped bits, and cuts."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sr3d.errors import InputError


def flipped_bits(data: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """Copies of `data` with one flipped bit each, half of them among the first 4096 bytes.

    Headers are small beside values, and where a flip can hurt in most ways.
    """
    draw = random.Random(seed)
    for number in range(count):
        place = draw.randrange(len(data) if number % 2 else min(len(data), 4096))
        changed = bytearray(data)
        changed[place] ^= 1 << draw.randrange(8)
        yield bytes(changed)


def cut_off(data: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """The first bytes of `data`: none, one, all but one, and other numbers of them."""
    draw = random.Random(seed)
    lengths = {0, 1, len(data) - 1, *(draw.randrange(len(data)) for _ in range(count))}
    return (data[:length] for length in sorted(lengths))


def assert_detected_or_harmless(path: Path, flips: int, cuts: int, read: Any, same: Any) -> int:
    """Damage a file in many ways; `read()` raises InputError that names it, or gives the `same`.

    Returns how often it was detected. The file is whole again in the end.
    """
    whole, detected = path.read_bytes(), 0
    try:
        expected = read()
        for damaged in [*flipped_bits(whole, flips), *cut_off(whole, cuts)]:
            path.write_bytes(damaged)
            try:
                found = read()
            except InputError as error:
                if path.name not in str(error):
                    raise AssertionError(f"{path.name} is not named") from error
                detected += 1
            else:
                assert same(found, expected), f"{path.name}: damage was used without a word"
    finally:
        path.write_bytes(whole)
    assert same(read(), expected)
    return detected
