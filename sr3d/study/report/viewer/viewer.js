// Connects the parts and decides what to draw in each frame.

const WAIT = 150; // milliseconds without a movement, after which all points are drawn
const MOST_NAMES = 200; // more would cover everything
const LEAST = 20_000; // points a frame, however slow the machine
const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255);

class Viewer {
  constructor(scene, packed) {
    const { cloud } = scene;
    this.scene = scene;
    this.canvas = $("canvas");
    const [low, high] = cloud.frame.map((corner) => add(corner, cloud.low, -1));
    const spread = add(high, low, -1);
    const reach = Math.hypot(...cloud.extent, ...spread) / 2;
    this.boxes = scene.layers.flatMap((layer, i) =>
      layer.boxes.map((box, index) => ({
        box, index, layer: i, label: layer.labels[index],
        score: layer.scores ? layer.scores[index] : null,
        local: [...add(box.slice(0, 3), cloud.low, -1), ...box.slice(3)],
        color: rgb(scene.classes[layer.labels[index]].color),
      })));
    const sample = beginning(packed, cloud);
    this.camera = new Camera(low, high, sample, this.boxes.flatMap(({ local }) => ends(local)), reach);
    this.state = {
      score: scene.score, layers: scene.layers.map(() => true), classes: scene.classes.map(() => true),
    };
    // A size at which the points of surfaces touch, and the thickness of hidden walls and ceiling.
    const [x, y, z] = spread;
    this.touching = Math.sqrt((2 * (x * y + y * z + z * x)) / Math.max(1, cloud.count));
    const wall = Math.min(0.15, 0.05 * Math.max(x, y));
    this.thick = [wall, wall, CEILING * z];
    this.selected = this.hovered = this.clicked = null;
    this.budget = 150_000;
    Object.assign(this, { seen: 0, behind: 0, moving: true, boxesChanged: true, lastMove: 0, issued: NaN });
    this.drawing = new Drawing(this.canvas, cloud, packed);
    this.controls = new Controls(scene, this.boxes, this.state, (what) => this.changed(what));
    this.buttons();
    listen(this.canvas, this.camera, this);
    new ResizeObserver(() => this.resize()).observe(this.canvas);
    this.resize();
  }

  // Marks the picture of the points as outdated.
  moved() {
    this.moving = true;
    this.request();
  }

  changed(what) {
    if (what === "points") this.moved();
    if (what === "boxes") this.boxesChanged = true;
    this.lookChanged = true;
    this.request();
  }

