// GLSL of the three things drawn: discs of the layers, kernels, filters. All colours are premultiplied.

import { SELECTED_SIZE } from './geometry.js';

const FETCH = `
uniform highp sampler2D places;
vec4 place(uint i) { return texelFetch(places, ivec2(int(i) % 1024, int(i) / 1024), 0); }
`;

/** A square a disc, built from gl_VertexID; `across` runs over [-1, 1]. */
export const DISC_VERTEX = `#version 300 es
precision highp float;
uniform mat4 viewProjection;
uniform float unit;
in vec4 disc;
out vec2 across;
void main() {
  int corner = gl_VertexID % 4;
  float depth = (viewProjection * vec4(disc.xyz, 1.0)).w;
  float roomForTheRim = 8.0 * max(depth, 0.0) / (disc.w * unit);
  across = vec2(corner % 2 == 0 ? -1.0 : 1.0, corner < 2 ? -1.0 : 1.0) * (1.0 + roomForTheRim);
  gl_Position = viewProjection * vec4(disc.x, disc.yz + across * disc.w, 1.0);
}`;

export const DISC_FRAGMENT = `#version 300 es
precision highp float;
uniform vec4 fill;
uniform vec4 rim;
uniform float pixelRatio;
in vec2 across;
out vec4 colour;
void main() {
  float distance = length(across);
  float pixel = max(fwidth(distance), 1e-4);
  float inside = 1.0 - smoothstep(-0.5, 0.5, (distance - 1.0) / pixel);
  float line = 1.0 - smoothstep(0.0, 1.0, abs(distance - 1.0) / pixel - 0.4 * pixelRatio);
  float alpha = max(fill.a * inside, rim.a * line);
  colour = vec4(mix(fill.rgb, rim.rgb, line) * alpha, alpha);
}`;

/** Six vertices a kernel, pulled from textures: one batched draw, and the least important kernel first. */
export const KERNEL_VERTEX = `#version 300 es
precision highp float;
precision highp int;
${FETCH}
uniform highp usampler2D kernels;
uniform mat4 viewProjection;
uniform vec2 resolution;
uniform float pixelRatio;
uniform float nearest;
uniform float eyeDistance;
uniform float opacity;
uniform float widest;
uniform int count;
uniform vec3 palette[5];
out vec4 tint;
out float side;
out float halfWidth;
void main() {
  int k = count - 1 - gl_VertexID / 6;
  int corner = gl_VertexID % 6;
  uvec4 kernel = texelFetch(kernels, ivec2(k % 1024, k / 1024), 0);
  vec4 a = viewProjection * vec4(place(kernel.x).xyz, 1.0);
  vec4 b = viewProjection * vec4(place(kernel.y).xyz, 1.0);
  if (a.w < nearest && b.w < nearest) { gl_Position = vec4(2.0, 2.0, 2.0, 1.0); return; }
  if (a.w < nearest) a = mix(a, b, (nearest - a.w) / (b.w - a.w));
  if (b.w < nearest) b = mix(b, a, (nearest - b.w) / (a.w - b.w));
  bool atEnd = corner == 2 || corner == 4 || corner == 5;
  float across = (corner == 0 || corner == 2 || corner == 4) ? -1.0 : 1.0;
  vec4 at = atEnd ? b : a;
  vec2 along = normalize((b.xy / b.w - a.xy / a.w) * resolution + vec2(1e-6, 0.0));
  float strength = float(kernel.w) / 255.0;
  float closeness = clamp(eyeDistance / at.w, 0.6, 1.7);
  float chosen = kernel.z == 4u ? 1.15 : 1.0;
  halfWidth = 0.5 * pixelRatio * chosen * closeness * mix(0.8, widest, pow(strength, 1.4));
  side = across * (halfWidth + 0.75);
  at.xy += vec2(-along.y, along.x) * side * 2.0 / resolution * at.w;
  gl_Position = at;
  float alpha = kernel.z == 4u ? 1.0 : clamp(opacity * mix(0.45, 1.35, strength), 0.0, 0.95);
  tint = vec4(palette[kernel.z], alpha);
}`;

