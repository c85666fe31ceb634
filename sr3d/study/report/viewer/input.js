// Mouse, touch and keys: they move the camera and select boxes.

const TURN = 0.35; // degrees per pixel
const STILL = 4; // pixels that a click may move

// acts: moved(), pick(x, y), hover(x, y) or hover() when the pointer leaves, zoomTo(x, y), and the
// actions of keys by their names.
function listen(canvas, camera, acts) {
  const down = new Map(); // pointers by their number
  let start = null;
  const at = (event) => {
    const place = canvas.getBoundingClientRect();
    return [event.clientX - place.left, event.clientY - place.top];
  };
  const middle = () => {
    const all = [...down.values()];
    const sum = all.reduce((a, b) => add(a, b), [0, 0]).map((v) => v / all.length);
    const apart = all.length > 1 ? Math.hypot(...add(all[0], all[1], -1)) : 0;
    return [...sum, apart];
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, at(event));
    start = down.size === 1 && event.button === 0 ? at(event) : null;
    acts.hover();
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = at(event);
    if (!down.has(event.pointerId)) {
      if (event.pointerType === "mouse") acts.hover(x, y);
      return;
    }
    if (start && Math.hypot(x - start[0], y - start[1]) <= STILL) return;
    start = null;
    const [x0, y0, apart0] = middle();
    down.set(event.pointerId, [x, y]);
    const [x1, y1, apart1] = middle();
    const moves = down.size > 1 || event.buttons & 6 || event.shiftKey || event.ctrlKey;
    if (moves) camera.pan(x1 - x0, y1 - y0);
    else camera.orbit(-(x1 - x0) * TURN, (y1 - y0) * TURN);
    if (down.size > 1 && apart1 > 0) camera.zoom(apart0 / apart1, x1, y1);
    acts.moved();
  });
  const release = (event) => {
    if (!down.delete(event.pointerId)) return;
    if (start && event.type === "pointerup") acts.pick(...start);
    start = null;
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => acts.hover());
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("dblclick", (event) => acts.zoomTo(...at(event)));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const pixels = event.deltaY * [1, 30, 300][event.deltaMode];
    camera.zoom(Math.exp(Math.max(-240, Math.min(240, pixels)) * 0.0015), ...at(event));
    acts.moved();
  }, { passive: false });

  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = arrows[event.key];
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (arrow && event.shiftKey) camera.pan(-40 * arrow[0], -40 * arrow[1]);
    else if (arrow) camera.orbit(6 * arrow[0], -6 * arrow[1]);
    else if (key === "+" || key === "=") camera.zoom(1 / 1.15);
    else if (key === "-") camera.zoom(1.15);
    else if (acts.keys[key]) acts.keys[key]();
    else return;
    event.preventDefault();
    acts.moved();
  });
}
