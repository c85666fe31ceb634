// The panel beside the view: shown layers, their style, and the details of a box.

const STROKES = {
  solid: [1, 0], dotted: [2, 4], "short-dashed": [5, 3], dashed: [9, 6], "long-dashed": [18, 6],
};
const $ = (id) => document.getElementById(id);

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties))
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// A short line in the style of a layer's edges.
function stroke(layer) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const [on, off] = STROKES[layer.stroke];
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  for (const [key, value] of Object.entries({
    d: "M0 6H34", stroke: "currentColor", "stroke-width": 2.4, "stroke-dasharray": off ? `${on} ${off}` : "none",
  })) line.setAttribute(key, value);
  svg.setAttribute("viewBox", "0 0 34 12");
  svg.setAttribute("aria-hidden", "true");
  svg.append(line);
  return svg;
}

class Controls {
  // changed(what): called with "boxes", "points" or "look" if these must be drawn again.
  constructor(scene, boxes, state, changed) {
    Object.assign(this, { scene, boxes, state, changed });
    $("note").textContent = scene.cloud.note;
    $("version").textContent = `Made by sr3d ${scene.version}. Metres; z is up.`;
    this.layers();
    this.classes();
    this.sliders();
    this.theme();
    this.count();
    this.details(null);
  }

  toggle(parent, on, name, parts, flip) {
    const box = element("input", { type: "checkbox", checked: on });
    const label = element("label", { className: "check" }, box, ...parts);
    box.setAttribute("aria-label", name);
    box.addEventListener("change", () => (flip(box.checked), this.count(), this.changed("boxes")));
    parent.append(label);
    return box;
  }

  layers() {
    this.layerCounts = this.scene.layers.map((layer, i) => {
      const count = element("span", { className: "count" });
      const name = element("span", { className: "name", textContent: layer.name });
      const flip = (on) => (this.state.layers[i] = on);
      this.toggle($("layers"), true, layer.name, [stroke(layer), name, count], flip);
      return count;
    });
    $("score-row").hidden = !this.scene.layers.some((layer) => !layer.truth);
    $("shown").hidden = !this.scene.layers.length;
    $("selected").hidden = !this.boxes.length;
    $("cloud").hidden = !this.scene.cloud.count;
  }

  classes() {
    const used = new Set(this.boxes.map((box) => box.label));
    if (this.scene.layers.length > 1)
      $("classes").append(element("div", { className: "heads" }, ...this.scene.layers.map(stroke)));
    this.classRows = this.scene.classes.flatMap(({ name, color }, label) => {
      if (!used.has(label)) return [];
      const counts = this.scene.layers.map(() => element("span", { className: "count" }));
      const swatch = element("span", { className: "swatch" });
      swatch.style.background = color;
      const flip = (on) => (this.state.classes[label] = on);
      const parts = [swatch, element("span", { className: "name", textContent: name }), ...counts];
      return [{ name, label, counts, box: this.toggle($("classes"), true, name, parts, flip) }];
    });
    for (const [id, on] of [["all", true], ["none", false]])
      $(id).addEventListener("click", () => {
        this.classRows.forEach(({ box, label }) => (box.checked = this.state.classes[label] = on));
        this.count();
        this.changed("boxes");
      });
  }

  // Number of boxes above the score, by layer and class.
  count() {
    const table = this.scene.layers.map(() => this.scene.classes.map(() => 0));
    for (const box of this.boxes) if (this.passes(box)) table[box.layer][box.label]++;
    table.forEach((row, i) => (this.layerCounts[i].textContent = row.reduce((a, b) => a + b, 0)));
    for (const { name, label, counts, box } of this.classRows) {
      counts.forEach((count, i) => (count.textContent = table[i][label]));
      const texts = this.scene.layers.map((layer, i) => `${table[i][label]} in ${layer.name}`);
      box.setAttribute("aria-label", `${name}: ${texts.join(", ")}`);
    }
  }

