// Finds the boxes under the pointer.

const EDGE_REACH = 6; // pixels

function corners(box) {
  const [x, y, z, dx, dy, dz, yaw] = box;
  const [c, s] = [Math.cos(yaw), Math.sin(yaw)];
  return [0, 1, 2, 3, 4, 5, 6, 7].map((i) => {
    const [u, v, w] = [((i & 1) - 0.5) * dx, ((i >> 1 & 1) - 0.5) * dy, ((i >> 2) - 0.5) * dz];
    return [x + c * u - s * v, y + s * u + c * v, z + w];
  });
}

// Metres along the ray to the box, infinite if the ray misses it or starts inside.
function entry(box, [start, way]) {
  const [x, y, z, dx, dy, dz, yaw] = box;
  const [c, s] = [Math.cos(yaw), Math.sin(yaw)];
  const turned = ([u, v, w]) => [c * u + s * v, c * v - s * u, w];
  const from = turned(add(start, [x, y, z], -1));
  const to = turned(way);
  let [enter, leave] = [-Infinity, Infinity];
  [dx, dy, dz].forEach((size, axis) => {
    const ends = [-size / 2, size / 2].map((side) => (side - from[axis]) / to[axis]);
    if (to[axis] === 0 && Math.abs(from[axis]) > size / 2) enter = Infinity;
    if (to[axis] === 0) return;
    enter = Math.max(enter, Math.min(...ends));
    leave = Math.min(leave, Math.max(...ends));
  });
  return enter > 0 && enter <= leave ? enter : Infinity;
}

function toSegment(x, y, a, b) {
  const [u, v] = [b[0] - a[0], b[1] - a[1]];
  const along = ((x - a[0]) * u + (y - a[1]) * v) / (u * u + v * v || 1);
  const t = Math.min(1, Math.max(0, along));
  return Math.hypot(x - a[0] - t * u, y - a[1] - t * v);
}

// Pixels to the nearest edge that is in front of the eye.
function toEdges(box, camera, x, y) {
  const seen = corners(box).map((corner) => camera.project(corner));
  let nearest = Infinity;
  for (let i = 0; i < 8; i++)
    for (const bit of [1, 2, 4]) {
      const [a, b] = [seen[i], seen[i | bit]];
      if (i & bit || a[2] <= 0 || b[2] <= 0) continue;
      nearest = Math.min(nearest, toSegment(x, y, a, b));
    }
  return nearest;
}

// The boxes at a pixel, the likeliest first: boxes with an edge at the pixel, by distance of the
// edge, then boxes with a face there, by distance of the face.
function boxesAt(boxes, camera, x, y) {
  const ray = camera.ray(x, y);
  return boxes
    .map((box) => ({ box, edge: toEdges(box.local, camera, x, y), depth: entry(box.local, ray) }))
    .filter(({ edge, depth }) => edge <= EDGE_REACH || depth < Infinity)
    .sort((a, b) => {
      const [p, q] = [a.edge <= EDGE_REACH, b.edge <= EDGE_REACH];
      return p !== q ? q - p : p ? a.edge - b.edge : a.depth - b.depth;
    })
    .map(({ box }) => box);
}
