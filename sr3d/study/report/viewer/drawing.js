// Draws the cloud into its own picture and the boxes over it. So a box can be marked without drawing
// a million points again.

const BOX_FLOATS = 13; // centre, size, colour, yaw, mark, stroke

function program(gl, vertex, fragment) {
  const made = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS) && !gl.isContextLost())
    throw new Error(`${gl.getProgramInfoLog(made)}`);
  const uniforms = {};
  for (let i = 0; i < gl.getProgramParameter(made, gl.ACTIVE_UNIFORMS); i++) {
    const { name, type } = gl.getActiveUniform(made, i);
    uniforms[name] = { at: gl.getUniformLocation(made, name), type };
  }
  return { made, uniforms };
}

// Sets uniforms by name: numbers, vectors, and the one matrix.
function use(gl, { made, uniforms }, values) {
  gl.useProgram(made);
  for (const [name, value] of Object.entries(values)) {
    const { at, type } = uniforms[name];
    const whole = [gl.INT, gl.BOOL, gl.SAMPLER_2D].includes(type);
    if (type === gl.FLOAT_MAT4) gl.uniformMatrix4fv(at, false, value);
    else if (whole) gl.uniform1i(at, value);
    else gl[`uniform${[].concat(value).length}fv`](at, [].concat(value));
  }
}

class Drawing {
  constructor(canvas, cloud, packed) {
    const gl = canvas.getContext("webgl2", { antialias: false, alpha: false });
    if (!gl) throw new Error("This browser offers no WebGL 2, which the view needs.");
    Object.assign(this, { gl, cloud, boxes: 0, drawn: 0 });
    this.points = program(gl, POINTS_VERTEX, POINTS_FRAGMENT);
    this.whole = program(gl, WHOLE_VERTEX, WHOLE_FRAGMENT);
    this.edges = program(gl, EDGES_VERTEX, EDGES_FRAGMENT);
    this.faces = program(gl, FACES_VERTEX, FACES_FRAGMENT);
    this.nothing = gl.createVertexArray();
    this.pointArray = this.array(packed, [
      [this.points, "place", 3, 0, gl.UNSIGNED_SHORT],
      [this.points, "paint", 1, 6, gl.UNSIGNED_SHORT],
    ], 8, 0);
    this.boxBuffer = gl.createBuffer();
    const layout = ["centre", 3, "size", 3, "color", 3, "yaw", 1, "mark", 1, "stroke", 2];
    for (const kind of ["edges", "faces"]) {
      let offset = 0;
      const fields = [];
      for (let i = 0; i < layout.length; offset += 4 * layout[i + 1], i += 2)
        fields.push([this[kind], layout[i], layout[i + 1], offset, gl.FLOAT]);
      this[`${kind}Array`] = this.array(this.boxBuffer, fields, 4 * BOX_FLOATS, 1);
    }
    this.front = this.back = null;
  }

  array(data, fields, stride, divisor) {
    const { gl } = this;
    const made = gl.createVertexArray();
    gl.bindVertexArray(made);
    const buffer = data instanceof WebGLBuffer ? data : gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    if (buffer !== data) gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    for (const [{ made: of }, name, count, offset, type] of fields) {
      const at = gl.getAttribLocation(of, name);
      if (at < 0) continue; // a program without this attribute
      gl.enableVertexAttribArray(at);
      if (name === "paint") gl.vertexAttribIPointer(at, count, type, stride, offset);
      else gl.vertexAttribPointer(at, count, type, type === gl.UNSIGNED_SHORT, stride, offset);
      gl.vertexAttribDivisor(at, divisor);
    }
    return made;
  }

  resize(width, height) {
    const { gl } = this;
    Object.assign(gl.canvas, { width, height });
    for (const old of [this.front, this.back]) {
      if (!old) continue;
      gl.deleteFramebuffer(old.buffer);
      gl.deleteTexture(old.colors);
      gl.deleteTexture(old.depths);
    }
    [this.front, this.back] = [this.picture(width, height), this.picture(width, height)];
  }

