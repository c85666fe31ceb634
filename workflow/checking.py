"""The workflow's files, checked against workflow/schemas.

Not by `snakemake.utils.validate`: that reads a schema's file again at every reference into it, a
thousand times, which was most of what a dry run took.
"""

from __future__ import annotations

from difflib import get_close_matches
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
            f"{file}{where}: {_plainly(wrong)}. "
            f"workflow/schemas/{schema}.schema.yaml lists what is allowed."
        ) from None


def _plainly(wrong: ValidationError) -> str:
    """What is wrong; of an unknown key, with the nearest known one."""
    if wrong.validator not in ("additionalProperties", "unevaluatedProperties"):
        return wrong.message
    known = {*wrong.schema.get("properties", {})}
    for contents in _contents().values():
        for part in (contents, *contents.get("$defs", {}).values()):
            known |= part.get("properties", {}).keys()
    unknown = [key for key in wrong.instance if f"'{key}'" in wrong.message]
    near = get_close_matches(unknown[0], sorted(known), n=1) if unknown else []
    words = f"unknown key {', '.join(map(repr, unknown))}" if unknown else wrong.message
    return words + (f" (did you mean '{near[0]}'?)" if near else "")


@cache
def _schemas() -> Registry[Any]:
    """All of them, by the names under which they refer to each other."""
    resources = {name: Resource.from_contents(value) for name, value in _contents().items()}
    return Registry().with_resources(resources.items())


@cache
def _contents() -> dict[str, Any]:
    paths = sorted(SCHEMAS.glob("*.schema.yaml"))
    return {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths}
