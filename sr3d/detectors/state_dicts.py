"""Finds the network's weights in a checkpoint, in the wrappers of any training program.

Programs store weights under `state_dict`, `model`, `net`, …, also nested, and put prefixes before
each name: `module.` (DistributedDataParallel), `model.` (Lightning), `_orig_mod.` (torch.compile).
Every family has a weight whose name shows where the network is (`CheckpointFormat.landmark`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor

from sr3d.data.torch_files import StandIn, StoredTensor
from sr3d.detectors import FAMILIES
from sr3d.errors import InputError, Kind

_AVERAGED = re.compile(r"(?:^|[._])(?:ema|averag|teacher|swa|shadow)", re.IGNORECASE)
_FIRST = ("state_dict", "model_state_dict", "model", "model_state")
_DEEPEST = 4  # maximum depth of nested mappings


@dataclass(frozen=True)
class StateDict:
    """Weights by name, without the prefix of the program.

    where: the path of entries to them, such as `model.state_dict`, empty at the top. others: paths
    of further copies of the network. left_out: other names, without this prefix.
    """

    weights: dict[str, Any]
    where: str = ""
    prefix: str = ""
    others: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def about(self) -> str:
        """The place of the weights in words, empty if it is mmdetection3d's."""
        words = []
        if self.where not in ("", "state_dict"):
            words.append(f"the weights are under '{self.where}'")
        if self.prefix not in ("", "module."):
            words.append(f"the names of the weights begin with '{self.prefix}'")
        if self.others:
            words.append(f"other copies of the network are left out ({', '.join(self.others)})")
        if self.left_out:
            few = ", ".join(self.left_out[:3]) + (", …" if len(self.left_out) > 3 else "")
            words.append(f"{len(self.left_out)} other tensors are left out ({few})")
        return "; ".join(words)


def find_state_dict(content: Any, path: Path) -> StateDict:
    """The weights in a checkpoint's content.

    If the file has a network and its average, returns the plain network. If it has the network of
    no family, returns the largest group of tensors.

    Raises:
        InputError: no tensors by name, or several networks.
    """
    groups = dict(_groups(content))
    if not groups:
        problem, remedy = _without_weights(content)
        raise InputError(problem, file=path, kind=Kind.UNREADABLE, remedy=remedy)
    landmarks = _landmarks()
    places = [
        (where, match.group())
        for where, tensors in groups.items()
        for match in map(landmarks.match, tensors)
        if match
    ]
    if not places:
        where = max(groups, key=lambda where: len(groups[where]))
        return StateDict(groups[where], where)
    plain = [place for place in places if not _AVERAGED.search(".".join(place))] or places
    plain.sort(key=_rank)
    if len(plain) > 1 and _rank(plain[0]) == _rank(plain[1]):
        raise InputError(
            f"holds several networks ({', '.join(map(_shown, plain))})",
            file=path,
            kind=Kind.CONFLICT,
            remedy="Save the state_dict of one network.",
        )
    where, prefix = plain[0]
    tensors = groups[where]
    others = [place for place in places if place != (where, prefix)]
    copies = [copy for place, copy in others if place == where]
    apart = [
        name
        for name in tensors
        if not name.startswith(prefix)
        and not any(copy and name.startswith(copy) for copy in copies)
    ]
    return StateDict(
        {name.removeprefix(prefix): v for name, v in tensors.items() if name.startswith(prefix)},
        where,
        prefix,
        tuple(map(_shown, others)),
        tuple(apart),
    )


@cache
def _landmarks() -> re.Pattern[str]:
    """Matches the prefix before the landmark of any family."""
    known = {f.checkpoints.landmark for f in FAMILIES.values() if f.checkpoints}
    return re.compile(rf"(?:^|.*\.)(?=(?:{'|'.join(sorted(known))})$)")


def _groups(content: Any, where: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping of names to tensors, with the path of entries to it."""
    if not isinstance(content, Mapping) or depth > _DEEPEST:
        return
    tensors = {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, StoredTensor | Tensor)
    }
    if tensors:
        yield where, tensors
    for name, value in content.items():
        if isinstance(name, str) and not name.startswith("optim"):
            yield from _groups(value, f"{where}.{name}" if where else name, depth + 1)


def _rank(place: tuple[str, str]) -> tuple[int, int]:
    where, prefix = place
    known = _FIRST.index(where) if where in _FIRST else len(_FIRST)
    return known, prefix.count(".")


def _shown(place: tuple[str, str]) -> str:
    return "'" + ".".join(part for part in (place[0], place[1].rstrip(".")) if part) + "'"


def _without_weights(content: Any) -> tuple[str, str]:
    """The problem and the remedy for content without weights."""
    objects = [content] if isinstance(content, StandIn) else []
    if isinstance(content, Mapping):
        objects = [value for value in content.values() if isinstance(value, StandIn)]
        models = [value for value in objects if not value.origin.startswith("argparse.")]
        entries = ", ".join(map(str, content)) or "none"
        if not models:
            return (
                f"holds no weights (its entries are {entries})",
                "Pass the file with the model's state_dict.",
            )
        objects = models
    if objects:
        return (
            f"holds an object of {objects[0].origin} instead of weights by name",
            "Save `model.state_dict()` in the program that wrote it, because sr3d does not run "
            "code from files.",
        )
    return f"holds a {type(content).__name__} and no weights", "Pass a model's checkpoint."