  request() {
    if (!this.waiting) this.waiting = requestAnimationFrame((now) => this.frame(now));
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    const ratio = Math.min(2, devicePixelRatio);
    const [wide, tall] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.drawing.front && this.canvas.width === wide && this.canvas.height === tall) return;
    const first = this.camera.width === 1;
    this.camera.resize(width, height, document.querySelector(".bar").offsetHeight);
    if (first) this.camera.view("free");
    this.drawing.resize(wide, tall);
    this.moved();
  }

  look() {
    const style = getComputedStyle(document.documentElement);
    const color = (name) => rgb(style.getPropertyValue(name).trim());
    const { paintBy, open, top, faces } = this.state;
    return {
      paintBy, open, top, faces, size: 1.4 * this.touching * this.state.scale, thick: this.thick,
      ground: color("--stage"), plain: color("--grey"),
    };
  }

  // While the camera moves, as many points as a frame has time for. When it rests, the others are
  // added in a picture behind, a frame's share at a time, which then comes to the front.
  frame(now) {
    this.waiting = null;
    clearTimeout(this.timer);
    const { drawing, camera, scene } = this;
    if (!drawing.front || drawing.gl.isContextLost()) return;
    if (drawing.busy()) return this.request(); // further work would only queue up
    const all = scene.cloud.count;
    this.adapt(now - this.issued, all);
    const share = Math.round(this.budget);
    const look = this.look();
    let shows = this.boxesChanged || this.lookChanged || this.moving;
    let added = true;
    if (this.moving) {
      this.moving = false;
      this.behind = 0;
      this.seen = Math.min(all, share);
      this.lastMove = now;
      drawing.addPoints(drawing.front, camera, look, 0, this.seen, all / Math.max(1, this.seen));
    } else if (this.seen < all && now - this.lastMove >= WAIT) {
      const to = Math.min(all, this.behind + share);
      drawing.addPoints(drawing.back, camera, look, this.behind, to, 1);
      this.behind = to;
      if (to === all) {
        this.seen = all;
        [drawing.front, drawing.back] = [drawing.back, drawing.front];
        shows = true;
      }
    } else added = false;
    if (this.boxesChanged) this.collect();
    if (shows) {
      this.lookChanged = false;
      drawing.show(camera, look);
      this.overlay();
      this.firstFrame ??= performance.now();
    }
    this.issued = added ? now : NaN;
    if (added) {
      drawing.begin();
      this.request(); // to measure the time of the graphics card
    } else if (this.seen < all) this.timer = setTimeout(() => this.request(), WAIT);
  }

  // Fewer points per frame if the last frame took longer than 1/25 s, more if it was fast.
  adapt(passed, all) {
    if (passed > 40) this.budget = Math.max(LEAST, this.budget * 0.7);
    if (passed < 24) this.budget = Math.min(LEAST + 2 * all, this.budget * 1.25);
  }

  // The visible boxes, for the graphics card.
  collect() {
    this.boxesChanged = false;
    const { layers, classes } = this.state;
    this.visible = this.boxes.filter(
      (box) => layers[box.layer] && classes[box.label] && this.controls.passes(box));
    if (this.selected && !this.visible.includes(this.selected)) this.select(null);
    if (!this.visible.includes(this.hovered)) this.hovered = null;
    const floats = new Float32Array(this.visible.length * BOX_FLOATS);
    this.visible.forEach((box, i) => {
      const mark = box === this.selected ? 2 : box === this.hovered ? 1 : 0;
      const dash = STROKES[this.scene.layers[box.layer].stroke];
      floats.set(
        [...box.local.slice(0, 6), ...box.color, box.local[6], mark, ...dash], i * BOX_FLOATS);
    });
    this.drawing.setBoxes(floats);
  }

  // The text beside a box.
  text({ layer, label, score }) {
    const { classes, layers } = this.scene;
    const more = score === null ? (layers.length > 1 ? `, ${layers[layer].name}` : "") : ` ${score.toFixed(2)}`;
    return classes[label].name + more;
  }

  // Names and their positions in pixels: above the middle of a box's upper side or above other names.
  names() {
    const marked = [this.selected, this.hovered].filter((box) => box);
    const named = this.state.names ? this.visible.slice(0, MOST_NAMES) : marked;
    const placed = [];
    for (const box of new Set([...marked, ...named])) {
      const [x, y, z, , , tall] = box.local;
      const [left, high, depth] = this.camera.project([x, y, z + tall / 2]);
      const text = this.text(box);
      const half = 3.6 * text.length + 9; // pixels, about
      const taken = (top) => placed.some(
        (one) => Math.abs(one.left - left) < one.half + half && Math.abs(one.top - top) < 21);
      if (!marked.includes(box) && (left < 0 || left > this.camera.width || high < 0)) continue;
      let top = high;
      for (let i = 0; i < 6 && taken(top); i++) top -= 21;
      if (depth > 0) placed.push({ box, text, left, top, half, marked: marked.includes(box) });
    }
    return placed;
  }

  overlay() {
    const { width, height } = this.camera;
    const spans = this.names().map(({ box, text, left, top, marked }) => {
      const span = element("span", { textContent: text, className: marked ? "marked" : "" });
      span.style.borderColor = this.scene.classes[box.label].color;
      const at = [Math.min(width, Math.max(0, left)), Math.min(height, Math.max(56, top))];
      span.style.transform = `translate(${at[0]}px, ${at[1]}px) translate(-50%, -130%)`;
      return span;
    });
    $("labels").replaceChildren(...spans);
    for (const button of $("views").children)
      button.setAttribute("aria-pressed", button.dataset.view === this.camera.name);
  }

  select(box) {
    this.selected = box;
    this.controls.details(box);
    this.changed("boxes");
  }

  // The likeliest box there. If it is already selected, the box behind it.
  pick(x, y) {
    const found = boxesAt(this.visible, this.camera, x, y);
    this.select(found[(found.indexOf(this.selected) + 1) % (found.length || 1)] ?? null);
  }

  hover(x, y) {
    const box = x === undefined ? null : boxesAt(this.visible ?? [], this.camera, x, y)[0] ?? null;
    if (box === this.hovered) return;
    this.hovered = box;
    this.changed("boxes");
  }

  zoomTo(x, y) {
    const box = boxesAt(this.visible, this.camera, x, y)[0];
    if (box) this.select(box);
    this.frameSelected();
  }

  frameSelected() {
    if (!this.selected) return;
    this.camera.fit(corners(this.selected.local), 0.5);
    this.moved();
  }

  step(by) {
    const { visible } = this;
    if (!visible.length) return;
    const at = visible.indexOf(this.selected);
    this.select(visible[at < 0 ? (by > 0 ? 0 : visible.length - 1) : (at + by + visible.length) % visible.length]);
  }

  view(name) {
    this.camera.view(name);
    this.moved();
  }

  buttons() {
    const click = (id, act) => $(id).addEventListener("click", act);
    for (const button of $("views").children)
      button.addEventListener("click", () => this.view(button.dataset.view));
    click("nearer", () => (this.camera.zoom(1 / 1.25), this.moved()));
    click("farther", () => (this.camera.zoom(1.25), this.moved()));
    click("previous", () => this.step(-1));
    click("next", () => this.step(1));
    click("frame", () => this.frameSelected());
    click("screenshot", () => this.screenshot());
    click("fold", () => {
      const folded = document.body.classList.toggle("folded");
      $("fold").setAttribute("aria-expanded", !folded);
    });
    this.keys = {
      n: () => this.step(1), p: () => this.step(-1), f: () => this.frameSelected(),
      s: () => this.screenshot(), Escape: () => this.select(null),
      ...Object.fromEntries(Object.keys(VIEWS).map((name, i) => [i + 1, () => this.view(name)])),
    };
  }

  // The current view with its names, as a PNG.
  screenshot() {
    const { canvas, drawing, camera } = this;
    drawing.show(camera, this.look()); // the browser clears the canvas between frames
    const { width, height } = canvas;
    const ratio = width / camera.width;
    const copy = element("canvas", { width, height });
    const pen = copy.getContext("2d");
    pen.drawImage(canvas, 0, 0);
    const style = getComputedStyle(document.documentElement);
    pen.font = `${13 * ratio}px ${style.getPropertyValue("--plain")}`;
    pen.textBaseline = "middle";
    for (const { box, text, left, top } of this.names()) {
      const wide = pen.measureText(text).width + 14 * ratio;
      const [x, y] = [left * ratio - wide / 2, (top - 28) * ratio];
      pen.fillStyle = style.getPropertyValue("--ground");
      pen.fillRect(x, y, wide, 20 * ratio);
      pen.fillStyle = this.scene.classes[box.label].color;
      pen.fillRect(x, y, 4 * ratio, 20 * ratio);
      pen.fillStyle = style.getPropertyValue("--ink");
      pen.fillText(text, x + 9 * ratio, y + 10 * ratio);
    }
    copy.toBlob((blob) => {
      const name = `${this.scene.title.replace(/[^\p{L}\p{N}.-]+/gu, "-")}.png`;
      const link = element("a", { href: URL.createObjectURL(blob), download: name });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    });
  }
}

