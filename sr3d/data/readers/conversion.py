"""The conversion loop of all readers: from original files to the prepared format."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from sr3d.data.parallel import one_torch_thread, threaded_map
from sr3d.data.prepared import Manifest, PreparedWriter
from sr3d.data.readers.published import PublishedCounts, compare, compare_scenes
from sr3d.data.scene import Scene
from sr3d.errors import InputError, Kind
from sr3d.runs.files import digest

Progress = Callable[[int, int], None]
"""Called with the number of scenes done and the number of all scenes."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """A scene to prepare: its split and id, its files, and the function that reads them.

    context: a digest of other files that the scene depends on, such as textures beside a mesh.
    """

    split: str
    id: str
    files: tuple[Path, ...]
    read: Callable[[], Scene]
    context: str = ""

    def stamp(self) -> str:
        """A digest that changes when the files change. Uses sizes and times, not contents."""
        return digest([self.context, *map(_file_facts, self.files)])


def folder_stamp(folder: Path) -> str:
    """A digest that changes when files directly in a folder change. Uses sizes and times."""
    if not folder.is_dir():
        return ""
    return digest([_file_facts(path) for path in sorted(folder.iterdir()) if path.is_file()])


def _file_facts(path: Path) -> tuple[str, int, int]:
    found = path.stat()
    return str(path), found.st_size, found.st_mtime_ns


@dataclass(frozen=True)
class ConversionOptions:
    """Options of a preparation, the same for every reader.

    workers: threads. keep_going: skip scenes that cannot be read, and accept deviations from the
    published counts. The manifest records both. progress: see `Progress`.
    """

    workers: int = 1
    keep_going: bool = False
    progress: Progress | None = None


def convert(
    sources: Sequence[Source],
    writer: PreparedWriter,
    published: PublishedCounts,
    remedy: str,
    how: ConversionOptions = ConversionOptions(),
) -> Manifest:
    """Read and write every source in order. A later call resumes an interrupted one.

    remedy: the remedy for missing files. Their check precedes all writing.

    Raises:
        InputError: a scene lacks files or cannot be read, or the set differs from the published
            one. The message names the scenes. No manifest is written then.
    """
    listed: dict[str, list[str]] = {}
    for source in sources:
        listed.setdefault(source.split, []).append(source.id)
    _refuse(compare_scenes(listed, published), writer.folder, how.keep_going)
    sources, left_out = _complete(sources, remedy, how.keep_going)
    stamps = [source.stamp() for source in sources]
    done = [writer.journaled(s.split, s.id, t) for s, t in zip(sources, stamps, strict=True)]
    fresh = [source for source, adopted in zip(sources, done, strict=True) if not adopted]
    if len(fresh) < len(sources):
        _log.info("resumed after %d of %d scenes", len(sources) - len(fresh), len(sources))
    reading = threaded_map(_attempt, fresh, how.workers)
    with one_torch_thread(), closing(writer), closing(reading) as read:
        for number, (source, stamp, adopted) in enumerate(zip(sources, stamps, done, strict=True)):
            if adopted:
                writer.adopt(source.id)
            elif reason := _take(writer, source, stamp, read, how.keep_going):
                left_out[source.id] = reason
            if how.progress:
                how.progress(number + 1, len(sources))
    for reason in left_out.values():
        _log.warning("left out: %s", reason)
    if left_out and not writer.scenes:
        raise InputError(
            f"none of {len(sources)} scenes could be read",
            file=writer.folder,
            kind=Kind.EMPTY,
            remedy="See above.",
        )
    deviations = compare(writer.splits, writer.classes, published, left_out)
    _refuse(deviations, writer.folder, how.keep_going)
    # There are no published counts of a user's own scans, so only missing files can be reported.
    whole = "the published" if published != PublishedCounts() else "the whole"
    for deviation in deviations:
        _log.warning("not %s data set: %s", whole, deviation)
    return writer.finish(left_out, deviations)


def _refuse(deviations: Sequence[str], folder: Path, keep_going: bool) -> None:
    if deviations and not keep_going:
        raise InputError(
            f"not the published data set: {', '.join(deviations)}",
            file=folder,
            kind=Kind.VALUE,
            remedy="Correct the original files, choose scenes with --scenes, or accept the "
            "deviations with --keep-going. The manifest then records them.",
        )


def _complete(
    sources: Sequence[Source], remedy: str, keep_going: bool
) -> tuple[list[Source], dict[str, str]]:
    """The sources whose files all exist, and the reasons for skipping the others.

    Raises:
        InputError: some scenes lack files, and that is not accepted. Names the first ones.
    """
    lacking = {
        source.id: missing
        for source in sources
        if (missing := [path for path in source.files if not path.is_file()])
    }
    if lacking and not keep_going:
        # If the whole folder is missing, its name is enough.
        first = [path for missing in list(lacking.values())[:3] for path in missing]
        named = [path if path.parent.is_dir() else path.parent for path in first]
        names = ", ".join(dict.fromkeys(map(str, named))) + (", …" if len(lacking) > 3 else "")
        raise InputError(
            f"{len(lacking)} of {len(sources)} scenes lack files: {names}",
            kind=Kind.MISSING,
            remedy=remedy,
        )
    left_out = {
        scene: f"{missing[0]}: no such file. {remedy}" for scene, missing in lacking.items()
    }
    return [source for source in sources if source.id not in lacking], left_out


def _attempt(source: Source) -> Scene | InputError:
    try:
        return source.read()
    except InputError as error:
        return error


def _take(
    writer: PreparedWriter,
    source: Source,
    stamp: str,
    read: Iterator[Scene | InputError],
    keep_going: bool,
) -> str | None:
    """Write the next scene. If it is skipped, returns the reason."""
    scene = next(read)
    try:
        if isinstance(scene, InputError):
            raise scene
        writer.add(source.split, scene, stamp)
    except InputError as error:
        if not keep_going:
            raise
        return str(error)
    return None


def select_scenes(
    splits: Mapping[str, Sequence[str]], wanted: Sequence[str] | None
) -> dict[str, list[str]]:
    """All scenes of every split, or only the `wanted` scenes, in the order of the splits.

    Raises:
        InputError: a scene is listed twice, a wanted scene is in no split, or no scene is wanted.
    """
    listed = [scene for ids in splits.values() for scene in ids]
    asked = listed if wanted is None else wanted
    for names in (listed, asked):
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise InputError(
                "the scene is listed twice",
                field=twice[0],
                kind=Kind.CONFLICT,
                remedy="List it once.",
            )
    if not asked:
        raise InputError("no scenes to prepare", kind=Kind.EMPTY, remedy="Name at least one.")
    known, chosen = set(listed), set(asked)
    if strange := next((scene for scene in asked if scene not in known), None):
        close = get_close_matches(strange, listed, n=1, cutoff=0.8)
        remedy = f"Did you mean '{close[0]}'?" if close else "It has no known ground truth."
        raise InputError(
            f"not among the scenes of {' and '.join(splits)}",
            field=strange,
            kind=Kind.UNKNOWN,
            remedy=remedy,
        )
    kept = {split: [s for s in ids if s in chosen] for split, ids in splits.items()}
    return {split: ids for split, ids in kept.items() if ids}
