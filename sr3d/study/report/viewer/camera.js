// The camera circles a target. z is up, and positions are metres from the cloud's low corner.

const TAN = Math.tan((40 / 2) * (Math.PI / 180)); // half of the field of view
const CEILING = 0.2; // of the height, as in the report's figures
const DEGREE = Math.PI / 180;
const VIEWS = {
  free: { turn: -60, rise: 38, flat: false },
  top: { turn: -90, rise: 90, flat: true },
  front: { turn: -90, rise: 0, flat: true },
  side: { turn: 0, rise: 0, flat: true },
};

const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const add = (a, b, factor = 1) => a.map((x, i) => x + factor * b[i]);
const mix = (a, b) => a.map((x, i) => (x + b[i]) / 2);

class Camera {
  // low, high: corners of the room. sample: points. boxes: corners of boxes, which may lie outside.
  // reach: half the diagonal of the scene.
  constructor(low, high, sample, boxes, reach) {
    Object.assign(this, { low, high, reach, width: 1, height: 1, inset: 0 });
    const corners = [0, 1, 2, 3, 4, 5, 6, 7].map((i) =>
      [0, 1, 2].map((axis) => (i >> axis & 1 ? high : low)[axis]));
    const inside = sample.filter((p) => p.every((x, axis) => x >= low[axis] && x <= high[axis]));
    this.all = [...(inside.length ? inside : corners), ...boxes];
    this.boxes = boxes;
    this.view("free");
  }

  // Size in pixels. inset: height of the buttons at the upper side.
  resize(width, height, inset) {
    Object.assign(this, { width, height, inset: Math.min(inset, height / 4), aspect: width / height });
  }

  // One of VIEWS, with the whole scene visible.
  view(name) {
    Object.assign(this, VIEWS[name], { name });
    const ceiling = this.high[2] - CEILING * (this.high[2] - this.low[2]); // it is usually hidden
    const below = this.all.map(([x, y, z]) => [x, y, Math.min(z, ceiling)]);
    this.fit(this.flat ? this.all : [...below, ...this.boxes]);
  }

  // Fills the view with these points in any direction of view.
  fit(places, share = 0.88) {
    const reach = (end) => [0, 1, 2].map((axis) => end(...places.map((place) => place[axis])));
    this.target = mix(reach(Math.min), reach(Math.max)); // the centre of their bounding box
    this.distance = 4 * this.reach + 0.1;
    const middle = [this.width / 2, (this.height + this.inset) / 2];
    for (let round = 0; round < 5; round++) {
      const seen = places.map((place) => this.project(place));
      const ends = [0, 1].map((axis) => {
        const along = seen.map((pixel) => pixel[axis]);
        return [Math.min(...along), Math.max(...along)];
      });
      this.pan(...ends.map(([from, to], axis) => middle[axis] - (from + to) / 2));
      const [wide, tall] = ends.map(([from, to]) => to - from);
      this.distance *= Math.max(wide / this.width, tall / (this.height - this.inset)) / share;
      this.distance = Math.max(this.distance, 0.05);
    }
  }

  // Unit vectors to the right, up the picture and towards the eye.
  axes() {
    const [a, e] = [this.turn * DEGREE, this.rise * DEGREE];
    const towards = [Math.cos(e) * Math.cos(a), Math.cos(e) * Math.sin(a), Math.sin(e)];
    const right = [-Math.sin(a), Math.cos(a), 0];
    const up = [-Math.sin(e) * Math.cos(a), -Math.sin(e) * Math.sin(a), Math.cos(e)];
    return [right, up, towards];
  }

  orbit(turn, up) {
    this.turn = (this.turn + turn) % 360;
    this.rise = Math.min(90, Math.max(-90, this.rise + up));
    Object.assign(this, { flat: false, name: "free" });
  }

  // Moves by (x, y) pixels.
  pan(x, y) {
    const [right, up] = this.axes();
    const metres = this.pixel();
    this.target = add(add(this.target, right, -x * metres), up, y * metres);
  }

  // The point at pixel (x, y) stays there.
  zoom(factor, x = this.width / 2, y = this.height / 2) {
    const wanted = this.distance * factor;
    const distance = Math.min(8 * this.reach, Math.max(0.05, wanted));
    const shift = 1 - distance / this.distance;
    const pixels = [(x - this.width / 2) * shift, (y - this.height / 2) * shift];
    this.pan(-pixels[0], -pixels[1]);
    this.distance = distance;
  }

  // Metres that a pixel spans at the target.
  pixel() {
    return (2 * TAN * this.distance) / this.height;
  }

  // Position of the eye. In a flat view it is far away, so that it sees the same sides everywhere.
  eye() {
    return add(this.target, this.axes()[2], this.flat ? 1e4 * this.reach : this.distance);
  }

  range() {
    const centre = mix(this.low, this.high);
    const radius = this.reach + Math.hypot(...add(this.target, centre, -1));
    const nearest = this.flat ? this.distance - radius : 0.02 * this.distance;
    return [Math.max(nearest, this.distance - radius), this.distance + radius];
  }

  // Matrix to clip coordinates, column by column as WebGL expects it.
  matrix() {
    const [right, up, towards] = this.axes();
    const [near, far] = this.range();
    const middle = [dot(right, this.target), dot(up, this.target), dot(towards, this.target)];
    const tall = this.flat ? 1 / (TAN * this.distance) : 1 / TAN;
    const rows = [
      [...right.map((x) => (x * tall) / this.aspect), (-middle[0] * tall) / this.aspect],
      [...up.map((x) => x * tall), -middle[1] * tall],
    ];
    // z of the eye: -(depth), depth = distance + (target - p) · towards.
    const depth = [...towards.map((x) => -x), this.distance + middle[2]];
    const last = [0, 0, 0, 1];
    const [scale, shift] = this.flat
      ? [2 / (far - near), -(far + near) / (far - near)]
      : [(far + near) / (far - near), (-2 * far * near) / (far - near)];
    rows.push(depth.map((x, i) => x * scale + last[i] * shift), this.flat ? last : depth);
    return new Float32Array([0, 1, 2, 3].flatMap((column) => rows.map((row) => row[column])));
  }

  // Pixels from the upper left, and the depth in metres.
  project(point) {
    const [right, up, towards] = this.axes();
    const offset = add(point, this.target, -1);
    const depth = this.distance - dot(offset, towards);
    const pixel = this.flat ? this.pixel() : this.pixel() * (depth / this.distance);
    const [x, y] = [dot(offset, right) / pixel, dot(offset, up) / pixel];
    return [this.width / 2 + x, this.height / 2 - y, depth];
  }

  // Origin and direction of the ray through a pixel.
  ray(x, y) {
    const [right, up, towards] = this.axes();
    const metres = this.pixel();
    const aside = add(
      right.map((v) => v * (x - this.width / 2) * metres), up, (this.height / 2 - y) * metres);
    const through = add(this.target, aside);
    if (this.flat) return [add(through, towards, this.distance), towards.map((v) => -v)];
    const eye = add(this.target, towards, this.distance);
    const way = add(through, eye, -1);
    const length = Math.hypot(...way);
    return [eye, way.map((v) => v / length)];
  }
}
