"""Which scenes a data set's reader prepares, and whether their files are there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

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


def require_files(files: Mapping[str, Sequence[Path]], remedy: str) -> None:
    """Refuse to begin while any scene lacks a file.

    Raises:
        InputError: says how many scenes lack one, and what the first three of them lack.
    """
    lacking = [
        missing
        for paths in files.values()
        if (missing := [path for path in paths if not path.is_file()])
    ]
    if lacking:
        # Where the whole folder is missing, its name says enough.
        named = [p if p.parent.is_dir() else p.parent for missing in lacking[:3] for p in missing]
        names = ", ".join(dict.fromkeys(map(str, named))) + (", …" if len(lacking) > 3 else "")
        raise InputError(f"{len(lacking)} of {len(files)} scenes lack files: {names}; {remedy}")
