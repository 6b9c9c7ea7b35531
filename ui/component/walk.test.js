// `node --test ui/component/`: walking by keys and hidden layers, without a browser.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { pickFilter } from './geometry.js';
import { visiblePart } from './visible.js';
import { walk, walks } from './walk.js';

/** Layers of 1, 2 and 2 filters; kernels from the most important on. */
const NETWORK = {
  filters: { count: 5, layer: [0, 1, 1, 2, 2], score: [1, 0.2, 0.4, 0.3, 0.9] },
  kernels: { count: 6, source: [1, 2, 0, 0, 1, 2], target: [4, 4, 2, 1, 3, 3] },
};
const filter = (index) => ({ kind: 'filter', index });
const goes = (selection, key, trail) => walk(NETWORK, selection, key, trail)?.selection.index ?? null;

test('only arrows walk', () => {
  assert.deepEqual(['ArrowUp', 'ArrowLeft', 'Enter', 'a'].map(walks), [true, true, false, false]);
});

test('with nothing selected it starts at the best filter of the last layer', () => {
  assert.equal(goes(null, 'ArrowDown'), 4);
  assert.equal(walk({ ...NETWORK, filters: { count: 0, layer: [], score: [] } }, null, 'ArrowUp'), null);
});

test('right and left follow the strongest kernel', () => {
  assert.equal(goes(filter(0), 'ArrowRight'), 2);
  assert.equal(goes(filter(1), 'ArrowRight'), 4);
  assert.equal(goes(filter(4), 'ArrowLeft'), 1);
  assert.equal(goes(filter(4), 'ArrowRight'), null);
  assert.equal(goes(filter(0), 'ArrowLeft'), null);
});

test('down and up exchange the kernel that was followed', () => {
  const first = walk(NETWORK, filter(0), 'ArrowRight');
  const second = walk(NETWORK, first.selection, 'ArrowDown', first.trail);
  assert.equal(second.selection.index, 1);
  assert.equal(goes(second.selection, 'ArrowUp', second.trail), 2);
  assert.equal(goes(second.selection, 'ArrowDown', second.trail), null);
  assert.equal(goes(first.selection, 'ArrowUp', first.trail), null);
});

test('without a step before they go to the neighbours in the layer', () => {
  assert.equal(goes(filter(1), 'ArrowDown'), 2);
  assert.equal(goes(filter(2), 'ArrowUp'), 1);
  assert.equal(goes(filter(2), 'ArrowDown'), null);
});

test('from a kernel to its ends', () => {
  const kernel = { kind: 'kernel', index: 4 };
  assert.equal(goes(kernel, 'ArrowLeft'), 1);
  assert.equal(goes(kernel, 'ArrowRight'), 3);
  assert.equal(goes(kernel, 'ArrowUp'), null);
});

const SCENE = {
  positions: new Float32Array(15), radii: Float32Array.of(1, 1, 1, 1, 1),
  discs: [{ layer: 0 }, { layer: 1 }, { layer: 2 }],
};

test('a hidden layer takes its filters, its disc and the kernels at either end away', () => {
  const { radii, discs, rows } = visiblePart(SCENE, NETWORK, new Set([2]));
  assert.deepEqual([...radii], [1, 1, 1, 0, 0]);
  assert.deepEqual(discs.map(({ layer }) => layer), [0, 1]);
  assert.deepEqual([...rows], [2, 3]);
  assert.deepEqual([...visiblePart(SCENE, NETWORK, new Set([1])).rows], []);
  assert.equal(visiblePart(SCENE, NETWORK, new Set()).rows, null);
});

test('what is hidden cannot be picked', () => {
  const screen = Float32Array.of(10, 10, 5, 12, 10, 4);
  assert.equal(pickFilter(screen, Float32Array.of(1, 1), 10, 10, 10), 1);
  assert.equal(pickFilter(screen, Float32Array.of(1, 0), 10, 10, 10), 0);
});

test('what is hidden is passed over', () => {
  const visible = (i) => NETWORK.filters.layer[i] !== 2 && i !== 2;
  const on = (selection, key) => walk(NETWORK, selection, key, null, visible)?.selection.index ?? null;
  assert.equal(on(null, 'ArrowUp'), 1, 'the last layer that is shown');
  assert.equal(on(filter(0), 'ArrowRight'), 1, 'the next strongest kernel');
  assert.equal(on(filter(1), 'ArrowRight'), null);
  assert.equal(walk(NETWORK, null, 'ArrowUp', null, () => false), null);
});
