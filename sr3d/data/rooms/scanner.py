"""A simulated depth scanner: occlusion, noise, falling density, holes and shaded colours.

The rays of a scanner are distributed evenly over all directions, so the number of rays that a
surface receives is proportional to its solid angle. We draw samples on the surfaces in this
proportion. A spherical depth buffer then keeps the first sample in each direction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sr3d.data.rooms.shapes import QuadMesh, subdivided

_PIECE = 0.5  # metres, maximum size of a piece with one solid angle and one light
_NEAREST = 0.5  # metres. Nearer surfaces receive no more rays than at this distance
_EVEN = 1.0  # metres. Density is constant up to here, then falls with the squared distance
_SLACK = 0.02  # metres from a surface's plane within which another surface does not hide it
_MOST_SLACK = 0.3  # metres along the ray, at grazing angles
_SAMPLES = 6  # samples per requested point, because many are hidden or thinned out
_PER_BIN = 4.0  # mean number of samples per bin of the depth buffer

# The R2 sequence: a lattice without seams and with fewer gaps than random samples.
_R2 = (0.7548776662466927, 0.5698402909980532)


@dataclass(frozen=True)
class View:
    """A standpoint and its field of view.

    eye: (3,) metres. yaw: heading in radians counter-clockwise from x. pitch: of the centre of the
    view, up is positive. half_width, half_height: half angles of the field of view in radians.
    A half_width of pi is all around.
    """

    eye: np.ndarray
    yaw: float = 0.0
    pitch: float = math.radians(-25)
    half_width: float = math.pi
    half_height: float = math.radians(61)

    def sees(self, offset: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """(N,) whether offsets (N, 3) from the eye are in view, with a tolerance in radians."""
        x, y, z = offset.T
        if self.half_width >= math.pi:
            height = np.arctan2(z, np.hypot(x, y)) - self.pitch
            return np.abs(height) <= self.half_height + margin
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        ahead, left = x * cos + y * sin, y * cos - x * sin
        tilt, rise = math.cos(self.pitch), math.sin(self.pitch)
        depth, up = ahead * tilt + z * rise, z * tilt - ahead * rise
        wide = np.abs(left) <= depth * math.tan(min(self.half_width + margin, 1.5))
        high = np.abs(up) <= depth * math.tan(min(self.half_height + margin, 1.5))
        return wide & high & (depth > 0)

    def share(self) -> float:
        """The approximate share of the sphere that is in view."""
        low, high = self.pitch - self.half_height, self.pitch + self.half_height
        return self.half_width / math.pi * (math.sin(high) - math.sin(low)) / 2


@dataclass(frozen=True)
class RoomScan:
    """points: (N, 3) float32 metres. colors: (N, 3) float32 in [0, 1]. quad: (N,) in the mesh."""

    points: np.ndarray
    colors: np.ndarray
    quad: np.ndarray


@dataclass(frozen=True)
class _Samples:
    """points: (N, 3) float32 on the surfaces, as seen from eye: (3,). quad, distance: (N,)."""

    points: np.ndarray
    quad: np.ndarray
    distance: np.ndarray
    eye: np.ndarray


def scan(
    mesh: QuadMesh, views: list[View], count: int, light: np.ndarray, rng: np.random.Generator
) -> RoomScan:
    """Exactly `count` points of the mesh, seen from all views together.

    light: (3,) position of the lamp. Points are in random order.
    """
    pieces, parent = subdivided(mesh, _PIECE)
    seen = [look(pieces, view, _SAMPLES * count // len(views), rng) for view in views]
    points = np.concatenate([s.points for s in seen])
    quad = np.concatenate([s.quad for s in seen])
    distance = np.concatenate([s.distance for s in seen])
    eyes = np.repeat([s.eye.astype(np.float32) for s in seen], [len(s.quad) for s in seen], axis=0)

    kept = pieces.returns[quad] * np.minimum(distance / _EVEN, 1) ** 2
    chosen = rng.permutation(len(quad))
    chosen = chosen[rng.random(len(quad), dtype=np.float32) < kept[chosen]][: int(1.3 * count)]
    chosen = chosen[~_holes(points[chosen], rng)]
    if len(chosen) < count:  # too few samples, so some are used twice
        chosen = np.concatenate([chosen, rng.choice(chosen, count - len(chosen))])
    chosen = chosen[:count]
    quad = quad[chosen]
    colors = _shaded(pieces, points[chosen], quad, light, rng)
    return RoomScan(_measured(points[chosen], eyes[chosen], rng), colors, parent[quad])


def look(pieces: QuadMesh, view: View, count: int, rng: np.random.Generator) -> _Samples:
    """The visible samples among about `count` samples of small pieces, from one view."""
    normal = pieces.area_normals()
    center = pieces.corners.mean(axis=1) - view.eye
    reach = np.linalg.norm(center, axis=1)
    facing = -np.einsum("qi,qi->q", normal, center) / np.maximum(reach, 1e-6)
    angle = np.maximum(facing, 0) / np.maximum(reach, _NEAREST) ** 2
    angle *= view.sees(center, margin=0.3)
    share = np.floor(angle * (count / max(angle.sum(), 1e-9)) + rng.random(len(angle))).astype(int)
    quad, points = _lattice(pieces, share, rng)
    offset = points - view.eye.astype(np.float32)
    inside = view.sees(offset)
    quad, points, offset = quad[inside], points[inside], offset[inside]
    area = np.linalg.norm(normal, axis=1)
    height = (facing * reach / np.maximum(area, 1e-12)).astype(np.float32)  # of the eye over it
    distance = np.sqrt(np.einsum("ni,ni->n", offset, offset))
    shown = visible(offset, distance, height[quad], view.share())
    return _Samples(points[shown], quad[shown], distance[shown], view.eye)


def visible(
    offset: np.ndarray, distance: np.ndarray, height: np.ndarray, share: float = 1.0
) -> np.ndarray:
    """(N,) bool: samples that are the first in their direction.

    offset: (N, 3) from the eye. distance: (N,) its length. height: (N,) distance in metres of the
    eye from the plane of each sample. share: share of the sphere that the samples cover.

    A sample is hidden if its bin has a nearer sample, unless that sample could be on the same
    surface. Bins are wide, and a floor at a grazing angle has a large range of depth in one bin.
    """
    side = max(int(math.sqrt(len(offset) / _PER_BIN / share)), 4)
    cell = _octahedral(offset, side)
    nearest = np.full(side * side, np.inf, dtype=np.float32)
    np.minimum.at(nearest, cell, distance)
    width = 3.5 / side  # radians, about the side of a bin
    slack = (_SLACK + width * distance) * distance / np.maximum(height, 1e-3)
    return distance - nearest[cell] <= np.minimum(slack, _MOST_SLACK)


def _octahedral(offset: np.ndarray, side: int) -> np.ndarray:
    """(N,) bin of each direction: the sphere mapped to side x side bins of similar size."""
    x, y, z = offset.T
    scale = 1 / np.maximum(np.abs(x) + np.abs(y) + np.abs(z), 1e-9)
    x, y = x * scale, y * scale
    below = z < 0
    u = np.where(below, np.copysign(1 - np.abs(y), x), x)
    v = np.where(below, np.copysign(1 - np.abs(x), y), y)
    half = side / 2
    column = np.minimum(((u + 1) * half).astype(np.int32), side - 1)
    row = np.minimum(((v + 1) * half).astype(np.int32), side - 1)
    return row * side + column


def _lattice(
    pieces: QuadMesh, share: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """`share` samples of each piece, evenly spread: their pieces (N,) and points (N, 3) float32."""
    quad = np.repeat(np.arange(len(share)), share)
    order = np.arange(len(quad)) - np.repeat(np.cumsum(share) - share, share)
    uv = order.astype(np.float32)[:, None] * np.array(_R2, dtype=np.float32)
    uv += np.repeat(rng.random((len(share), 2), dtype=np.float32), share, axis=0)
    uv -= np.floor(uv)
    u, v = uv[:, :1], uv[:, 1:]
    a, b, c, d = (pieces.corners[:, i] for i in range(4))
    terms = np.concatenate([a, b - a, d - a, a - b + c - d], axis=1).astype(np.float32)
    terms = np.repeat(terms, share, axis=0)
    return quad, terms[:, :3] + u * terms[:, 3:6] + v * (terms[:, 6:9] + u * terms[:, 9:])


def _measured(points: np.ndarray, eyes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The points with noise along their rays, which grows with the squared distance."""
    ray = points - eyes
    distance = np.linalg.norm(ray, axis=1, keepdims=True)
    sigma = 0.002 + 0.001 * distance**2
    error = rng.standard_normal(distance.shape, dtype=np.float32) * sigma
    return (points + ray / np.maximum(distance, 1e-6) * error).astype(np.float32)


