"""What the training of a detector takes from the data besides points and boxes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from sr3d.config import Config
from sr3d.data.datasets import DATASETS, dataset_of
from sr3d.data.mean_sizes import MeanSizes
from sr3d.data.prepared import Manifest, PreparedDataset
from sr3d.detectors.family import Family
from sr3d.errors import InputError, Kind


def with_needs(config: Config, family: Family, scenes: PreparedDataset) -> Config:
    """The configuration with what its family needs to know of the scenes.

    A family without needs gets its configuration back unchanged.

    Raises:
        InputError: the scenes lack instances that the family needs, or have no box.
    """
    if lacks_instances(family, scenes.manifest) and not config.replaces_instances:
        raise InputError(
            f"the scenes have no instances, and {family.title} learns from them",
            file=scenes.folder,
            field="model.name",
            kind=Kind.MISSING,
            remedy=remedy(scenes.folder, scenes.manifest),
        )
    return with_mean_sizes(config, family, scenes.mean_sizes)


def with_mean_sizes(config: Config, family: Family, find: Callable[[], MeanSizes]) -> Config:
    """The configuration with mean sizes, if its family needs them and none are known.

    find: is called only then.
    """
    return replace(config, mean_sizes=find()) if lacks_mean_sizes(config, family) else config


def lacks_mean_sizes(config: Config, family: Family) -> bool:
    """Whether a family needs mean sizes that neither configuration nor data set has."""
    return "mean_sizes" in family.needs and not dataset_of(config).mean_sizes


def lacks_instances(family: Family, manifest: Manifest) -> bool:
    """Whether a family needs instances that the folder does not have but could have."""
    possible = manifest.dataset in DATASETS and DATASETS[manifest.dataset].instances
    return "instance" in family.needs and possible and not manifest.has_instances


def remedy(folder: Path, manifest: Manifest) -> str:
    """How to add instances to a folder."""
    if "prepared by mmdet3d" in manifest.source:
        return (
            f"Run `sr3d prepare mmdet3d … --out {folder}` with mmdet3d's instance_mask beside "
            f"points, or `sr3d prepare {manifest.dataset} …` with the original files."
        )
    data = "synthetic --rotated" if manifest.dataset == "synthetic_rotated" else manifest.dataset
    return (
        f"Run the command that prepared it, `sr3d prepare {data} … --out {folder}`, again. It adds "
        "instances. Points and boxes stay the same, and finished runs stay valid."
    )


def contents(folder: Path, manifest: Manifest, families: Mapping[str, Family]) -> str:
    """One line: what the prepared data hold, and which detectors lack something."""
    count = sum("instances" in facts for facts in manifest.scenes.values())
    if manifest.has_instances:
        return "points, colours, boxes, and the instance of each point"
    some = f"instances in {count} of {len(manifest.scenes)} scenes" if count else "no instances"
    held = f"points, colours, boxes, {some}"
    lacking = [name for name, family in families.items() if lacks_instances(family, manifest)]
    if not lacking:
        return f"{held}. No detector of this version needs them here"
    return f"{held}, which {', '.join(lacking)} needs. {remedy(folder, manifest)}"
