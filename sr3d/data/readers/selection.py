"""Which scenes a data set's reader prepares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from sr3d.errors import InputError


def select_scenes(
    splits: Mapping[str, Sequence[str]], wanted: Sequence[str] | None
) -> dict[str, list[str]]:
    """All scenes of every split, or those `wanted`; in the order of the splits.

    Raises:
        InputError: a scene that is listed twice, or wanted but in no split, or nothing wanted.
    """
    listed = [scene for ids in splits.values() for scene in ids]
    asked = listed if wanted is None else wanted
    for names in (listed, asked):
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise InputError(f"{twice[0]}: the scene is listed twice; list it once")
    if not asked:
        raise InputError("no scenes to prepare; name at least one")
    known, chosen = set(listed), set(asked)
    if strange := next((scene for scene in asked if scene not in known), None):
        close = get_close_matches(strange, listed, n=1, cutoff=0.8)
        hint = f"did you mean '{close[0]}'?" if close else "it has no known ground truth"
        raise InputError(f"{strange}: not among the scenes of {' and '.join(splits)}; {hint}")
    kept = {split: [s for s in ids if s in chosen] for split, ids in splits.items()}
    return {split: ids for split, ids in kept.items() if ids}
