// Perspective camera that orbits a centre. Angles in radians, lengths in scene units, matrices column-major.

// A long lens keeps the ellipses of the first and the last layer alike.
const FIELD_OF_VIEW = 0.32;
const FOCAL = 1 / Math.tan(FIELD_OF_VIEW / 2);
const START = { azimuth: -0.6, elevation: 0.22 };
const LEAST_AZIMUTH = 0.3;
const STEEPEST = Math.PI / 2 - 0.02;

/**
 * A camera that looks at the network from slightly before, beside and above it, input on the left.
 *
 * The nearer to each other discs of radius 1 stand, the more it looks from the side: they hide less of each other.
 */
export function createCamera(spacing = Infinity) {
  const azimuth = Math.max(START.azimuth, -Math.max(LEAST_AZIMUTH, Math.atan(0.6 * spacing)));
  return { ...START, azimuth, distance: 20, centre: [0, 0, 0] };
}

/** Look along the network from before its input, or at right angles to it. */
export function lookFrom(camera, side) {
  Object.assign(camera, { front: { azimuth: -Math.PI / 2, elevation: 0 }, side: { azimuth: 0, elevation: 0 } }[side]);
}

/** Unit vectors to the right, up, and back to the viewer. */
export function cameraBasis({ azimuth, elevation }) {
  const [sa, ca, se, ce] = [Math.sin(azimuth), Math.cos(azimuth), Math.sin(elevation), Math.cos(elevation)];
  return { right: [ca, 0, -sa], up: [-se * sa, ce, -se * ca], back: [ce * sa, se, ce * ca] };
}

const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

/** What is nearer to the viewer than this is not drawn. */
export function nearestDepth(distance) {
  return distance * 0.02;
}

/** Projection times view for a picture of `width` by `height`. */
export function viewProjection(camera, width, height) {
  const { right, up, back } = cameraBasis(camera);
  const near = nearestDepth(camera.distance);
  const far = camera.distance + 200;
  const [sx, sy] = [(FOCAL * height) / width, FOCAL];
  const sz = (far + near) / (near - far);
  const tz = (2 * far * near) / (near - far);
  const { centre, distance } = camera;
  const ox = -dot(right, centre);
  const oy = -dot(up, centre);
  const oz = -dot(back, centre) - distance;
  const matrix = new Float32Array(16);
  for (let k = 0; k < 3; k++) matrix.set([sx * right[k], sy * up[k], sz * back[k], -back[k]], 4 * k);
  matrix.set([sx * ox, sy * oy, sz * oz + tz, -oz], 12);
  return matrix;
}

/** Pixels of one scene unit at distance 1. */
export function pixelsPerUnit(height) {
  return (FOCAL * height) / 2;
}

/** Turn by a drag of (dx, dy) pixels. */
export function orbit(camera, dx, dy) {
  camera.azimuth -= dx * 0.007;
  camera.elevation = Math.min(Math.max(camera.elevation + dy * 0.007, -STEEPEST), STEEPEST);
}

/** Move nearer (delta < 0) or away by a turn of the wheel. */
export function zoom(camera, delta) {
  camera.distance = Math.min(Math.max(camera.distance * Math.exp(delta * 0.0012), 0.4), 400);
}

/** Shift so that the centre follows a drag of (dx, dy) pixels in a picture of `height`. */
export function pan(camera, dx, dy, height) {
  const { right, up } = cameraBasis(camera);
  const unit = camera.distance / pixelsPerUnit(height);
  camera.centre = camera.centre.map((value, k) => value + (-dx * right[k] + dy * up[k]) * unit);
}

/**
 * Move the camera, without turning it, as near as it can be with all points in view.
 *
 * `padding` {left, right, top, bottom} in pixels is kept free. Each side of the picture gives one linear
 * constraint on the distance and the shift, so the answer is exact: with slope k of a side, a point (a, t)
 * across and towards the viewer is inside when a + k t <= k distance + shift.
 */
export function fitCamera(camera, points, width, height, padding) {
  const { right, up, back } = cameraBasis(camera);
  const aspect = width / height;
  const horizontal = sides(points, right, back, aspect, padding.right / width, padding.left / width);
  const vertical = sides(points, up, back, 1, padding.top / height, padding.bottom / height);
  const distance = Math.max(horizontal.distance, vertical.distance, 0.5);
  const [across, along] = [horizontal.shift(distance), vertical.shift(distance)];
  camera.distance = distance;
  camera.centre = right.map((value, k) => value * across + up[k] * along);
}

function sides(points, axis, back, aspect, marginHigh, marginLow) {
  const slope = (margin) => (Math.max(0.2, 1 - 2 * margin) * aspect) / FOCAL;
  const [high, low] = [slope(marginHigh), slope(marginLow)];
  let most = -Infinity;
  let least = -Infinity;
  for (let i = 0; i < points.length; i += 3) {
    const point = points.subarray(i, i + 3);
    const [a, t] = [dot(axis, point), dot(back, point)];
    most = Math.max(most, a + high * t);
    least = Math.max(least, -a + low * t);
  }
  if (points.length === 0) [most, least] = [1, 1];
  return {
    distance: (most + least) / (high + low),
    shift: (distance) => (most - high * distance + (low * distance - least)) / 2,
  };
}