export const KERNEL_FRAGMENT = `#version 300 es
precision highp float;
in vec4 tint;
in float side;
in float halfWidth;
out vec4 colour;
void main() {
  float alpha = tint.a * clamp(halfWidth + 0.5 - abs(side), 0.0, 1.0) * min(1.0, 2.0 * halfWidth);
  colour = vec4(tint.rgb * alpha, alpha);
}`;

/** One GL point a filter; `kind` is NORMAL, FADED or SELECTED, `marked` the target of the query. */
export const FILTER_VERTEX = `#version 300 es
precision highp float;
precision highp int;
${FETCH}
uniform mat4 viewProjection;
uniform float unit;
uniform float pixelRatio;
uniform vec3 background;
uniform vec3 weak;
uniform vec3 strong;
uniform vec3 chosen;
uniform int fadedOnly;
in float score;
in float kind;
in float marked;
in vec4 own;
out vec3 fill;
out vec3 line;
out float radius;
out float opacity;
out float ring;
flat out int square;
void main() {
  vec4 place = place(uint(gl_VertexID));
  gl_Position = viewProjection * vec4(place.xyz, 1.0);
  bool selected = kind > 1.5;
  bool faded = kind > 0.5 && !selected;
  radius = max(place.w * unit / gl_Position.w, 1.6 * pixelRatio) * (selected ? ${SELECTED_SIZE} : mix(0.72, 1.05, score));
  square = own.a > 0.5 ? 1 : 0;
  if (square == 1) radius *= 1.25;
  fill = square == 1 ? own.rgb : mix(weak, strong, pow(score, 0.8));
  line = square == 1 ? mix(own.rgb, strong, 0.35) : mix(strong, weak, 0.6 - 0.6 * score);
  ring = selected ? 2.0 : marked > 0.5 ? 1.0 : 0.0;
  opacity = square == 1 || selected || ring > 0.5 ? 1.0 : mix(0.5, 1.0, sqrt(score));
  if (selected) { fill = chosen; line = chosen; }
  if (faded) { fill = mix(background, fill, 0.22); line = mix(background, line, 0.3); }
  float reach = radius + min(ring, 1.0) * 5.0 * pixelRatio + 1.5;
  gl_PointSize = 2.0 * reach;
  if (selected) gl_Position.z = -0.99 * gl_Position.w;
  if (place.w == 0.0 || gl_Position.w <= 0.0 || faded != (fadedOnly == 1)) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
}`;

export const FILTER_FRAGMENT = `#version 300 es
precision highp float;
uniform float pixelRatio;
uniform vec3 background;
uniform vec3 accent;
uniform vec3 goal;
in vec3 fill;
in vec3 line;
in float radius;
in float opacity;
in float ring;
flat in int square;
out vec4 colour;
void main() {
  float reach = radius + min(ring, 1.0) * 5.0 * pixelRatio + 1.5;
  vec2 offset = (gl_PointCoord * 2.0 - 1.0) * reach;
  float distance = square == 1 ? max(abs(offset.x), abs(offset.y)) : length(offset);
  float body = clamp(radius + 0.5 - distance, 0.0, 1.0);
  float rimWidth = min(1.1 * pixelRatio, 0.35 * radius);
  float rim = clamp(distance - (radius - rimWidth) + 0.5, 0.0, 1.0);
  vec4 drawn = vec4(mix(fill, line, rim) * body, body) * opacity;
  if (ring > 0.5) {
    float halo = clamp(radius + 4.5 * pixelRatio + 0.5 - distance, 0.0, 1.0);
    float gap = clamp(radius + 2.2 * pixelRatio + 0.5 - distance, 0.0, 1.0);
    vec3 around = mix(ring > 1.5 ? accent : goal, background, gap);
    drawn = vec4(around * halo * (1.0 - body) + drawn.rgb, halo + body * (1.0 - halo));
  }
  if (drawn.a < 0.02) discard;
  colour = drawn;
}`;
