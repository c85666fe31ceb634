"""docs/commands.md is what its script writes, and the site lists every page."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import DOCS, ROOT


def test_the_page_is_what_the_script_writes(tmp_path: Path) -> None:
    written = tmp_path / "commands.md"
    subprocess.run([sys.executable, DOCS / "write_commands.py", written], check=True, cwd=ROOT)
    assert (DOCS / "commands.md").read_text() == written.read_text(), (
        "run: python docs/write_commands.py"
    )


def test_the_site_lists_every_page() -> None:
    listed = set(re.findall(r"[\w/]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    assert listed == {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
