// `node --test ui/component/`: what an input expression is completed to, without a browser.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { completed, lastName, plain, suggestions, takesFirst } from './expression.js';

const NAMES = [
  ...['overall', 'three', 'thirteen', 'two', '"3"', '"my set"', '"Border collie"', '"a \\"b\\""', 'Käse'].map((text) => ({
    text,
    kind: 'set',
  })),
  { text: 'mnist/00017', kind: 'image' },
];
const EARLIER = ['three - overall', 'two'];
const texts = (before, asked) => suggestions(before, NAMES, EARLIER, asked).map((each) => each.text);

test('the last name is what the caret stands behind', () => {
  assert.deepEqual(lastName('three - ov'), { start: 8, text: 'ov', quoted: false });
  assert.deepEqual(lastName('0.5*(ca'), { start: 5, text: 'ca', quoted: false });
  assert.deepEqual(lastName('"my set" - "bor'), { start: 11, text: 'bor', quoted: true });
  assert.deepEqual(lastName("'it\\'s"), { start: 0, text: "it's", quoted: true });
  assert.deepEqual(lastName('cat - '), { start: 6, text: '', quoted: false });
  assert.deepEqual(lastName('"my set"'), { start: 8, text: '', quoted: false });
  assert.deepEqual(lastName('mnist/000'), { start: 0, text: 'mnist/000', quoted: false });
  assert.deepEqual(lastName('two-Kä'), { start: 4, text: 'Kä', quoted: false });
});

test('names that begin so come first, then those with such a word, then earlier ones, then those that hold it', () => {
  assert.deepEqual(texts('th'), ['three', 'thirteen', 'three - overall']);
  assert.deepEqual(texts('two - coll'), ['"Border collie"']);
  assert.deepEqual(texts('e'), ['overall', 'three', 'thirteen', '"my set"', '"Border collie"', 'Käse']);
  assert.deepEqual(texts('set'), ['"my set"']);
  assert.deepEqual(texts('17'), ['mnist/00017']);
  assert.deepEqual(texts('zebra'), []);
});

test('case, spaces and underscores are alike, inside quotes too', () => {
  assert.deepEqual(texts('two + BORDER_c'), ['"Border collie"']);
  assert.deepEqual(texts('"border c'), ['"Border collie"']);
  assert.deepEqual(texts('"a "'), [], 'that one is closed');
});

test('nothing is offered where nothing is typed, or what is typed is complete', () => {
  assert.deepEqual(texts(''), []);
  assert.deepEqual(texts('three - '), []);
  assert.deepEqual(texts('three - overall'), []);
  assert.deepEqual(texts('0.5'), []);
});

test('the arrow key asks for all of them, with earlier inputs', () => {
  assert.deepEqual(texts('', true), ['overall', 'three', 'thirteen', 'two', '"3"', '"my set"', '"Border collie"', '"a \\"b\\""']);
  assert.deepEqual(suggestions('', [], EARLIER, true).map((each) => each.text), EARLIER);
  assert.deepEqual(texts('two', true), []);
});

test('an earlier input replaces all that is typed', () => {
  const [found] = suggestions('three - o', [], EARLIER);
  assert.deepEqual(found, { text: 'three - overall', kind: 'earlier', start: 0 });
  assert.deepEqual(completed('three - o', 9, found), { text: 'three - overall', caret: 15 });
});

test('a suggestion takes the place of the last name, and what follows stays', () => {
  const text = '0.5*(bor - two';
  const [found] = suggestions(text.slice(0, 8), NAMES, EARLIER);
  assert.deepEqual(completed(text, 8, found), { text: '0.5*("Border collie" - two', caret: 20 });
  assert.deepEqual(completed('"bor"', 4, { text: '"Border collie"', start: 0 }), { text: '"Border collie"', caret: 15 });
});

test('a number is taken for a name only by choice', () => {
  assert.deepEqual(texts('3'), ['"3"']);
  assert.equal(takesFirst('3', NAMES), false);
  assert.equal(takesFirst('th', NAMES), true);
  assert.equal(takesFirst('two + Three', NAMES), false, 'it means something as it is');
  assert.equal(takesFirst('three - ', NAMES), false);
});

test('quotes and backslashes of names are those of the grammar', () => {
  assert.equal(plain('"a \\"b\\""'), 'a "b"');
  assert.equal(plain('cat'), 'cat');
  assert.deepEqual(texts('"a \\"b'), ['"a \\"b\\""']);
});
