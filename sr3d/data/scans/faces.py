"""Polygons and strips as triangles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sr3d.data.scans.content import Array


def fans(polygons: Array | Sequence[Sequence[int]]) -> tuple[Array, Array]:
    """Triangles of polygons, which are cut into fans.

    polygons: a row of corners each; rows of fewer than three are passed over. Returns triangles
    (F, 3) of the corners' values, and (F, 2): of each triangle its polygon, and the place of its
    second corner in that polygon. Its first corner has place 0, its third the next one.
    """
    if isinstance(polygons, np.ndarray) and polygons.ndim == 2:
        tables = [(np.arange(len(polygons)), polygons)]
    else:
        lengths = np.array([len(row) for row in polygons], dtype=np.int64)
        groups = [np.flatnonzero(lengths == length) for length in np.unique(lengths)]
        tables = [(own, np.array([polygons[i] for i in own.tolist()])) for own in groups]
    corners, origins = [np.empty((0, 3), np.int64)], [np.empty((0, 2), np.int64)]
    for own, table in tables:
        for second in range(1, table.shape[1] - 1):
            corners.append(table[:, [0, second, second + 1]].astype(np.int64))
            origins.append(np.stack([own, np.full(len(own), second)], axis=1))
    return np.concatenate(corners), np.concatenate(origins)


def strip(row: Array) -> Array:
    """(F, 3) triangles of one row of vertices, in which -1 ends a strip and begins another."""
    row = np.asarray(row, dtype=np.int64)
    triples = np.stack([row[:-2], row[1:-1], row[2:]], axis=1)
    return triples[_whole(triples)]


def fan(row: Array) -> Array:
    """(F, 3) triangles around the first of a row of vertices."""
    row = np.asarray(row, dtype=np.int64)
    triples = np.stack([np.full(len(row) - 2, row[0]), row[1:-1], row[2:]], axis=1)
    return triples[_whole(triples)]


def _whole(triples: Array) -> Array:
    """Which are triangles: strips repeat vertices to turn a corner."""
    a, b, c = triples.T
    return (triples >= 0).all(axis=1) & (a != b) & (b != c) & (a != c)
