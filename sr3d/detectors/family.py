"""The interface of a family of detectors for the rest of the package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sr3d.config import Config

if TYPE_CHECKING:
    from torch import Tensor

    from sr3d.detectors.base import Detector
    from sr3d.detectors.common.checkpoint_names import Naming

    Weights = Mapping[str, Tensor]

Need = Literal["instance", "mean_sizes"]


@dataclass(frozen=True)
class Family:
    """title: printed name. config: the class of its configurations, whose `model.name` is the
    family's. build: makes a detector with fresh weights from such a configuration.

    recognises: whether weights, under our names, belong to this family.
    publish: converts our weights to the names and conventions of a repository that published the
    detector. adopt: converts weights under our names to our conventions. It also gets the names in
    the file, which show who wrote it.
    needs: what training takes from the data besides points and boxes; see `needs`. `instance` is
    `Scene.instance`, if the original files of a data set have it. SUN RGB-D and own data have only
    boxes: there it is None, and the family takes the points inside a box as the points of its
    object. `mean_sizes` is `Dataset.mean_sizes`.

    Nothing here imports torch before it is called, because a configuration needs no torch.
    """

    title: str
    config: type[Config]
    build: Callable[[Any], Detector[Any, Any]]
    recognises: Callable[[Weights], bool]
    publish: Callable[[Weights, Naming], dict[str, Tensor]]
    adopt: Callable[[Weights, list[str]], dict[str, Tensor]]
    needs: tuple[Need, ...] = ()
