"""What the rest of the package knows of a family of detectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sr3d.config import Config

if TYPE_CHECKING:
    from torch import Tensor

    from sr3d.detectors.base import Detector
    from sr3d.detectors.common.checkpoint_names import Naming

    Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Family:
    """title: its name in print. config: its configuration, whose `model.name` is the family's.
    build: a detector with fresh weights, for a configuration of this class.

    recognises: whether weights, under our names, are of this family.
    publish: our weights under the names, and in the conventions, of a repository that published the
    detector. adopt: weights under our names whose conventions may differ, in ours; it also gets the
    names in the file, which show who wrote it.

    Nothing here imports torch before it is called, so that a configuration needs no torch.
    """

    title: str
    config: type[Config]
    build: Callable[[Any], Detector[Any, Any]]
    recognises: Callable[[Weights], bool]
    publish: Callable[[Weights, Naming], dict[str, Tensor]]
    adopt: Callable[[Weights, list[str]], dict[str, Tensor]]
