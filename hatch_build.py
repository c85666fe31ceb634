"""Puts the Snakemake workflow into the wheel, where `sr3d workflow DIR` finds it.

An editable install needs no copy: the files lie beside sr3d/ in the checkout. pyproject.toml lists
the parts, because this file runs without sr3d's dependencies.
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class WorkflowFiles(BuildHookInterface):
    """Adds the parts of the workflow below `sr3d/_workflow`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """version: "standard", or "editable"."""
        if version == "standard":
            parts = self.config["parts"]
            build_data["force_include"] |= {name: f"sr3d/_workflow/{name}" for name in parts}
