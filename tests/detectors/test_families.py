"""Outside its own files nothing in the package names a family of detectors."""

from __future__ import annotations

import io
import tokenize
from pathlib import Path

import sr3d
from sr3d.detectors import FAMILIES, NETWORKS

PACKAGE = Path(sr3d.__file__).parent
# Who may, and why.
ALLOWED = {
    "detectors/__init__.py": "the table of families",
    "detectors/common/checkpoint_names.py": "one repository published two families",
    "matching/tr3d.py": "an assigner of that name, which is an option of others too",
    "matching/fcaf3d.py": "likewise",
    "study/report/external.py": "names of settings, beside which a row of boxes stands",
    "interop/mmdet3d/": "TR3D's network as a detector of mmdetection3d",
}
ALLOWED |= {f"detectors/{name}/": "the family itself" for name in FAMILIES}


def words_of_code(path: Path) -> list[str]:
    """Names and strings of a module; neither comments nor docstrings, which may cite a source."""
    words, statement_begins = [], True
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type == tokenize.NAME or (token.type == tokenize.STRING and not statement_begins):
            words.append(token.string.lower())
        statement_begins = token.type in (
            tokenize.NEWLINE,
            tokenize.NL,
            tokenize.INDENT,
            tokenize.DEDENT,
            tokenize.COMMENT,
            tokenize.ENCODING,
        )
    return words


def test_no_other_module_names_a_family() -> None:
    named = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(family in word for word in words_of_code(path) for family in FAMILIES)
    }
    assert {path for path in named if not path.startswith(tuple(ALLOWED))} == set()
    for allowed in ALLOWED:  # no reason that nobody needs
        assert any(path.startswith(allowed) for path in named), allowed


def test_a_configuration_can_name_every_family() -> None:
    for name, family in FAMILIES.items():
        assert family.config.of_values({}).model.name == name
    assert set(NETWORKS.values()) == set(FAMILIES)