def _holes(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N,) whether a point is in one of a few ragged patches where the scan failed."""
    kept = np.ones(len(points), dtype=np.float32)
    for _ in range(int(rng.integers(2, 7))):
        center, radius = points[rng.integers(len(points))], rng.uniform(0.15, 0.35, 3)
        offset = (points - center) / radius.astype(np.float32)
        kept *= np.clip(3 * np.einsum("ni,ni->n", offset, offset) - 0.5, 0, 1)
    return rng.random(len(points), dtype=np.float32) >= kept


def _shaded(
    pieces: QuadMesh,
    points: np.ndarray,
    quad: np.ndarray,
    light: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """(N, 3) float32 colours under a lamp and some ambient light, with the camera's errors."""
    normal = pieces.area_normals()
    normal = (normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)).astype(
        np.float32
    )
    ray = light.astype(np.float32) - points
    distance = np.linalg.norm(ray, axis=1)
    lit = np.maximum(np.einsum("ni,ni->n", normal[quad], ray) / np.maximum(distance, 0.1), 0)
    shade = 0.68 + 0.4 * lit / (0.7 + 0.08 * distance**2)
    balance = rng.uniform(0.94, 1.04, 3).astype(np.float32)
    noise = 0.025 * rng.standard_normal((len(points), 3), dtype=np.float32)
    colors = pieces.colors.astype(np.float32)[quad] * shade[:, None] * balance + noise
    return np.clip(colors, 0, 1).astype(np.float32)
