// The shader programs.

const POINTS_VERTEX = `#version 300 es
in vec3 place; in uint paint;
uniform mat4 clip; uniform vec3 extent, low, high, eye, thick;
uniform float size, pixels, least, top; uniform int paintBy; uniform bool open; uniform vec3 plain;
flat out vec3 color; flat out float round_;
// Cividis, a colour map that is also readable without colour vision.
const vec3 HEIGHT[6] = vec3[6](vec3(.0, .135, .305), vec3(.209, .273, .425), vec3(.401, .412, .441),
  vec3(.582, .559, .468), vec3(.786, .72, .4), vec3(.996, .909, .218));
void main() {
  vec3 at = place * extent;
  // The ceiling and the walls between the eye and the room.
  bvec3 above = greaterThan(eye, high), below = lessThan(eye, low);
  bvec3 upper = greaterThan(at, high - thick), lower = lessThan(at, low + thick);
  bool hides = (above.x && upper.x) || (above.y && upper.y) || (above.z && upper.z)
    || (below.x && lower.x) || (below.y && lower.y) || (below.z && at.z < low.z + thick.x);
  if ((open && hides) || at.z > top) { gl_Position = vec4(2, 2, 2, 1); gl_PointSize = 1.; return; }
  gl_Position = clip * vec4(at, 1);
  gl_PointSize = clamp(size * pixels / gl_Position.w, least, 40.);
  round_ = step(4., gl_PointSize);
  if (paintBy == 0) color = vec3(paint >> 11u, paint >> 5u & 63u, paint & 31u) / vec3(31, 63, 31);
  else if (paintBy == 1) {
    float h = clamp((at.z - low.z) / (high.z - low.z), 0., 1.) * 4.999;
    int i = int(h); color = mix(HEIGHT[i], HEIGHT[i + 1], h - float(i));
  } else color = plain;
}`;

const POINTS_FRAGMENT = `#version 300 es
precision mediump float;
flat in vec3 color; flat in float round_; out vec4 result;
void main() {
  vec2 d = gl_PointCoord * 2. - 1.;
  if (dot(d, d) * round_ > 1.) discard;
  result = vec4(color, 1);
}`;

const WHOLE_VERTEX = `#version 300 es
void main() { gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4. - 1., 0, 1); }`;

// Darkens points behind their neighbours (eye-dome lighting, Boucheny 2009), so that shapes are
// visible in clouds without normals and colours.
const WHOLE_FRAGMENT = `#version 300 es
precision highp float; precision highp sampler2D;
uniform sampler2D colors, depths; uniform vec3 ground; uniform vec2 range; uniform float distance_;
uniform float radius, strength; uniform bool flat_;
out vec4 result;
float far(ivec2 at) {
  ivec2 inside = clamp(at, ivec2(0), textureSize(depths, 0) - 1);
  float d = texelFetch(depths, inside, 0).r;
  if (flat_) return mix(range.x, range.y, d) / distance_ * 1.44;
  return log2(2. * range.x * range.y / (range.y + range.x - (2. * d - 1.) * (range.y - range.x)));
}
void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
  float d = texelFetch(depths, at, 0).r;
  gl_FragDepth = d;
  if (d == 1.) { result = vec4(ground, 1); return; }
  float own = far(at), sum = 0.; int r = int(radius);
  ivec2 near[8] = ivec2[8](ivec2(r, 0), ivec2(-r, 0), ivec2(0, r), ivec2(0, -r),
    ivec2(r, r), ivec2(-r, r), ivec2(r, -r), ivec2(-r, -r));
  for (int i = 0; i < 8; i++) sum += clamp(own - far(at + near[i]), 0., .05);
  result = vec4(texelFetch(colors, at, 0).rgb * exp(-strength * sum), 1);
}`;

const BOX = `#version 300 es
in vec3 centre, size, color; in float yaw, mark; in vec2 stroke;
uniform mat4 clip;
vec3 corner(int bits) {
  vec3 p = (vec3(bits & 1, bits >> 1 & 1, bits >> 2) - .5) * size;
  float c = cos(yaw), s = sin(yaw);
  return centre + vec3(c * p.x - s * p.y, s * p.x + c * p.y, p.z);
}`;

// An edge is two triangles of constant width in pixels. w is 1, so that dashes are even.
const EDGES_VERTEX = `${BOX}
uniform vec2 viewport; uniform float width, alpha, ratio; uniform bool halo; uniform float bright;
out float along, aside; flat out vec2 dash; flat out float wide; flat out vec4 paint;
void main() {
  int edge = gl_VertexID / 6, axis = edge >> 2, k = edge & 3;
  int from = axis == 0 ? k << 1 : axis == 1 ? (k & 1) | (k & 2) << 1 : k;
  vec4 a = clip * vec4(corner(from), 1), b = clip * vec4(corner(from | 1 << axis), 1);
  float a_in = a.z + a.w, b_in = b.z + b.w; // in front of the near plane where positive
  if (a_in < 0. && b_in < 0.) { gl_Position = vec4(2, 2, 2, 1); return; }
  if (a_in < 0.) a = mix(b, a, .999 * b_in / (b_in - a_in));
  if (b_in < 0.) b = mix(a, b, .999 * a_in / (a_in - b_in));
  vec3 p = a.xyz / a.w, q = b.xyz / b.w;
  vec2 way = (q.xy - p.xy) * viewport * .5;
  float length_ = length(way);
  way = length_ > 1e-4 ? way / length_ : vec2(1, 0);
  int corner_ = gl_VertexID % 6;
  bool end = corner_ == 1 || corner_ == 2 || corner_ == 4;
  float side = corner_ == 2 || corner_ == 4 || corner_ == 5 ? 1. : -1.;
  wide = (width + mark * 0.9) * ratio * .5;
  float reach = wide + 1.;
  vec2 shift = vec2(-way.y, way.x) * side * reach + way * (end ? .5 : -.5) * wide;
  gl_Position = vec4((end ? q : p) + vec3(shift / viewport * 2., -2e-4), 1);
  along = end ? length_ : 0.; aside = side * reach;
  // A halo is light around dark lines and dark around bright ones.
  float light = dot(pow(color, vec3(2.2)), vec3(.21, .72, .07));
  dash = stroke * ratio; paint = vec4(halo ? vec3(light < bright ? .97 : .08) : color, alpha);
}`;

const EDGES_FRAGMENT = `#version 300 es
precision highp float;
in float along, aside; flat in vec2 dash; flat in float wide; flat in vec4 paint; out vec4 result;
void main() {
  if (dash.y > 0. && mod(along, dash.x + dash.y) > dash.x) discard;
  float cover = clamp(wide + .5 - abs(aside), 0., 1.);
  if (cover <= 0.) discard;
  result = vec4(paint.rgb, paint.a * cover);
}`;

const FACES_VERTEX = `${BOX}
uniform float alpha; flat out vec4 paint;
void main() {
  int face = gl_VertexID / 6, k = gl_VertexID % 6, axis = face >> 1;
  int u = k == 1 || k == 3 || k == 4 ? 1 : 0, v = k == 2 || k == 4 || k == 5 ? 1 : 0;
  int bits = (face & 1) << axis | u << (axis + 1) % 3 | v << (axis + 2) % 3;
  gl_Position = clip * vec4(corner(bits), 1);
  paint = vec4(color, alpha * (1. + 1.6 * mark));
}`;

const FACES_FRAGMENT = `#version 300 es
precision mediump float;
flat in vec4 paint; out vec4 result;
void main() { result = paint; }`;
