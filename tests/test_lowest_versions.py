"""envs/lowest.txt, by which `make test-lowest` installs, has the lower bounds of pyproject.toml."""

import re
import tomllib
from pathlib import Path

from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
BOUND = re.compile(r"(?P<name>[\w-]+)(?:\[\w+\])?>=(?P<version>[\d.]+)")
BY_TORCH = {"triton"}  # each PyTorch names the one version that it goes with


def test_the_lowest_versions_are_the_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["pipeline"], *extras["test"]]
    bounds = {m["name"].lower(): Version(m["version"]) for m in map(BOUND.match, wanted) if m}
    lines = (ROOT / "envs" / "lowest.txt").read_text().splitlines()
    pins = [line.split("==") for line in lines if not line.startswith("#")]
    assert {name: Version(version) for name, version in pins} == {
        name: bound for name, bound in bounds.items() if name not in BY_TORCH
    }
