// `node --test ui/component/`: places, camera, projection and picking, without a browser.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { cameraBasis, createCamera, fitCamera, orbit, pan, pixelsPerUnit, viewProjection, zoom } from './camera.js';
import { buildScene, outline, pick, pickDisc, pickFilter, pickKernel, project } from './geometry.js';
import { FADED, NORMAL, SELECTED } from './network.js';

const close = (actual, expected, tolerance = 1e-4) =>
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual} is not ${expected}`);

/** Three layers of 1, 4 and 4 filters, in units that have nothing to do with the screen. */
function filters(scale = 1, offset = 0) {
  const at = (x, y, z, layer) => ({ x: x * scale + offset, y: y * scale - offset, z: z * 7 * scale, layer });
  const ring = (z, r) => [at(r, 0, z, z), at(0, r, z, z), at(-r, 0, z, z), at(0, -r, z, z)];
  const rows = [at(0, 0, 0, 0), ...ring(1, 3), ...ring(2, 5)];
  const column = (name, type) => type.from(rows.map((row) => row[name]));
  return {
    count: rows.length,
    x: column('x', Float32Array), y: column('y', Float32Array), z: column('z', Float32Array),
    layer: column('layer', Uint16Array),
  };
}

test('the widest layer has radius 1, whatever the unit', () => {
  for (const [scale, offset] of [[1, 0], [0.001, 5], [4000, -300]]) {
    const { positions } = buildScene(filters(scale, offset));
    const radius = (i) => Math.hypot(positions[3 * i + 1], positions[3 * i + 2]);
    close(radius(5), 1, 2e-3);
    close(radius(1), 0.6, 2e-3);
  }
});

test('depth runs along the horizontal axis of the scene, centred', () => {
  const { positions } = buildScene(filters());
  const depths = [0, 1, 5].map((i) => positions[3 * i]);
  close(depths[0], -depths[2]);
  close(depths[1], 0);
  assert.ok(depths[0] < depths[1] && depths[1] < depths[2]);
});

/** A chain of `count` layers of four filters, one unit of depth apart. */
function chain(count) {
  const corner = (i) => (i % 4) * (Math.PI / 2);
  const column = (type, value) => type.from({ length: 4 * count }, (_, i) => value(i));
  return {
    count: 4 * count,
    x: column(Float32Array, (i) => Math.cos(corner(i))), y: column(Float32Array, (i) => Math.sin(corner(i))),
    z: column(Float32Array, (i) => Math.floor(i / 4)), layer: column(Uint16Array, (i) => Math.floor(i / 4)),
  };
}

test('the more layers, the nearer they stand and the more the camera looks from the side', () => {
  const [short, long, longest] = [5, 26, 200].map((count) => buildScene(chain(count)));
  assert.ok(short.spacing > 1.5 && long.spacing < short.spacing && longest.spacing < long.spacing);
  for (const scene of [short, long, longest]) {
    const depths = scene.discs.map(({ centre }) => centre[0]);
    close(depths[1] - depths[0], scene.spacing);
    assert.ok(depths.at(-1) - depths[0] <= 16.001);
  }
  const [a, b, c] = [short, long, longest].map(({ spacing }) => createCamera(spacing).azimuth);
  assert.ok(a === createCamera().azimuth && a < b && b < c && c < -0.2);
});

test('layers of one depth that stand apart have discs of their own', () => {
  const [x, y] = [[-1, 0, 1, -1, 0, 1], [0, 1, 0, 3, 4, 3]].map((values) => Float32Array.from(values));
  const layer = Uint16Array.from([1, 1, 1, 2, 2, 2]);
  const { discs } = buildScene({ count: 6, x, y, z: new Float32Array(6), layer });
  assert.deepEqual(discs.map(({ first, filters }) => [first, filters]), [[0, 3], [3, 3]]);
  const apart = Math.hypot(...discs[0].centre.map((value, k) => value - discs[1].centre[k]));
  assert.ok(apart > discs[0].radius + discs[1].radius);
});

test('the disc under a pixel is found, the one in front where two are', () => {
  const { discs } = buildScene(chain(3));
  const camera = createCamera();
  fitCamera(camera, outline(discs), 800, 500, { left: 20, right: 20, top: 20, bottom: 20 });
  const matrix = viewProjection(camera, 800, 500);
  for (const disc of discs) {
    const [px, py] = project(Float32Array.from(disc.centre), matrix, 800, 500);
    assert.equal(pickDisc(discs, matrix, 800, 500, px, py).layer, disc.layer);
  }
  assert.equal(pickDisc(discs, matrix, 800, 500, 2, 2), null);
  const behind = { ...discs[1], layer: 9, centre: discs[1].centre.map((value, k) => value - (k === 2 ? 0.01 : 0)) };
  const [px, py] = project(Float32Array.from(discs[1].centre), matrix, 800, 500);
  assert.equal(pickDisc([behind, discs[1]], matrix, 800, 500, px, py).layer, 1);
});

test('every filter lies inside the disc of its layer', () => {
  const network = filters();
  const { positions, discs } = buildScene(network);
  assert.deepEqual(discs.map((disc) => disc.layer), [0, 1, 2]);
  network.layer.forEach((layer, i) => {
    const { centre, radius } = discs[layer];
    const off = Math.hypot(positions[3 * i + 1] - centre[1], positions[3 * i + 2] - centre[2]);
    assert.ok(off < radius);
    close(positions[3 * i], centre[0]);
  });
});

test('points do not touch their neighbours', () => {
  const count = 400;
  const angle = (i) => i * Math.PI * (3 - Math.sqrt(5));
  const x = Float32Array.from({ length: count }, (_, i) => Math.sqrt(i + 0.5) * Math.cos(angle(i)));
  const y = Float32Array.from({ length: count }, (_, i) => Math.sqrt(i + 0.5) * Math.sin(angle(i)));
  const { positions, radii } = buildScene({ count, x, y, z: new Float32Array(count), layer: new Uint16Array(count) });
  let nearest = Infinity;
  for (let j = 1; j < count; j++) {
    nearest = Math.min(nearest, Math.hypot(positions[1] - positions[3 * j + 1], positions[2] - positions[3 * j + 2]));
  }
  assert.ok(2 * radii[0] < nearest, `${2 * radii[0]} against ${nearest}`);
});

test('a network of one filter, and an empty one, have finite places', () => {
  const one = { count: 1, x: [3], y: [4], z: [5], layer: [0] };
  assert.deepEqual([...buildScene(one).positions], [0, 0, 0]);
  const none = { count: 0, x: [], y: [], z: [], layer: [] };
  assert.deepEqual(buildScene(none).discs, []);
});

test('projection agrees with the camera written out by hand', () => {
  const camera = { azimuth: 0.4, elevation: 0.3, distance: 9, centre: [0.5, -0.2, 0.1] };
  const [width, height] = [800, 500];
  const point = [1.2, 0.7, -0.4];
  const { right, up, back } = cameraBasis(camera);
  const dot = (a, b) => a.reduce((sum, value, k) => sum + value * b[k], 0);
  const off = point.map((value, k) => value - camera.centre[k]);
  const depth = camera.distance - dot(off, back);
  const unit = pixelsPerUnit(height);
  const screen = project(Float32Array.from(point), viewProjection(camera, width, height), width, height);
  close(screen[0], width / 2 + (dot(off, right) * unit) / depth, 1e-2);
  close(screen[1], height / 2 - (dot(off, up) * unit) / depth, 1e-2);
  close(screen[2], depth, 1e-4);
});

test('fitting keeps everything inside the padding and touches it', () => {
  const padding = { left: 40, right: 30, top: 60, bottom: 45 };
  for (const [width, height] of [[1100, 620], [400, 900], [300, 200]]) {
    for (const azimuth of [-0.6, 0, 1.2, 3]) {
      const camera = { ...createCamera(), azimuth };
      const points = outline(buildScene(filters()).discs);
      fitCamera(camera, points, width, height, padding);
      const screen = project(points, viewProjection(camera, width, height), width, height);
      const column = (axis) => [...screen].filter((_, i) => i % 3 === axis);
      const slack = [
        Math.min(...column(0)) - padding.left, width - padding.right - Math.max(...column(0)),
        Math.min(...column(1)) - padding.top, height - padding.bottom - Math.max(...column(1)),
      ];
      assert.ok(Math.min(...slack) > -0.1, `outside by ${slack}`);
      assert.ok(Math.min(...slack) < 0.1, `not as near as possible: ${slack}`);
    }
  }
});

test('dragging turns, moves and zooms the right way', () => {
  const camera = createCamera();
  const before = { ...camera };
  orbit(camera, 10, 5);
  assert.ok(camera.azimuth < before.azimuth && camera.elevation > before.elevation);
  orbit(camera, 0, 1e6);
  assert.ok(camera.elevation < Math.PI / 2);
  zoom(camera, -100);
  assert.ok(camera.distance < before.distance);
  const where = () => project(new Float32Array(3), viewProjection(camera, 800, 500), 800, 500);
  const [x, y] = where();
  pan(camera, 30, 20, 500);
  close(where()[0] - x, 30, 0.5);
  close(where()[1] - y, 20, 0.5);
});

const SCREEN = Float32Array.from([100, 100, 10, 104, 100, 5, 200, 100, 10, 300, 300, -1, 200, 200, 10]);

test('of two overlapping filters the one in front is picked', () => {
  const radii = Float32Array.from([0.1, 0.1, 0.1, 0.1, 0.1]);
  assert.equal(pickFilter(SCREEN, radii, 700, 101, 100), 1);
  assert.equal(pickFilter(SCREEN, radii, 700, 89, 100, { tolerance: 12 }), 0, 'beside both: the nearer centre');
  assert.equal(pickFilter(SCREEN, radii, 700, 150, 150), -1);
});

test('tiny filters can be hit within the tolerance, and those behind the camera cannot', () => {
  const radii = new Float32Array(5).fill(1e-6);
  assert.equal(pickFilter(SCREEN, radii, 700, 205, 100), 2);
  assert.equal(pickFilter(SCREEN, radii, 700, 207, 100), -1);
  assert.equal(pickFilter(SCREEN, radii, 700, 300, 300), -1);
});

const EYE = { unit: 700, nearest: 0.1 };
const KERNELS = { count: 3, source: [0, 0, 0], target: [2, 4, 3] };

test('the nearest kernel within the tolerance is picked', () => {
  assert.equal(pickKernel(SCREEN, KERNELS, 160, 102), 0);
  assert.equal(pickKernel(SCREEN, KERNELS, 160, 158), 1);
  assert.equal(pickKernel(SCREEN, KERNELS, 160, 130), -1);
  assert.equal(pickKernel(SCREEN, KERNELS, 90, 100), -1, 'beyond its end');
  assert.equal(pickKernel(SCREEN, KERNELS, 280, 280), -1, 'an end behind the camera');
});

test('the search for kernels can be limited to the lit ones', () => {
  assert.equal(pickKernel(SCREEN, KERNELS, 160, 102, { rows: [1] }), -1);
  assert.equal(pickKernel(SCREEN, KERNELS, 160, 102, { rows: [1, 0] }), 0);
});

test('a filter goes before a kernel, and empty space is nothing', () => {
  const scene = { radii: new Float32Array(5).fill(0.1) };
  const at = (x, y) => pick(scene, { kernels: KERNELS }, SCREEN, EYE, x, y);
  assert.deepEqual(at(200, 101), { kind: 'filter', index: 2 });
  assert.deepEqual(at(150, 101), { kind: 'kernel', index: 0 });
  assert.equal(at(400, 10), null);
});

test('what is lit lies above what is faded, and is picked first', () => {
  const scene = { radii: new Float32Array(5).fill(0.1) };
  const states = Uint8Array.of(SELECTED, FADED, NORMAL, NORMAL, FADED);
  const at = (x, y, rows) => pick(scene, { kernels: KERNELS }, SCREEN, EYE, x, y, { rows, states });
  assert.deepEqual(at(104, 100, [0]), { kind: 'filter', index: 0 }, 'the faded filter in front of it lies below');
  assert.deepEqual(at(200, 200, [1]), { kind: 'kernel', index: 1 }, 'a lit kernel over a faded filter');
  assert.deepEqual(at(200, 200, []), { kind: 'filter', index: 4 }, 'the faded filter alone');
});

test('the selected filter is picked as large as it is drawn', () => {
  const radii = new Float32Array(5).fill(0.1);
  const picked = (states) => pickFilter(SCREEN, radii, 700, 209.5, 100, { tolerance: 1, states });
  assert.equal(picked(new Uint8Array(5)), -1);
  assert.equal(picked(Uint8Array.of(0, 0, SELECTED, 0, 0)), 2);
});

test('what is too near to be drawn cannot be picked', () => {
  const radii = new Float32Array(5).fill(0.1);
  assert.equal(pickFilter(SCREEN, radii, 700, 101, 100, { nearest: 6 }), 0);
  assert.equal(pickKernel(SCREEN, KERNELS, 160, 102, { nearest: 11 }), -1);
});
