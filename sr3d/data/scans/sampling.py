"""Points of a mesh, spread evenly over its area.

trimesh does not replace this module. Its samples are less even, because it draws each point
independently, and its import takes seconds. It also gives no barycentric weights, which textures
need.
"""

from __future__ import annotations

import numpy as np

from sr3d.data.scans.content import Array, Cloud, Content, Mesh

MOST = 20_000_000  # maximum number of points of a scan. More would not fit into usual memory
_FEW = 100_000  # number of points from which the up axis and the unit are inferred
_SEED = 0


def triangle_areas(mesh: Mesh) -> Array:
    """(F,) float64, in the square of the mesh's unit."""
    a, b, c = (mesh.vertices[mesh.faces[:, i]].astype(np.float64) for i in range(3))
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


def sample_mesh(mesh: Mesh, count: int) -> Cloud:
    """`count` points spread evenly over the area, with the colours at these places."""
    draw = np.random.default_rng(_SEED)
    ends = np.cumsum(triangle_areas(mesh))
    # One draw in each of `count` equal shares of the area, so the samples are even.
    places = (np.arange(count) + draw.random(count)) * (ends[-1] / max(count, 1))
    index = np.minimum(np.searchsorted(ends, places, side="right"), len(ends) - 1)
    r, s = np.sqrt(draw.random(count)), draw.random(count)
    weights = np.stack([1 - r, r * (1 - s), r * s], axis=1)
    corners = mesh.vertices[mesh.faces[index]].astype(np.float64)
    points = np.einsum("nk,nkc->nc", weights, corners)
    return Cloud(points, None if mesh.paint is None else mesh.paint(index, weights))


def some_points(content: Content) -> Array:
    """(N, 3) float64, a sample of all parts of a file, for the checks of the whole scan."""
    return np.concatenate([_some(part) for part in content.parts])


def all_points(content: Content, density: float, scale: float) -> tuple[Cloud, str]:
    """All parts of a file as one cloud, and the source of its points.

    density: points per square metre of a mesh's surface. scale: metres per unit. A mesh with
    vertices of that density gives its vertices, which are the scanned points.
    """
    clouds, notes = [], []
    for part in content.parts:
        if isinstance(part, Cloud):
            clouds.append(part)
            notes.append("points of the file")
            continue
        area = float(triangle_areas(part).sum()) * scale**2
        shown = part.paint is None or part.vertex_colors is not None
        if area == 0 or (shown and len(part.vertices) >= density * area):
            clouds.append(Cloud(part.vertices, part.vertex_colors))
            notes.append("the mesh's vertices, which are dense enough")
        else:
            count = max(1, min(round(density * area), MOST))
            clouds.append(sample_mesh(part, count))
            notes.append(f"the mesh's surface, {density:g} per square metre")
    return _joined(clouds), ", ".join(dict.fromkeys(notes))


def _some(part: Cloud | Mesh) -> Array:
    if isinstance(part, Cloud):
        return part.points[:: max(1, len(part.points) // _FEW)].astype(np.float64)
    if not triangle_areas(part).sum() > 0:
        return part.vertices.astype(np.float64)
    bare = Mesh(part.vertices, part.faces)
    return sample_mesh(bare, min(_FEW, 20 * len(part.faces))).points


def _joined(clouds: list[Cloud]) -> Cloud:
    """One cloud. Parts without colours become grey if other parts have colours."""
    if len(clouds) == 1:
        return clouds[0]
    points = np.concatenate([cloud.points for cloud in clouds])
    known = [cloud.colors for cloud in clouds if cloud.colors is not None]
    if not known:
        return Cloud(points)
    grey = np.full(3, 128)
    return Cloud(
        points,
        np.concatenate(
            [np.tile(grey, (len(c.points), 1)) if c.colors is None else c.colors for c in clouds]
        ),
    )
