"""Numbers in text: streams of words, and tables in .txt, .xyz, .asc, .csv and .pts files.

A table may have a line of names.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sr3d.data.scans.content import Array, Content, Fact
from sr3d.data.scans.naming import different, read_named
from sr3d.data.scans.table import read_table
from sr3d.errors import InputError, Kind

# NaN and infinity as Microsoft's C library writes them, such as -1.#IND and -nan(ind).
_ODD = re.compile(rb"[-+]?(?:nan\(\w*\)|\d\.#\w+)", re.IGNORECASE)

TEXT_KINDS = (".txt", ".xyz", ".asc", ".csv", ".pts", ".xyzrgb", ".xyzn")
_HEAD = 65536  # the first row must be within these first bytes
_FEWEST = 100  # minimum number of rows of a scan in a folder
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
_COMMA = re.compile(r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?")  # a number with a decimal comma
_LEICA = "xyz_rgb"  # .pts files of seven columns have an intensity before the colours


def read_numbers(text: bytes, path: Path) -> Array:
    """(N,) float64: all words of a text. Line ends count as spaces.

    Raises:
        InputError: a word is not a number.
    """
    numbers = _all(text)
    if numbers is None:
        numbers = _all(plain_numbers(text))
    if numbers is None and b"," in text and b"." not in text:  # decimal commas
        numbers = _all(text.replace(b",", b"."))
    if numbers is None:
        raise InputError(
            _first_odd(text), file=path, kind=Kind.UNREADABLE, remedy="Export it again."
        )
    return numbers


def is_utf16(head: bytes) -> bool:
    """Whether a file that begins with these bytes is text in UTF-16."""
    return any(head.startswith(mark) for mark, form in _MARKS.items() if form == "utf-16")


def plain_numbers(text: bytes) -> bytes:
    """The text with `nan` in place of every other spelling of NaN and infinity."""
    return _ODD.sub(b"nan", text) if b".#" in text or b"(" in text else text


def _all(text: bytes) -> Array | None:
    """All numbers, or None if a word is not a number."""
    if not text or text.isspace():
        return np.zeros(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # older numpy reports bad words so
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
                return f"line {number} of the data has '{shown}', which is not a number"
    return "the data are not numbers"


class _Form(NamedTuple):
    """delimiter: None for spaces and tabs. comma: whether it is the decimal separator."""

    delimiter: str | None
    comma: bool

    def split(self, line: str) -> list[str]:
        words = [word.strip().strip('"') for word in line.strip().split(self.delimiter)]
        if self.delimiter and words and not words[-1]:
            words.pop()  # a line may end with the delimiter
        return [word.replace(",", ".") for word in words] if self.comma else words


_FORMS = (
    _Form(";", False), _Form(";", True), _Form(",", False), _Form(None, False), _Form(None, True),
)  # fmt: skip


class _Layout(NamedTuple):
    """form: of the rows. names: of the columns, empty without a line of names. numbers: the columns
    that hold numbers. Without names, all columns do. width: number of columns. skip: number of
    lines before the first row.
    """

    form: _Form
    names: Sequence[str]
    numbers: Sequence[int]
    width: int
    skip: int

    def words(self) -> list[str]:
        """Names of the columns without numbers."""
        return [name for i, name in enumerate(self.names) if i not in self.numbers]


def read_text(path: Path, columns: str | None = None) -> Content:
    """Points, and colours if available, from a table in text.

    columns: see `ScanOptions`. It takes precedence over a line of names.

    Raises:
        InputError: rows are not numbers or differ in length, or the columns are ambiguous.
    """
    text = _decode(path.read_bytes())
    layout = _layout(text[:_HEAD], whole=len(text) <= _HEAD)
    if layout is None:
        raise InputError(
            "has no rows of three or more numbers",
            file=path,
            kind=Kind.EMPTY,
            remedy="Export the points as x y z r g b.",
        )
    _check_skipped(text.split("\n", layout.skip)[: layout.skip], path)
    body = text.encode("ascii")
    if layout.form.comma:
        body = body.replace(b",", b".")
    if mark := layout.form.delimiter:
        body = re.sub(rb"%s[ \t]*$" % mark.encode(), b"", body, flags=re.MULTILINE)
    try:
        table = np.loadtxt(
            BytesIO(body),
            delimiter=mark,
            skiprows=layout.skip,
            ndmin=2,
            quotechar='"',
            usecols=layout.numbers if layout.words() else None,
        )
    except ValueError as error:
        reason = str(error).split(";")[0]
        raise InputError(
            f"{reason} (rows count from the first after line {layout.skip})",
            file=path,
            kind=Kind.VALUE,
            remedy="Correct or delete that line, or export it again.",
        ) from None
    if layout.names and (columns is None or columns.isdecimal()):
        names = [layout.names[i] for i in layout.numbers]
        fields = dict(zip(different(names), table.T, strict=True))
        why = f"named before line {layout.skip + 1}"
        if words := layout.words():
            why += f". Ignored, because they hold no numbers: {', '.join(words)}"
        fact = Fact("columns", " ".join(names), why)
        return read_named(fields, path, "columns", text=True, facts=[fact])
    if columns is None and path.suffix.lower() == ".pts" and table.shape[1] == len(_LEICA):
        columns = _LEICA
    return read_table(table, path, columns)


def _check_skipped(lines: list[str], path: Path) -> None:
    """Refuse words among the numbers of the rows before the first valid row."""
    for number, line in enumerate(lines, 1):
        words = re.split(r"[\s,;]+", line.strip())
        odd = [word for word in words if not is_number(word)]
        if len(words) >= 3 and 2 * len(odd) < len(words):
            raise InputError(
                f"line {number} has '{odd[0]}' among its numbers",
                file=path,
                kind=Kind.VALUE,
                remedy="Correct or delete that line.",
            )


def is_text_scan(path: Path) -> bool:
    """Whether a text file in a folder is a scan: at least a hundred rows of at least three numbers,
    and names of coordinates if it has names.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    text = _decode(head)
    layout = _layout(text, whole=len(head) < _HEAD)
    if layout is None or text.count("\n") - layout.skip < _FEWEST:
        return False
    some = np.zeros(1)
    try:
        if layout.names:
            read_named(dict.fromkeys(layout.names, some), path, "columns")
    except InputError:
        return False
    return True


