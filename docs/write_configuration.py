"""Write docs/configuration.md from the dataclasses of `sr3d/config.py` and the comments beside
their fields: `python docs/write_configuration.py [FILE.md]`.

A field's comment stands behind it, or above it where there is no room. What a data set or a preset
changes is asked of the code, not written down.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import json
import sys
import tokenize
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from sr3d.config import DATASETS, Config, default_config
from sr3d.fields import range_of
from sr3d.presets import PRESETS

PAGE = Path(__file__).with_name("configuration.md")
FIRST = "scannet"  # the data set whose defaults are the dataclasses' own

_HEAD = """\
# The configuration

*Written by `docs/write_configuration.py` from `sr3d/config.py`; change it there.*

Every key, its values, its default and what it means. Change one by its dotted name:

    sr3d train … --set assigner.k=7 train.batch_size=8
    sr3d config --dataset sunrgbd --set augment=tr3d        # what a run would have

A list is written `[8, 11]`. Every value is checked: its type, its range, and whether it goes with
the others. A misspelt name is refused with the nearest known one. Equations and tables are the
paper's; [readings](readings.md) says why a default is what it is. Folders, devices and threads are
no configuration: `sr3d train --help`.

The defaults are those of ScanNet. "Elsewhere" lists the data sets that differ: `sunrgbd`, `s3dis`,
`own` ([own data](own_data.md), where few scenes change `train.repeat` besides), and procedural
rooms, `synthetic` and `synthetic_rotated`.
"""
_PRESETS = """\
## Presets

`--set model=NAME`, `train=NAME` and `augment=NAME` set the whole of their group, and what cannot go
without. Presets come first, then what differs from them: `--set train=tr3d train.batch_size=8`. A
preset after a value that it would replace is refused. Below is what each changes of the defaults
of a data set.

"""


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for name, group in groups():
        parts.append(f"## {name or 'The run'}\n\n{_doc(group)}\n\n{_table(name, group)}")
    return "\n".join([*parts, _PRESETS + _presets()])


def groups() -> Iterator[tuple[str, Any]]:
    """The groups of the configuration by name; first, as '', what belongs to none."""
    yield "", Config
    for name, hint in typing.get_type_hints(Config).items():
        if dataclasses.is_dataclass(hint):
            yield name, hint


def _doc(group: type) -> str:
    return " ".join((inspect.getdoc(group) or "").split())


def _table(prefix: str, group: type) -> str:
    comments, hints = comments_of(group), typing.get_type_hints(group, include_extras=True)
    fields = [name for name, hint in hints.items() if not dataclasses.is_dataclass(hint)]
    rows = [["key", "values", "default", "elsewhere", "meaning"], ["---"] * 5]
    for field in fields:
        key = f"{prefix}.{field}" if prefix else field
        default = _value(_flat(FIRST)[key])
        row = [f"`{key}`", _values(hints[field]), default, _elsewhere(key), comments[field]]
        rows.append([cell.replace("|", "\\|") for cell in row])
    return _lines(rows)


def comments_of(group: type) -> dict[str, str]:
    """The comment of each field of a dataclass; '' where there is none."""
    source = inspect.getsource(group)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}
    [definition] = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    found, last = {}, 0
    for node in definition.body:
        assert node.end_lineno is not None
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            lines = range(last + 1, node.end_lineno + 1)
            found[node.target.id] = " ".join(comments[line] for line in lines if line in comments)
        last = node.end_lineno
    return found


def _values(hint: Any) -> str:
    """What may be written, in words."""
    if (allowed := range_of(hint)) is not None:
        return f"{_kind(hint)} {allowed}"
    return _kind(hint)


def _kind(hint: Any) -> str:
    """The type of a field in words, without its range."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in args)
    if origin is Annotated:
        return _kind(args[0])
    kinds = {int: "whole number", float: "number", bool: "`true`, `false`", str: "text"}
    if origin is tuple:
        item = typing.get_args(args[0])[0] if typing.get_origin(args[0]) is Annotated else args[0]
        several = {int: "whole numbers", float: "numbers", str: "names"}[item]
        return several if args[-1] is Ellipsis else f"{len(args)} {several}"
    return kinds[hint]


def _value(value: Any) -> str:
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


def _flat(dataset: str, *overrides: str) -> dict[str, Any]:
    return default_config(dataset).with_overrides(overrides).flat()


def _elsewhere(key: str) -> str:
    """The data sets with another default, those of the same together."""
    if key == "dataset":
        return ""
    values = {name: _flat(name)[key] for name in DATASETS}
    other = {name: _value(value) for name, value in values.items() if value != values[FIRST]}
    return "; ".join(f"{text} {_names(names)}" for text, names in _by_value(other).items())


def _presets() -> str:
    rows = [["preset", "on", "sets"], ["---"] * 3]
    for group, names in PRESETS.items():
        for name in names:
            preset = f"{group}={name}"
            sets = {dataset: _changes(dataset, preset) for dataset in DATASETS}
            for text, datasets in _by_value(sets).items():
                rows.append([f"`{preset}`", _names(datasets), text or "nothing: the defaults"])
    return _lines(rows)


def _changes(dataset: str, preset: str) -> str:
    before, after = _flat(dataset), _flat(dataset, preset)
    changed = [f"{k}={json.dumps(v)}" for k, v in after.items() if v != before[k]]
    return ", ".join(f"`{text}`" for text in changed)


def _by_value(texts: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, text in texts.items():
        found.setdefault(text, []).append(name)
    return found


def _names(datasets: list[str]) -> str:
    return "all" if len(datasets) == len(DATASETS) else ", ".join(datasets)


def _lines(rows: list[list[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    path.write_text(page(), encoding="utf-8")
