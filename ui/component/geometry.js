// Places, sizes, projection and picking. Free of GL, so that `node --test` covers it.

import { FADED, SELECTED } from './network.js';

const SMALLEST_RADIUS = 0.012;
const LARGEST_RADIUS = 0.06;
const RADIUS_OF_SPACING = 0.36;
const SMALLEST_DISC = 0.13;
const SAMPLED_NEIGHBOURS = 48;
const LAYER_SPACING = 1.65;
const LONGEST = 16;
const NEAR = 0.01;
/** How much larger the selected filter is drawn. */
export const SELECTED_SIZE = 1.45;
const DISC_CORNERS = 24;

/** Rows of the filters of each layer: a Map from layer number to an array of rows. */
export function groupByLayer(layer) {
  const groups = new Map();
  layer.forEach((number, i) => {
    if (!groups.has(number)) groups.set(number, []);
    groups.get(number).push(i);
  });
  return groups;
}

/**
 * Scene coordinates of a network whose coordinates come in any unit.
 *
 * The network axis (z) becomes the horizontal axis of the scene; the widest layer gets a disc of radius 1,
 * and depths lie LAYER_SPACING apart on average, nearer where the network would be too long otherwise.
 *
 * Returns positions (x, y, z per filter), radii (scene units per filter), the spacing of depths, and discs: {layer,
 * centre, radius, first, filters} per layer, in order of layer number; `first` is the row of one of its `filters`.
 */
export function buildScene(filters) {
  const groups = groupByLayer(filters.layer);
  const flat = planeTransform(filters, groups);
  const depth = depthTransform(filters.z);
  const positions = new Float32Array(3 * filters.count);
  for (let i = 0; i < filters.count; i++) {
    positions[3 * i] = depth.place(filters.z[i]);
    positions[3 * i + 1] = flat.y(filters.y[i]);
    positions[3 * i + 2] = flat.x(filters.x[i]);
  }
  const radii = new Float32Array(filters.count);
  const discs = [];
  for (const [layer, rows] of [...groups].sort((a, b) => a[0] - b[0])) {
    const radius = pointRadius(positions, rows);
    for (const i of rows) radii[i] = radius;
    discs.push({ layer, first: rows[0], filters: rows.length, ...disc(positions, rows, radius) });
  }
  return { positions, radii, discs, spacing: depth.spacing };
}

/** Functions that centre x and y and scale both alike, so that the widest layer has radius 1. */
function planeTransform(filters, groups) {
  let widest = 0;
  for (const rows of groups.values()) {
    const [x, y] = [range(filters.x, rows), range(filters.y, rows)];
    for (const i of rows) widest = Math.max(widest, Math.hypot(filters.x[i] - x.middle, filters.y[i] - y.middle));
  }
  const scale = widest > 0 ? 1 / widest : 1;
  const [x, y] = [range(filters.x), range(filters.y)];
  return { x: (value) => (value - x.middle) * scale, y: (value) => (value - y.middle) * scale };
}

function depthTransform(z) {
  const all = range(z);
  const steps = new Set(z).size - 1;
  const length = Math.min(Math.max(LAYER_SPACING * steps, 0), LONGEST);
  const place = (value) => (all.size > 0 ? ((value - all.middle) / all.size) * length : 0);
  return { place, spacing: steps > 0 ? length / steps : LAYER_SPACING };
}

function range(values, rows = null) {
  let low = Infinity;
  let high = -Infinity;
  const take = (value) => {
    if (value < low) low = value;
    if (value > high) high = value;
  };
  if (rows) for (const i of rows) take(values[i]);
  else values.forEach(take);
  return low <= high ? { middle: (low + high) / 2, size: high - low } : { middle: 0, size: 0 };
}

/** Radius of the points of one layer: a share of the median distance to the nearest neighbour. */
function pointRadius(positions, rows) {
  const step = Math.max(1, Math.floor(rows.length / SAMPLED_NEIGHBOURS));
  const nearest = [];
  for (let k = 0; k < rows.length; k += step) {
    let best = Infinity;
    for (const j of rows) if (j !== rows[k]) best = Math.min(best, planarDistance(positions, rows[k], j));
    nearest.push(best);
  }
  nearest.sort((a, b) => a - b);
  const spacing = nearest[nearest.length >> 1];
  return Math.min(Math.max(RADIUS_OF_SPACING * spacing, SMALLEST_RADIUS), LARGEST_RADIUS);
}

function planarDistance(positions, i, j) {
  return Math.hypot(positions[3 * i + 1] - positions[3 * j + 1], positions[3 * i + 2] - positions[3 * j + 2]);
}

function disc(positions, rows, radius) {
  const along = (axis) => range(rows.map((i) => positions[3 * i + axis])).middle;
  const centre = [along(0), along(1), along(2)];
  let widest = 0;
  for (const i of rows) {
    widest = Math.max(widest, Math.hypot(positions[3 * i + 1] - centre[1], positions[3 * i + 2] - centre[2]));
  }
  return { centre, radius: Math.max(widest + 2 * radius, SMALLEST_DISC) };
}

/** Points on the rims of the discs: what the camera must keep in view. */
export function outline(discs, pointsPerDisc = 16) {
  const points = new Float32Array(discs.length * pointsPerDisc * 3);
  discs.forEach(({ centre, radius }, d) => {
    for (let k = 0; k < pointsPerDisc; k++) {
      const angle = (2 * Math.PI * k) / pointsPerDisc;
      const place = [centre[0], centre[1] + radius * Math.sin(angle), centre[2] + radius * Math.cos(angle)];
      points.set(place, 3 * (d * pointsPerDisc + k));
    }
  });
  return points;
}

