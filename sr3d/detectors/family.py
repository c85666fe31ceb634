"""What the rest of the package knows of a family of detectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from sr3d.config import Config
from sr3d.detectors.base import Detector
from sr3d.detectors.common.checkpoint_names import Naming

Weights = Mapping[str, Tensor]
Need = Literal["instance", "mean_sizes"]


@dataclass(frozen=True)
class Family:
    """title: its name in print. build: a detector with fresh weights, for a configuration.

    recognises: whether weights, under our names, are of this family.
    publish: our weights under the names, and in the conventions, of a repository that published the
    detector. adopt: weights under our names whose conventions may differ, in ours; it also gets the
    names in the file, which show who wrote it.

    needs: what its training takes from the data besides points and boxes; see `needs`. `instance`:
    `Scene.instance`, if the original files of a data set have it. SUN RGB-D and own data have boxes
    alone. There it is None, and the family takes the points inside a box for its object's.
    `mean_sizes`: `Dataset.mean_sizes`.
    """

    title: str
    build: Callable[[Config], Detector[Any, Any]]
    recognises: Callable[[Weights], bool]
    publish: Callable[[Weights, Naming], dict[str, Tensor]]
    adopt: Callable[[Weights, list[str]], dict[str, Tensor]]
    needs: tuple[Need, ...] = ()
