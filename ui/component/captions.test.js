// `node --test ui/component/`: which captions are shown, without a browser.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { below, thinned } from './captions.js';

/** Captions of 2 x `half` pixels, `distance` apart, all at one height. */
const row = (count, distance, half = 40) =>
  Array.from({ length: count }, (_, layer) => ({ layer, x: 100 + distance * layer, y: 50, half }));
const layers = (placed) => placed.map(({ layer }) => layer);

test('all captions are shown where there is room, on one line', () => {
  const placed = thinned(row(5, 90), 1000);
  assert.deepEqual(layers(placed), [0, 1, 2, 3, 4]);
  assert.ok(placed.every(({ x, y, layer }) => x === 100 + 90 * layer && y === 50));
});

test('captions that would touch stand on two lines', () => {
  const placed = thinned(row(5, 50), 1000);
  assert.deepEqual(layers(placed), [0, 1, 2, 3, 4]);
  assert.deepEqual(placed.map(({ y }) => y), [50, 65, 50, 65, 50]);
});

test('of too many every n-th is shown, evenly', () => {
  const placed = thinned(row(120, 6), 900);
  const step = placed[1].layer;
  assert.deepEqual(layers(placed), Array.from({ length: Math.ceil(120 / step) }, (_, k) => k * step));
  assert.ok(step > 5 && step < 10, `every ${step}-th`);
});

test('no two of them cover each other, and all stay inside', () => {
  for (const distance of [3, 11, 47]) {
    const placed = thinned(row(60, distance), 600);
    placed.forEach((a, i) => {
      assert.ok(a.x >= 40 && a.x <= 560);
      for (const b of placed.slice(0, i)) assert.ok(Math.abs(a.x - b.x) > 80 || Math.abs(a.y - b.y) >= 15);
    });
  }
});

test('a caption stands below the discs beside its own, as far as it reaches', () => {
  const places = [{ x: 0, y: 10 }, { x: 50, y: 90 }, { x: 110, y: 300 }];
  const placed = below([{ layer: 0, x: 0, y: 10, half: 60 }, { layer: 2, x: 110, y: 300, half: 10 }], places);
  assert.deepEqual(placed.map(({ layer, x, y }) => [layer, x, y]), [[0, 0, 90], [2, 110, 300]]);
});

test('none and one', () => {
  assert.deepEqual(thinned([], 500), []);
  assert.deepEqual(layers(thinned(row(1, 0), 500)), [0]);
  assert.deepEqual(layers(thinned(row(3, 0, 400), 500)), [0, 1, 2], 'three lines of the whole width');
  assert.deepEqual(layers(thinned(row(4, 0, 400), 500)), [0, 2]);
});
