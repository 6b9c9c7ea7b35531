// `node --test ui/component/`: what goes to the GPU, what a selection does, and the colours.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  SELECTED_KERNEL, TEXTURE_WIDTH, kernelOpacity, nextDetail, packColours, packKernels, packPositions, widestKernel,
} from './buffers.js';
import {
  FADED, NORMAL, SELECTED, describeSelection, found, highlight, named, shared,
} from './network.js';
import { isDark, paletteFor, parseColour } from './theme.js';

const network = () => ({
  filters: {
    count: 4, uid: ['a', 'b', 'c', 'd'], x: [0, 1, 2, 3], y: [0, 0, 0, 0], z: [0, 1, 1, 2], layer: [0, 1, 1, 2],
  },
  kernels: { count: 3, source: [0, 1, 0], target: [1, 3, 2], sign: [1, -1, 0], width: [255, 128, 3] },
});

test('kernels are packed in order, with sign + 1', () => {
  const { data, height, count } = packKernels(network().kernels);
  assert.deepEqual([height, count, data.length], [1, 3, 4 * TEXTURE_WIDTH]);
  assert.deepEqual([...data.slice(0, 12)], [0, 1, 2, 255, 1, 3, 0, 128, 0, 2, 1, 3]);
});

test('some rows can be packed, and the selected kernel is marked', () => {
  const { data, count } = packKernels(network().kernels, { rows: Uint32Array.from([2, 1]), selected: 1 });
  assert.equal(count, 2);
  assert.deepEqual([...data.slice(0, 8)], [0, 2, 1, 3, 1, 3, SELECTED_KERNEL, 128]);
});

test('textures grow by rows', () => {
  const count = TEXTURE_WIDTH + 1;
  const scene = { positions: new Float32Array(3 * count).fill(7), radii: new Float32Array(count).fill(2) };
  const { data, height } = packPositions(scene);
  assert.equal(height, 2);
  assert.deepEqual([...data.slice(4 * TEXTURE_WIDTH, 4 * TEXTURE_WIDTH + 8)], [7, 7, 7, 2, 0, 0, 0, 0]);
});

test('only input channels get a colour of their own', () => {
  assert.deepEqual([...packColours(['#ff8000', '', 'red'], 3)], [255, 128, 0, 255, 0, 0, 0, 0, 0, 0, 0, 0]);
});

test('opacity and width fall with the number of kernels and stay visible', () => {
  for (const f of [kernelOpacity, widestKernel]) {
    const values = [0, 1, 100, 600, 5000, 20_000, 100_000, 1_600_000].map(f);
    values.reduce((before, value) => (assert.ok(value <= before && value > 0.02), value));
    assert.ok(values[5] < values[3]);
  }
});

test('slow frames shed kernels fast, quick frames win them back slowly', () => {
  assert.equal(nextDetail(Infinity, 400, 20_000), 12_000);
  assert.equal(nextDetail(1500, 400, 20_000), 1200);
  assert.equal(nextDetail(1000, 10, 20_000), 1150);
  assert.equal(nextDetail(19_000, 10, 20_000), 20_000);
  assert.equal(nextDetail(1000, 24, 20_000), 1000);
});

test('an identity has a colour of its own, unless it is selected', () => {
  const { kernels } = network();
  kernels.sign = Int8Array.from(kernels.sign).fill(2);
  const kinds = (selected) => Array.from({ length: kernels.count }, (_, e) => packKernels(kernels, { selected }).data[4 * e + 2]);
  assert.deepEqual(kinds(1), kinds(-1).map((kind, e) => (e === 1 ? SELECTED_KERNEL : kind)));
  assert.ok(kinds(-1).every((kind) => kind === 3));
});

test('a selected filter lights its kernels and their other ends', () => {
  const { states, lit } = highlight(network(), { kind: 'filter', index: 1 });
  assert.deepEqual([...lit], [0, 1]);
  assert.deepEqual([...states], [NORMAL, SELECTED, FADED, NORMAL]);
});

test('a selected kernel lights both its ends', () => {
  const { states, lit } = highlight(network(), { kind: 'kernel', index: 2 });
  assert.deepEqual([...lit], [2]);
  assert.deepEqual([...states], [NORMAL, FADED, NORMAL, FADED]);
});

test('nothing selected: all alike', () => {
  const { states, lit } = highlight(network(), null);
  assert.equal(lit, null);
  assert.deepEqual([...states], [NORMAL, NORMAL, NORMAL, NORMAL]);
});

test('a selection is found by its uids in any network that draws it', () => {
  const next = network();
  next.filters.uid = ['x', 'b', 'a', 'd'];
  next.kernels = { count: 2, source: [2, 1], target: [3, 3] };
  const carried = (selection) => found(named(selection, network()), next);
  assert.deepEqual(carried({ kind: 'filter', index: 0 }), { kind: 'filter', index: 2 });
  assert.equal(carried({ kind: 'filter', index: 2 }), null);
  assert.deepEqual(carried({ kind: 'kernel', index: 1 }), { kind: 'kernel', index: 1 });
  assert.equal(carried({ kind: 'kernel', index: 0 }), null);
  assert.deepEqual([named(null, next), found(null, next)], [null, null]);
});

test('Python is told rows, revisions and uids', () => {
  const told = (selection) => describeSelection(selection, network(), 'r1', 2);
  assert.deepEqual(told({ kind: 'filter', index: 2 }), {
    kind: 'filter', index: 2, uid: 'c', revision: 'r1', selectedRevision: 2,
  });
  assert.deepEqual(told({ kind: 'kernel', index: 1 }), {
    kind: 'kernel', index: 1, source: 'b', target: 'd', revision: 'r1', selectedRevision: 2,
  });
  assert.deepEqual(told(null), { kind: null, index: -1, revision: 'r1', selectedRevision: 2 });
});

test('the scene is kept while filters stay at their places, the camera while they are the same, whatever the kernels', () => {
  const next = network();
  next.kernels.count = 1;
  assert.deepEqual(shared(network(), next), { filters: true, places: true });
  next.filters.x = [0, 1, 2, 4];
  assert.deepEqual(shared(network(), next), { filters: true, places: false });
  next.filters.uid = ['a', 'b', 'c', 'x'];
  assert.deepEqual(shared(network(), next), { filters: false, places: false });
  assert.deepEqual(shared(undefined, next), { filters: false, places: false });
});

test('colours are read as browsers write them, and give the theme', () => {
  assert.deepEqual(parseColour('#ff0080'), [1, 0, 128 / 255]);
  assert.deepEqual(parseColour('rgb(51, 0, 255)'), [0.2, 0, 1]);
  assert.deepEqual(parseColour('rgba(255 255 255 / 0.5)'), [1, 1, 1]);
  assert.ok(isDark(parseColour('rgb(14, 17, 23)')) && !isDark(parseColour('#ffffff')));
  assert.deepEqual(paletteFor('rgb(255, 255, 255)').chosen, [0, 0, 0]);
  assert.deepEqual(paletteFor('rgb(14, 17, 23)').chosen, [1, 1, 1]);
  assert.equal(paletteFor('#ffffff').kernels.length, 3 * (SELECTED_KERNEL + 1));
});
