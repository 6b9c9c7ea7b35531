// `node --test ui/component/`: cells of activation maps and their receptive fields, without a browser.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { cellAt, described, field, share, walked } from './cells.js';

const SIZE = [3, 5];
const FIELDS = {
  rows: [[0, 3], [2, 7], [0, -1]],
  columns: [[0, 1], [1, 3], [2, 5], [4, 7], [6, 7]],
  imageSize: [8, 8],
  values: Float32Array.of(0, 1, 2, 3, 4, -1.23456, 0, 0, 0, 0, 0, 0, 0, 0, 0),
};

test('a place in the picture is a cell, row first', () => {
  assert.deepEqual(cellAt(0, 0, SIZE), [0, 0]);
  assert.deepEqual(cellAt(0.999, 0.999, SIZE), [2, 4]);
  assert.deepEqual(cellAt(0.61, 0.34, SIZE), [1, 3]);
});

test('a place outside is none', () => {
  for (const [x, y] of [[1, 0.5], [0.5, 1], [-0.01, 0.5], [0.5, -0.01]]) assert.equal(cellAt(x, y, SIZE), null);
});

test('arrows walk, and stop at the border', () => {
  assert.deepEqual(walked([1, 1], 'ArrowUp', SIZE), [0, 1]);
  assert.deepEqual(walked([1, 1], 'ArrowRight', SIZE), [1, 2]);
  assert.equal(walked([2, 4], 'ArrowDown', SIZE), null);
  assert.equal(walked([2, 4], 'ArrowRight', SIZE), null);
  assert.equal(walked([0, 0], 'ArrowLeft', SIZE), null);
  assert.equal(walked([0, 0], 'Enter', SIZE), null);
  assert.deepEqual(walked(null, 'ArrowDown', SIZE), [0, 0]);
});

test('first and last are both within a box', () => {
  assert.deepEqual(share([0, 7], [0, 7], [8, 8]), { left: 0, top: 0, width: 1, height: 1 });
  assert.deepEqual(share([2, 3], [4, 4], [8, 16]), { left: 0.25, top: 0.25, width: 0.0625, height: 0.25 });
});

test('the receptive field of a cell is its rows by its columns', () => {
  assert.deepEqual(field([1, 4], FIELDS), { left: 0.75, top: 0.25, width: 0.25, height: 0.75 });
  assert.equal(field([2, 4], FIELDS), null);
});

test('a cell in words', () => {
  assert.equal(described([1, 0], FIELDS), 'row 1, column 0: -1.23; receptive field rows 2–7, columns 0–1');
  assert.equal(described([2, 0], FIELDS), 'row 2, column 0: 0.00; reads nothing but padding');
});