def _decode(data: bytes) -> str:
    form = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "latin-1")
    lines = data.decode(form, "replace").replace("\r\n", "\n").replace("\r", "\n")
    return plain_numbers(lines.encode("ascii", "replace")).decode("ascii")


def _layout(text: str, whole: bool) -> _Layout | None:
    """The position and the form of the first row of at least three numbers."""
    lines = text.split("\n")
    if not whole and lines:
        lines.pop()  # it may be cut off
    for skip, line in enumerate(lines):
        if line.lstrip().startswith(("#", "//")):
            continue
        rows = [row for form in _FORMS if (row := _as_row(line, form, lines[:skip]))]
        if rows:
            return max(rows, key=lambda row: len(row.numbers) / row.width)
    return None


def _as_row(line: str, form: _Form, before: list[str]) -> _Layout | None:
    """A line as the first row if it has at least three numbers and, without names, no words."""
    words = form.split(line)
    numbers = [i for i, word in enumerate(words) if is_number(word)]
    if len(numbers) < 3 or not _fits(form, line):
        return None
    names = _names(before, form, len(words))
    if not names and len(numbers) < len(words):
        return None
    return _Layout(form, names, numbers, len(words), len(before))


def _fits(form: _Form, line: str) -> bool:
    """Whether a decimal comma stands between the digits of each number with a fraction."""
    if not form.comma:
        return True
    words = line.strip().split(form.delimiter)
    return any(_COMMA.fullmatch(word.strip()) for word in words)


def _names(before: list[str], form: _Form, width: int) -> list[str]:
    """The names of the columns, from the last line before the rows with as many words."""
    for line in reversed(before):
        bare = line.strip().lstrip("#/ \t")
        for split in (form, _Form(None, False), _Form(",", False)):
            words = split.split(bare)
            if len(words) == width and not any(map(is_number, words)):
                return words
    return []


def is_number(word: str) -> bool:
    """Whether a word is a number, NaN and infinity included."""
    try:
        float(word)
    except ValueError:
        return False
    return True
