import assert from 'node:assert/strict';
import test from 'node:test';

import { paletteFor } from './theme.js';
import { tip } from './tip.js';

const NETWORK = {
  filters: {
    uid: ['m/input/r', 'm/a/0', 'm/a/1'], colour: ['#ff0000', '', ''], score: [0, 0.534, 1],
    value: Float32Array.of(NaN, 0.00025678, NaN), marked: [0, 1, 0],
  },
  kernels: { source: [0, 1, 0], target: [1, 2, 2], sign: [-1, 2, 0], width: [128, 40, 255] },
};
const told = (kind, index, kind2 = 'signs') => tip({ kind, index }, NETWORK, paletteFor('#ffffff', kind2));

test('a filter is told with its score, and what share of its layer\'s highest that is', () => {
  assert.deepEqual(told('filter', 1), ['m/a/0', "score 0.000257 · 53 % of its layer's highest · target"]);
});

test('what has no score is not said to have zero', () => {
  assert.deepEqual(told('filter', 0), ['m/input/r', 'input channel']);
  assert.deepEqual(told('filter', 2), ['m/a/1', '']);
});

test('a kernel is told by its ends, its sign and its share', () => {
  assert.deepEqual(told('kernel', 0), ['m/input/r → m/a/0', "inhibitory kernel · score 50 % of its layer's highest"]);
  assert.deepEqual(told('kernel', 1), ['m/a/0 → m/a/1', 'identity: an addend of the sum']);
  assert.equal(told('kernel', 2, 'comparison')[1], "shared kernel · score 100 % of its layer's highest");
});
