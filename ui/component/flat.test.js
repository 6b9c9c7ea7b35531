import assert from 'node:assert/strict';
import test from 'node:test';

import { createCamera, fitCamera, pixelsPerUnit, viewProjection } from './camera.js';
import { FlatRenderer } from './flat.js';
import { buildScene, outline } from './geometry.js';
import { highlight } from './network.js';
import { paletteFor } from './theme.js';
import { visiblePart } from './visible.js';

const [WIDTH, HEIGHT] = [400, 300];
const NETWORK = {
  filters: {
    count: 4, x: [0, 0, 1, 0.5], y: [0, 0, 1, 0], z: [0, 1, 1, 2], layer: [0, 1, 1, 2], score: [0, 0.2, 1, 0.5],
    marked: [0, 0, 0, 1], colour: ['#ff0000', '', '', ''], uid: ['m/input/0', 'm/a/0', 'm/a/1', 'm/b/0'],
  },
  kernels: { count: 3, source: [0, 0, 2], target: [1, 2, 3], sign: [1, -1, 0], width: [255, 100, 0] },
};

/** A 2-D context that writes down what is drawn: lines, circles, squares and polygons with their style. */
function recorder() {
  const drawn = [];
  let path = null;
  const style = (of) => ({ ...path, colour: of, alpha: context.globalAlpha });
  const context = {
    globalAlpha: 1,
    clearRect: () => drawn.splice(0),
    beginPath: () => { path = { points: [] }; },
    moveTo: (x, y) => path.points.push([x, y]),
    lineTo: (x, y) => path.points.push([x, y]),
    closePath: () => { path.closed = true; },
    arc: (x, y, radius) => { path = { circle: [x, y], radius }; },
    rect: (x, y, width) => { path = { square: [x, y], side: width }; },
    fill: () => drawn.push({ ...style(context.fillStyle), filled: true }),
    stroke: () => drawn.push({ ...style(context.strokeStyle), width: context.lineWidth }),
  };
  return { context, drawn };
}

function rendered({ selection = null, hidden = new Set(), most = Infinity } = {}) {
  const { context, drawn } = recorder();
  const whole = buildScene(NETWORK.filters);
  const scene = visiblePart(whole, NETWORK, hidden);
  const camera = createCamera(scene.spacing);
  fitCamera(camera, outline(scene.discs), WIDTH, HEIGHT, { left: 10, right: 10, top: 10, bottom: 10 });
  const renderer = new FlatRenderer({ getContext: (kind) => (kind === '2d' ? context : null) });
  renderer.upload(scene, NETWORK);
  renderer.highlight(NETWORK, highlight(NETWORK, selection), selection?.kind === 'kernel' ? selection.index : -1);
  const view = {
    matrix: viewProjection(camera, WIDTH, HEIGHT), width: WIDTH, height: HEIGHT, pixelRatio: 1,
    unit: pixelsPerUnit(HEIGHT), distance: camera.distance, palette: paletteFor('#ffffff'),
  };
  const count = renderer.draw(view, most);
  const lines = drawn.filter(({ points, closed }) => points?.length === 2 && !closed);
  const bodies = drawn.filter(({ filled, circle, square }) => filled && (circle || square));
  const discs = drawn.filter(({ filled, closed }) => filled && closed);
  return { count, drawn, lines, bodies, discs };
}

test('discs, kernels and filters are drawn, kernels below filters and the least important first', () => {
  const { count, drawn, lines, bodies, discs } = rendered();
  assert.equal(count, 3);
  assert.equal(discs.length, 3);
  assert.deepEqual(lines.map(({ colour }) => colour), ['rgb(140 143 148 / 1)', 'rgb(31 111 184 / 1)', 'rgb(208 52 44 / 1)']);
  assert.ok(lines[0].width < lines[1].width && lines[1].width < lines[2].width);
  assert.ok(lines[0].alpha < lines[1].alpha && lines[1].alpha < lines[2].alpha);
  assert.equal(bodies.length, 4);
  assert.equal(bodies.filter(({ square }) => square).length, 1);  // the input channel, in its colour
  assert.match(bodies.find(({ square }) => square).colour, /^rgb\(255 0 0 /);
  assert.ok(drawn.indexOf(lines.at(-1)) < drawn.indexOf(bodies[0]));
});

test('while turning only the most important kernels are drawn', () => {
  const { count, lines } = rendered({ most: 1 });
  assert.equal(count, 1);
  assert.deepEqual(lines.map(({ colour }) => colour), ['rgb(208 52 44 / 1)']);
});

test('a selected filter is black and ringed, its kernels lie over the faded rest', () => {
  const { count, lines, bodies, drawn } = rendered({ selection: { kind: 'filter', index: 2 } });
  assert.equal(count, 2);  // into it and out of it
  assert.equal(lines.length, 3 + 2);
  assert.ok(lines[3].alpha > lines[0].alpha);
  assert.equal(bodies.at(-1).colour, 'rgb(0 0 0 / 1)');
  const accent = 'rgb(240 162 2 / 1)';
  assert.equal(drawn.filter(({ colour, circle }) => colour === accent && circle).length, 1);
});

test('a selected kernel has the colour of the chosen', () => {
  const { lines } = rendered({ selection: { kind: 'kernel', index: 1 } });
  assert.equal(lines.at(-1).colour, 'rgb(0 0 0 / 1)');
  assert.equal(lines.at(-1).alpha, 1);
});

test('hidden layers are left out with their kernels', () => {
  const { count, bodies, discs } = rendered({ hidden: new Set([2]) });
  assert.deepEqual([count, bodies.length, discs.length], [2, 3, 2]);
});

test('kernels that reach behind the viewer are not drawn', () => {
  const { context, drawn } = recorder();
  const renderer = new FlatRenderer({ getContext: () => context });
  renderer.upload(visiblePart(buildScene(NETWORK.filters), NETWORK, new Set()), NETWORK);
  renderer.highlight(NETWORK, highlight(NETWORK, null), -1);
  const camera = { azimuth: -Math.PI / 2, elevation: 0, distance: 0.1, centre: [0, 0, 0] };  // within the network
  renderer.draw({
    matrix: viewProjection(camera, WIDTH, HEIGHT), width: WIDTH, height: HEIGHT, pixelRatio: 1,
    unit: pixelsPerUnit(HEIGHT), distance: camera.distance, palette: paletteFor('#ffffff'),
  }, Infinity);
  const lines = drawn.filter(({ points, closed }) => points?.length === 2 && !closed);
  assert.ok(lines.length < 3);
  for (const { points } of lines) for (const place of points) assert.ok(place.every(Number.isFinite));
});
