"""Read and check `workflow/tables.yaml`.

`contents.py` declares the file's structure. This module checks rules between several values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sr3d.errors import InputError, Kind
from sr3d.study.report.paper.contents import (
    AmountClaim,
    AtMostClaim,
    CitedClaim,
    Claim,
    CurveBelowClaim,
    DifferenceClaim,
    EqualClaim,
    EquivalenceClaim,
    HighestClaim,
    Paper,
    PaperTable,
    Tradeoff,
    TrendClaim,
)
from sr3d.validation import did_you_mean, json_schema, read_yaml, validate

_TINY = math.ulp(0.0)  # the smallest positive number


def paper_schema() -> dict[str, Any]:
    """The JSON schema of `tables.yaml`."""
    return json_schema(Paper)


def read_paper(path: str | Path) -> Paper:
    """Read and check `tables.yaml`.

    Raises:
        InputError: a missing file, not YAML, or an entry that is unknown, absent or of the wrong
            kind.
    """
    content = read_yaml(path)
    paper = validate(Paper, content, path)
    for (name, table), entry in zip(paper.tables.items(), content["tables"].values(), strict=True):
        place = _Place(path, f"tables.{name}")
        _check_table(table, place)
        for i, row in enumerate(entry["rows"]):
            if "setting" not in row and "paper" not in row:  # a row that we neither run nor cite
                raise place.wrong(f"rows[{i}].paper", "is missing", Kind.MISSING)
    for name, figure in paper.figures.items():
        if isinstance(figure, Tradeoff):
            _Place(path, f"figures.{name}").known("table", figure.table, list(paper.tables))
    for name, claim in paper.claims.items():
        place = _Place(path, f"claims.{name}")
        place.known("of", claim.of, [*paper.tables, *paper.figures])
        _check_claim(claim, place)
    return Paper(
        {name: replace(table, name=name) for name, table in paper.tables.items()},
        {name: replace(figure, name=name) for name, figure in paper.figures.items()},
        {name: replace(claim, id=name) for name, claim in paper.claims.items()},
    )


@dataclass(frozen=True)
class _Place:
    """An entry of the file, for errors about its keys."""

    file: str | Path
    field: str

    def known(self, key: str, name: str, names: Sequence[str]) -> None:
        """Refuse a name that is not among the known names."""
        if name not in names:
            raise self.wrong(key, f"'{name}'{did_you_mean(name, names)}", Kind.UNKNOWN)

    def require(self, holds: bool, key: str, wanted: str, found: Any) -> None:
        """Refuse a value that contradicts other values."""
        if not holds:
            found = list(found) if isinstance(found, tuple) else found
            raise self.wrong(key, f"expected {wanted}, got '{found}'", Kind.CONFLICT)

    def wrong(self, key: str, problem: str, kind: Kind) -> InputError:
        """The error that names the file and the key."""
        return InputError(problem, file=self.file, field=f"{self.field}.{key}", kind=kind)


def _check_table(table: PaperTable, place: _Place) -> None:
    settings = [row.setting for row in table.rows if row.setting]
    twice = next((name for i, name in enumerate(settings) if name in settings[:i]), None)
    if twice is not None:
        raise place.wrong("rows", f"'{twice}' has two rows, expected one", Kind.CONFLICT)
    if table.reference is not None:
        place.known("reference", table.reference, settings)
    for i, row in enumerate(table.rows):
        for j, tick in enumerate(row.ticks):
            place.known(f"rows[{i}].ticks[{j}]", tick, table.components)


def _check_claim(claim: Claim, place: _Place) -> None:
    match claim:
        case HighestClaim():
            wanted = f"the other settings, without '{claim.setting}'"
            others = bool(claim.among) and claim.setting not in claim.among
            place.require(others, "among", wanted, claim.among)
        case TrendClaim():
            values = [value for value, _ in claim.along]
            place.require(len(values) >= 3, "along", "three settings or more", values)
            above = not claim.log or values[0] > 0
            place.require(above, "along", "values above zero, because log is true", values)
        case CitedClaim():
            pass
        case _:
            place.require(claim.over != claim.setting, "over", "another setting", claim.over)
            if not isinstance(claim, CurveBelowClaim | EqualClaim):
                _check_numbers(claim, place)


def _check_numbers(
    claim: DifferenceClaim | AmountClaim | EquivalenceClaim | AtMostClaim, place: _Place
) -> None:
    """Refuse the paper's numbers that contradict their claim, or on data sets without the claim."""
    for dataset in claim.paper:
        place.known(f"paper.{dataset}", dataset, claim.datasets)
    low, high = -math.inf, math.inf  # both included
    match claim:
        case DifferenceClaim() | AmountClaim():
            wanted = f"numbers of the direction '{claim.direction}'"
            low, high = (_TINY, high) if claim.direction == "higher" else (low, -_TINY)
        case EquivalenceClaim():
            wanted = "numbers within the margin"
            low, high = -claim.margin, claim.margin
            if claim.scale == "ratio":
                place.require(claim.margin > 1, "margin", "a ratio above 1", claim.margin)
                low = 1 / claim.margin
        case AtMostClaim():
            wanted = "ratios above 0 and up to the limit"
            low, high = _TINY, claim.limit
    agree = all(low <= number <= high for number in claim.paper.values())
    place.require(agree, "paper", wanted, dict(claim.paper))