  passes({ score }) {
    return score === null || score >= this.state.score;
  }

  sliders() {
    const { state } = this;
    const bind = (id, event, set, what) => {
      const control = $(id);
      const act = () => {
        const value = control.type === "checkbox" ? control.checked : Number(control.value);
        const text = set(value);
        if ($(`${id}-value`)) $(`${id}-value`).textContent = text;
      };
      control.addEventListener(event, () => (act(), this.changed(what)));
      act();
    };
    const { frame, low, extent, colored } = this.scene.cloud;
    const [bottom, roof] = [frame[0][2], Math.max(frame[1][2], low[2] + extent[2])];
    Object.assign($("top"), { min: Math.floor(bottom * 20) / 20, max: Math.ceil(roof * 20) / 20 });
    $("top").value = $("top").max;
    $("score").value = state.score;
    $("paint").options[0].disabled = !colored;
    $("paint").value = colored ? 0 : 1;
    bind("score", "input", (v) => ((state.score = v), this.classRows && this.count(), v.toFixed(2)), "boxes");
    bind("paint", "change", (v) => (state.paintBy = v), "points");
    bind("size", "input", (v) => ((state.scale = 2 ** v), `${2 ** v >= 1 ? Math.round(10 * 2 ** v) / 10 : (2 ** v).toFixed(2)}×`), "points");
    bind("top", "input", (v) => ((state.top = v > $("top").max - 0.01 ? 1e9 : v - low[2]), `${v.toFixed(2)} m`), "points");
    bind("open", "change", (v) => (state.open = v), "points");
    bind("faces", "change", (v) => (state.faces = v ? 0.07 : 0), "look");
    bind("names", "change", (v) => (state.names = v), "look");
  }

  theme() {
    const dark = matchMedia("(prefers-color-scheme: dark)");
    let chosen = null;
    const set = () => {
      const theme = chosen ?? (dark.matches ? "dark" : "light");
      document.documentElement.dataset.theme = theme;
      $("theme").textContent = theme === "dark" ? "Light page" : "Dark page";
      this.changed("points");
    };
    dark.addEventListener("change", set);
    $("theme").addEventListener("click", () => {
      chosen = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
      set();
    });
    set();
  }

  details(box) {
    $("frame").disabled = !box;
    if (!box) {
      const hint = "Click a box for its class, size and overlap.";
      $("details").replaceChildren(element("p", { className: "soft", textContent: hint }));
      return;
    }
    const [x, y, z, dx, dy, dz, yaw] = box.box;
    const layer = this.scene.layers[box.layer];
    const metres = (...values) => values.map((v) => v.toFixed(2));
    const facts = [["Layer", layer.name]];
    if (box.score !== null) facts.push(["Score", box.score.toFixed(3)]);
    facts.push(
      ["Size", `${metres(dx, dy, dz).join(" × ")} m`],
      ["Volume", `${(dx * dy * dz).toPrecision(3)} m³`],
      ["Yaw", `${((yaw * 180) / Math.PI).toFixed(1)}°`],
      ["Centre", `${metres(x, y, z).join(", ")} m`],
    );
    if (layer.overlaps.length) facts.push(["IoU", this.overlap(layer.overlaps[box.index])]);
    const rows = facts.flatMap(([name, value]) => [
      element("dt", { textContent: name }), element("dd", { textContent: value })]);
    const name = element("p", { className: "name", textContent: this.scene.classes[box.label].name });
    $("details").replaceChildren(name, element("dl", {}, ...rows));
  }

  overlap(best) {
    if (!best.length) return "0: overlaps no ground truth";
    const truth = this.scene.layers.find((layer) => layer.truth);
    const name = (i) => this.scene.classes[truth.labels[i]].name;
    return best.map(([i, iou]) => `${iou.toFixed(2)} with ${name(i)} (${truth.name})`).join("; ");
  }
}
