"""Snakemake starts fast: reading the workflow imports no torch, which takes a second a process."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.workflow.checkout import ROOT, STUB


def test_reading_the_workflow_imports_no_torch() -> None:
    files = [ROOT / "Snakefile", *sorted((ROOT / "workflow" / "rules").glob("*.smk")), STUB]
    lines = re.compile(r"^(?:from (?:sr3d|workflow)[\w.]*) import [\w, ]+$", re.MULTILINE)
    imports = [line for file in files for line in lines.findall(file.read_text(encoding="utf-8"))]
    assert len(imports) > 10
    program = "\n".join([*imports, "import sys", "sys.exit('torch' in sys.modules)"])
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