  picture(width, height) {
    const { gl } = this;
    const texture = (format, place) => {
      const made = gl.createTexture();
      gl.bindTexture(gl.TEXTURE_2D, made);
      gl.texStorage2D(gl.TEXTURE_2D, 1, format, width, height);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
      gl.framebufferTexture2D(gl.FRAMEBUFFER, place, gl.TEXTURE_2D, made, 0);
      return made;
    };
    const buffer = gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, buffer);
    const colors = texture(gl.RGBA8, gl.COLOR_ATTACHMENT0);
    const depths = texture(gl.DEPTH_COMPONENT24, gl.DEPTH_ATTACHMENT);
    return { buffer, colors, depths };
  }

  // Draws points `from` to `to` of the cloud over the current picture, which point 0 clears.
  // spread: factor by which the points are thinned. Thinned points are drawn larger.
  addPoints(picture, camera, look, from, to, spread) {
    const { gl, cloud } = this;
    const ratio = gl.canvas.width / camera.width;
    gl.bindFramebuffer(gl.FRAMEBUFFER, picture.buffer);
    gl.viewport(0, 0, gl.canvas.width, gl.canvas.height);
    gl.enable(gl.DEPTH_TEST);
    gl.disable(gl.BLEND);
    gl.depthMask(true);
    if (from === 0) gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.bindVertexArray(this.pointArray);
    use(gl, this.points, {
      clip: camera.matrix(), extent: cloud.extent, low: camera.low, high: camera.high,
      eye: camera.eye(), thick: look.thick, size: look.size * Math.sqrt(spread),
      pixels: gl.canvas.height / (2 * TAN * (camera.flat ? camera.distance : 1)),
      least: Math.max(1, ratio), top: look.top, paintBy: look.paintBy, open: look.open,
      plain: look.plain,
    });
    gl.drawArrays(gl.POINTS, from, to - from);
  }

  // The graphics card is busy until it has finished all commands up to here.
  begin() {
    this.fence = this.gl.fenceSync(this.gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    this.gl.flush();
  }

  busy() {
    const { gl, fence } = this;
    if (!fence) return false;
    if (gl.getSyncParameter(fence, gl.SYNC_STATUS) !== gl.SIGNALED) return true;
    gl.deleteSync(fence);
    this.fence = null;
    return false;
  }

  setBoxes(floats) {
    const { gl } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.boxBuffer);
    gl.bufferData(gl.ARRAY_BUFFER, floats, gl.DYNAMIC_DRAW);
    this.boxes = floats.length / BOX_FLOATS;
  }

  // The picture in front, lit, and the boxes over it.
  show(camera, look) {
    const { gl } = this;
    const viewport = [gl.canvas.width, gl.canvas.height];
    const ratio = viewport[0] / camera.width;
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, ...viewport);
    gl.disable(gl.BLEND);
    gl.enable(gl.DEPTH_TEST);
    gl.depthFunc(gl.ALWAYS);
    gl.depthMask(true);
    [this.front.colors, this.front.depths].forEach((texture, i) => {
      gl.activeTexture(gl.TEXTURE0 + i);
      gl.bindTexture(gl.TEXTURE_2D, texture);
    });
    gl.bindVertexArray(this.nothing);
    use(gl, this.whole, {
      colors: 0, depths: 1, ground: look.ground, range: camera.range(), flat_: camera.flat,
      distance_: camera.distance, radius: Math.max(1, Math.round(ratio)), strength: camera.flat ? 2.5 : 4,
    });
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.depthFunc(gl.LEQUAL);
    if (!this.boxes) return;

    gl.enable(gl.BLEND);
    gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
    gl.depthMask(false);
    const clip = camera.matrix();
    gl.bindVertexArray(this.facesArray);
    use(gl, this.faces, { clip, alpha: look.faces });
    gl.drawArraysInstanced(gl.TRIANGLES, 0, 36, this.boxes);

    gl.bindVertexArray(this.edgesArray);
    const bright = look.ground[1] < 0.5 ? 0.12 : 0.45; // brighter colours get a dark halo
    const pass = (width, alpha, halo, hidden) => {
      gl[hidden ? "disable" : "enable"](gl.DEPTH_TEST);
      use(gl, this.edges, { clip, viewport, ratio, width, alpha, halo, bright });
      gl.drawArraysInstanced(gl.TRIANGLES, 0, 72, this.boxes);
    };
    pass(1.6, 0.3, false, true); // edges behind points are drawn faintly
    pass(3.8, 0.6, true, false);
    pass(2, 1, false, false);
    gl.enable(gl.DEPTH_TEST);
  }
}
