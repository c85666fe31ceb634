"""The interface of a family of detectors for the rest of the package."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sr3d.config import Config

if TYPE_CHECKING:
    from torch import Tensor

    from sr3d.detectors.base import Detector

    Weights = Mapping[str, Tensor]

Need = Literal["instance", "mean_sizes", "superpoints"]


@dataclass(frozen=True)
class Family:
    """title: printed name. config: the class of its configurations, whose `model.name` is the
    family's. build: makes a detector with fresh weights from such a configuration. checkpoints: how
    other repositories store its weights, None if none publishes any.

    needs: what training takes from the data besides points and boxes, see `needs`. `instance` is
    `Scene.instance`, if the original files of a data set have it. SUN RGB-D and own data have only
    boxes: there it is None, and the family takes the points inside a box as the points of its
    object. `mean_sizes` is `Dataset.mean_sizes`. `superpoints` is `Scene.superpoints`, which an
    evaluation needs too, and which is computed for scenes that come without.

    Nothing here imports torch before it is called, because a configuration needs no torch.
    """

    title: str
    config: type[Config]
    build: Callable[[Any], Detector[Any, Any]]
    checkpoints: CheckpointFormat | None = None
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True)
class Published:
    """convert: our weights to the names and conventions of a repository. entry: the key of the
    weights in its files.
    """

    convert: Callable[[Weights], dict[str, Tensor]] = dict
    entry: str = "state_dict"


@dataclass(frozen=True)
class Inferred:
    """classes: their number. rotated: whether boxes have a yaw. overrides: of the network. preset:
    of the network, if it is not the family's first one.
    """

    classes: int
    rotated: bool
    overrides: tuple[str, ...] = ()
    preset: str | None = None


def without_ddp(name: str) -> str | None:
    """The name of a weight without the prefix of DistributedDataParallel."""
    return name.removeprefix("module.")


def unchanged(weights: Weights, names: Collection[str]) -> dict[str, Tensor]:
    """`CheckpointFormat.adopt` of a family whose conventions are the published ones."""
    return dict(weights)


@dataclass(frozen=True, kw_only=True)
class CheckpointFormat:
    """The files of the repositories that published a family.

    landmark: a regular expression for the published names of one weight that every file of the
    family has. The text before it in a file is the prefix of the training program.
    recognises: whether weights of these names, ours, belong to this family.
    written_by: the repository that uses these published names, in words.
    infer: the properties of the network, from weights under our names and in our conventions.
    published: formats that `sr3d convert --to NAME` writes, by this name.
    own_name: our name of a published one, None for a copy that is not part of the network.
    adopt: converts weights under our names to our conventions. It also gets the names in the file,
    which show who wrote it.
    """

    landmark: str
    recognises: Callable[[Collection[str]], bool]
    written_by: Callable[[Collection[str]], str]
    infer: Callable[[Weights], Inferred]
    published: Mapping[str, Published]
    own_name: Callable[[str], str | None] = without_ddp
    adopt: Callable[[Weights, Collection[str]], dict[str, Tensor]] = unchanged
