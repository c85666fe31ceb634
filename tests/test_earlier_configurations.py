"""Configurations that version 0.1 wrote, with fields of all families in each, still load.

The file has every setting on every data set, and both families' presets: the first line whole, the
others as what differs from it. Digests decide whether a finished run is used again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sr3d.config import Config
from sr3d.detectors.configuration import (
    config_from_dict,
    default_config,
    preset_names,
    with_overrides,
)
from sr3d.errors import InputError, Kind
from sr3d.validation import flatten

LINES = [
    json.loads(line)
    for line in Path(__file__).with_name("earlier_configurations.jsonl").read_text().splitlines()
]
FIRST = flatten(LINES[0]["config"])


def earlier(line: dict[str, Any]) -> dict[str, Any]:
    """The nested values of a line."""
    nested: dict[str, Any] = {}
    for name, value in (FIRST | line.get("changes", {})).items():
        *groups, key = name.split(".")
        node = nested
        for group in groups:
            node = node.setdefault(group, {})
        node[key] = value
    return nested


def read() -> list[tuple[dict[str, Any], Config]]:
    return [(line, config_from_dict(earlier(line))) for line in LINES]


def test_the_file_has_all_data_sets_and_both_families() -> None:
    found = {(config.dataset, config.model.name) for _, config in read()}
    assert len(found) == 2 * 6


LATER = {"mean_sizes", "train.keep_last", "train.warmup_epochs", "augment.keep_front"}
LATER |= {"augment.crop", "augment.crop_aspect", "augment.crop_points", "augment.crop_when"}
LATER |= {"augment.elastic", "augment.tilt", "augment.colour_shift", "augment.colour_noise"}
LATER |= {"augment.shift"}
LATER |= {"train.dampening", "train.decay", "train.decay_steps"}


def test_they_have_the_same_values_and_digests() -> None:
    for line, config in read():
        assert config.digest() == line["digest"]
        before = flatten(earlier(line))
        now = config.flat()
        assert {name for name in now if name not in before} == LATER
        assert {name: now[name] for name in now if name in before} == {
            name: before[name] for name in now if name in before
        }
        assert config_from_dict(config.to_dict()) == config


def test_the_same_overrides_give_them() -> None:
    groups = preset_names()
    for line, config in read():
        ordered = sorted(line["overrides"], key=lambda o: o.split("=")[0] not in groups)
        assert with_overrides(default_config(config.dataset, config.own), ordered) == config


def test_before_there_were_two_families_there_was_no_name() -> None:
    value = earlier(LINES[0])
    del value["model"]["name"]
    assert config_from_dict(value) == default_config("scannet")


def test_a_field_that_would_now_be_ignored_is_refused() -> None:
    """FCAF3D's assigner on TR3D's network has the published parameters now."""
    value = earlier(LINES[0])
    value["assigner"] |= {"name": "fcaf3d", "fcaf3d_top": 5}
    with pytest.raises(InputError) as error:
        config_from_dict(value)
    assert (error.value.field, error.value.kind) == ("assigner.fcaf3d_top", Kind.UNKNOWN)
    value["assigner"]["fcaf3d_top"] = 18
    assert config_from_dict(value).flat()["assigner.name"] == "fcaf3d"
