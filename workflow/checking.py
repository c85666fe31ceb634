"""The workflow's files, checked against workflow/schemas.

Not by `snakemake.utils.validate`: that reads a schema's file again at every reference into it, a
thousand times, which was most of what a dry run took.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError
from referencing import Registry, Resource

from workflow.refusal import Refusal

SCHEMAS = Path(__file__).parent / "schemas"


def check(value: dict[str, Any], schema: str, file: str) -> None:
    """Refuse a value that does not follow workflow/schemas/{schema}.schema.yaml.

    Raises:
        Refusal: what is wrong and where in `file`, in one sentence.
    """
    validator = Draft202012Validator({"$ref": f"{schema}.schema.yaml"}, registry=_schemas())
    try:
        validator.validate(value)
    except ValidationError as wrong:
        if list(wrong.absolute_path) == ["device"] and str(wrong.instance).startswith("mps"):
            raise Refusal(
                f"{file}: device mps: sr3d does not run on Apple GPUs; use device cpu"
            ) from None
        where = "".join(f"[{key}]" for key in wrong.absolute_path)
        raise Refusal(
            f"{file}{where}: {wrong.message}. "
            f"workflow/schemas/{schema}.schema.yaml lists what is allowed."
        ) from None


@cache
def _schemas() -> Registry[Any]:
    """All of them, by the names under which they refer to each other."""
    paths = sorted(SCHEMAS.glob("*.schema.yaml"))
    contents = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths}
    resources = {name: Resource.from_contents(value) for name, value in contents.items()}
    return Registry().with_resources(resources.items())