/**
 * Project scene positions: (x, y) in CSS pixels from the upper left corner, and w, the distance along the
 * line of sight, per point; w below NEAR means behind the camera. `matrix` is column-major.
 */
export function project(positions, matrix, width, height, out = new Float32Array(positions.length)) {
  const m = matrix;
  for (let i = 0; i < positions.length; i += 3) {
    const x = positions[i];
    const y = positions[i + 1];
    const z = positions[i + 2];
    const w = m[3] * x + m[7] * y + m[11] * z + m[15];
    out[i] = ((m[0] * x + m[4] * y + m[8] * z + m[12]) / w + 1) * 0.5 * width;
    out[i + 1] = (1 - (m[1] * x + m[5] * y + m[9] * z + m[13]) / w) * 0.5 * height;
    out[i + 2] = w;
  }
  return out;
}

/**
 * The filter under a pixel, or -1: of those whose drawn circle holds the pixel the one in front, else the
 * nearest within `tolerance` pixels. One of radius 0 is hidden, and one nearer to the viewer than `nearest`.
 *
 * `unit` is the number of pixels of one scene unit at distance 1. Given the `states` of all filters (see `highlight`),
 * only those that are FADED are looked at, or only the others.
 */
export function pickFilter(screen, radii, unit, x, y, { tolerance = 6, nearest = NEAR, states = null, faded = false } = {}) {
  let front = -1;
  let frontDepth = Infinity;
  let near = -1;
  let nearDistance = tolerance;
  for (let i = 0; i < radii.length; i++) {
    const depth = screen[3 * i + 2];
    if (depth < nearest || radii[i] === 0 || (states && (states[i] === FADED) !== faded)) continue;
    const size = states?.[i] === SELECTED ? SELECTED_SIZE : 1;
    const distance = Math.hypot(screen[3 * i] - x, screen[3 * i + 1] - y);
    if (distance <= (size * radii[i] * unit) / depth && depth < frontDepth) {
      front = i;
      frontDepth = depth;
    }
    if (distance < nearDistance) {
      near = i;
      nearDistance = distance;
    }
  }
  return front >= 0 ? front : near;
}

/**
 * The kernel within `tolerance` pixels of a pixel that lies nearest to it, or -1; of equally near ones the
 * most important. `rows` limits the search to some kernels.
 */
export function pickKernel(screen, kernels, x, y, { rows = null, tolerance = 4, nearest = NEAR } = {}) {
  let best = -1;
  let bestDistance = tolerance;
  const count = rows ? rows.length : kernels.count;
  for (let k = 0; k < count; k++) {
    const e = rows ? rows[k] : k;
    const distance = segmentDistance(screen, 3 * kernels.source[e], 3 * kernels.target[e], x, y, bestDistance, nearest);
    if (distance < bestDistance) {
      best = e;
      bestDistance = distance;
    }
  }
  return best;
}

/** Pixels between a point and a projected segment; Infinity where it is farther than `limit` or behind the camera. */
function segmentDistance(screen, a, b, x, y, limit, nearest) {
  const ax = screen[a] - x;
  const bx = screen[b] - x;
  if ((ax > limit && bx > limit) || (ax < -limit && bx < -limit)) return Infinity;
  const ay = screen[a + 1] - y;
  const by = screen[b + 1] - y;
  if ((ay > limit && by > limit) || (ay < -limit && by < -limit)) return Infinity;
  if (screen[a + 2] < nearest || screen[b + 2] < nearest) return Infinity;
  const dx = bx - ax;
  const dy = by - ay;
  const squared = dx * dx + dy * dy;
  const t = squared > 0 ? Math.min(Math.max(-(ax * dx + ay * dy) / squared, 0), 1) : 0;
  return Math.hypot(ax + t * dx, ay + t * dy);
}

/** The disc under a pixel, the nearest to the viewer where several are; null where there is none. */
export function pickDisc(discs, matrix, width, height, x, y) {
  const corners = project(outline(discs, DISC_CORNERS), matrix, width, height);
  let best = null;
  let nearest = Infinity;
  discs.forEach((disc, d) => {
    const depth = corners[3 * DISC_CORNERS * d + 2];
    if (depth > NEAR && depth < nearest && insidePolygon(corners, d * DISC_CORNERS, x, y)) {
      best = disc;
      nearest = depth;
    }
  });
  return best;
}

/** Whether a pixel lies inside the polygon of DISC_CORNERS projected points from row `start` on. */
function insidePolygon(points, start, x, y) {
  let inside = false;
  for (let k = 0; k < DISC_CORNERS; k++) {
    const a = 3 * (start + k);
    const b = 3 * (start + ((k + 1) % DISC_CORNERS));
    const [ay, by] = [points[a + 1], points[b + 1]];
    if (ay > y !== by > y && x < points[a] + ((y - ay) / (by - ay)) * (points[b] - points[a])) inside = !inside;
  }
  return inside;
}

/**
 * What is on top under a pixel: a filter, then a kernel, then a filter that is faded; null where none of them is.
 *
 * `eye` has the `unit` and `nearest` of `pickFilter`; `rows` are the kernels that can be picked, null for all.
 */
export function pick(scene, network, screen, { unit, nearest }, x, y, { rows = null, states = null } = {}) {
  const filter = (faded) => pickFilter(screen, scene.radii, unit, x, y, { nearest, states, faded });
  const above = filter(false);
  if (above >= 0) return { kind: 'filter', index: above };
  const kernel = pickKernel(screen, network.kernels, x, y, { rows, nearest });
  if (kernel >= 0) return { kind: 'kernel', index: kernel };
  const below = states ? filter(true) : -1;
  return below >= 0 ? { kind: 'filter', index: below } : null;
}