function unpacked(text) {
  const letters = atob(text.trim());
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

// The first points, in metres: an even sample of all.
// Corners of a box: x, y, z, its size, its yaw.
function ends([x, y, z, dx, dy, dz, yaw]) {
  const [cos, sin] = [Math.cos(yaw), Math.sin(yaw)];
  return [0, 1, 2, 3, 4, 5, 6, 7].map((i) => {
    const [u, v, w] = [dx, dy, dz].map((size, axis) => ((i >> axis & 1) - 0.5) * size);
    return [x + cos * u - sin * v, y + sin * u + cos * v, z + w];
  });
}

function beginning(packed, { count, extent }) {
  const steps = new Uint16Array(packed.buffer, 0, 4 * Math.min(count, 3000));
  return Array.from({ length: steps.length / 4 }, (_, i) =>
    extent.map((metres, axis) => (steps[4 * i + axis] / 65535) * metres));
}

function start() {
  const scene = JSON.parse($("scene").textContent);
  const viewer = new Viewer(scene, unpacked($("points").textContent));
  $("points").remove(); // the graphics card has them now
  viewer.canvas.addEventListener("webglcontextlost", () => tell("The graphics card was reset; load the page again."));
  // Read-only state for tests.
  window.viewer = Object.freeze({
    get state() {
      const { selected, camera, drawing, seen, scene: { cloud }, waiting } = viewer;
      return {
        boxes: drawing.boxes, points: seen, still: !waiting && seen === cloud.count, view: camera.name,
        selected: selected && [selected.layer, selected.index], distance: camera.distance,
        target: [...camera.target], budget: viewer.budget, firstFrame: viewer.firstFrame,
      };
    },
    // Pixel position of a point of the scene.
    project: (point) => viewer.camera.project(add(point, scene.cloud.low, -1)),
  });
}

function tell(text) {
  Object.assign($("message"), { textContent: text, hidden: false });
}

try {
  start();
} catch (error) {
  tell(error.message);
  throw error;
}
