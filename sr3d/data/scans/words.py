"""Numbers in text, as programs on every system print them."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np

from sr3d.data.scans.content import Array
from sr3d.errors import InputError

# What Microsoft's C library prints, such as -1.#IND and -nan(ind), and what numpy takes for it.
_ODD = re.compile(rb"[-+]?(?:nan\(\w*\)|\d\.#\w+)", re.IGNORECASE)


def read_numbers(text: bytes, path: Path) -> Array:
    """(N,) float64, all words of a text; line ends are spaces.

    Raises:
        InputError: a word that is no number.
    """
    numbers = _all(text)
    if numbers is None:
        numbers = _all(plain_numbers(text))
    if numbers is None and b"," in text and b"." not in text:  # decimal commas
        numbers = _all(text.replace(b",", b"."))
    if numbers is None:
        raise InputError(f"{path}: {_first_odd(text)}; export it again")
    return numbers


_UTF16 = (b"\xff\xfe", b"\xfe\xff")  # its byte order marks, as Windows writes them


def is_utf16(head: bytes) -> bool:
    """Whether a file that begins so is text in UTF-16."""
    return head.startswith(_UTF16)


def plain_numbers(text: bytes) -> bytes:
    """The text with `nan` for every word that stands for no number, however it was printed."""
    return _ODD.sub(b"nan", text) if b".#" in text or b"(" in text else text


def _all(text: bytes) -> Array | None:
    """None if there is a word that is no number."""
    if not text or text.isspace():
        return np.zeros(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # the sign of older versions of numpy
        try:
            return np.fromstring(text, dtype=np.float64, sep=" ")
        except (DeprecationWarning, ValueError):
            return None


def _first_odd(text: bytes) -> str:
    for number, line in enumerate(text.splitlines(), 1):
        for word in line.split():
            try:
                float(word)
            except ValueError:
                shown = word[:30].decode("latin-1")
                return f"line {number} of the data has '{shown}', which is no number"
    return "the data are no numbers"
