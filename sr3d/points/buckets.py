"""Points in buckets with bounding spheres, which rule out most buckets at once."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

MARGIN = 1e-6  # relative, of distances. Rounding of a squared distance is below 4e-7
_SIZE = 64  # points in a bucket


class Buckets:
    """A cloud (N, 3) in K buckets of S points: equal slabs along one axis after the other.

    index (K, S): point numbers, ascending in each bucket. points (K, 3, S): their coordinates, inf
    in a padded slot. centre (K, 3), radius (K,): spheres around the buckets, relative to `origin`.
    """

    def __init__(self, cloud: Floats) -> None:
        count = len(cloud)
        cuts = max(1, math.ceil((count / _SIZE) ** (1 / 3)))
        size = -(-count // cuts**3)
        index = np.full(cuts**3 * size, count - 1)
        index[:count] = np.arange(count)
        index = index.reshape(1, -1)
        for axis in np.ptp(cloud, axis=0).argsort()[::-1]:
            order = cloud[index, axis].argsort(axis=1)
            index = np.take_along_axis(index, order, axis=1).reshape(len(index) * cuts, -1)
        index.sort(axis=1)
        self.index: Integers = index
        self.points: Floats = np.ascontiguousarray(cloud[index].transpose(0, 2, 1))

        self.origin: Doubles = cloud.mean(axis=0, dtype=np.float64)
        inner = self.points - self.origin[:, None]
        self.centre: Doubles = (inner.min(axis=2) + inner.max(axis=2)) / 2
        away = ((inner - self.centre[..., None]) ** 2).sum(axis=1).max(axis=1)
        self.radius: Doubles = np.sqrt(away) + MARGIN * np.abs(inner).max()

        padded = np.zeros(index.shape, dtype=bool)
        padded.reshape(-1)[np.flatnonzero(index == count - 1)[1:]] = True
        self.points.transpose(0, 2, 1)[padded] = np.inf
        norms = (self.centre**2).sum(axis=1)
        self._plane: Doubles = np.column_stack([-2 * self.centre, norms])

    def inner(self, points: Floats) -> tuple[Doubles, Doubles]:
        """Points (M, 3) in the form that `centre_distances` reads, and their squared norms."""
        inner = np.ones((len(points), 4))
        inner[:, :3] = points - self.origin
        return inner, (inner[:, :3] ** 2).sum(axis=1)

    def centre_distances(self, inner: Doubles) -> Doubles:
        """Squared distances (M, K) to the buckets' centres, minus the squared norms (M,)."""
        return inner @ self._plane.T

    def near(self, points: Floats, reach: Doubles | float) -> tuple[Integers, Integers]:
        """Pairs of a point (M, 3) and a bucket, by point, with all that lies within its reach (M,).

        reach: metres, without a margin.
        """
        inner, norms = self.inner(points)
        limit = self.radius + np.reshape(reach, (-1, 1)) * (1 + MARGIN)
        row, bucket = np.nonzero(self.centre_distances(inner) < limit**2 - norms[:, None])
        return row, bucket

    def squared_distances(self, bucket: Integers, point: Floats) -> Floats:
        """(P, S) of the points of P buckets to a point each: (P, 3), or (3,) for all."""
        apart = self.points.take(bucket, axis=0)
        apart -= point[..., None]
        apart *= apart
        total = apart[:, 0]
        total += apart[:, 1]
        total += apart[:, 2]
        return total
