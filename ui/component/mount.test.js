import assert from 'node:assert/strict';
import test from 'node:test';

import { mounting } from './mount.js';

function recorded() {
  const told = [];
  const mount = mounting((parent, data) => {
    told.push(['made', parent.name, data]);
    return {
      update: (values, emit) => told.push(['update', values, typeof emit]),
      dispose: () => told.push(['dispose']),
    };
  });
  return { mount, told };
}

test('a view is made once and updated by every call', () => {
  const { mount, told } = recorded();
  const parentElement = { name: 'a' };
  mount({ parentElement, data: 1, setStateValue: () => {} });
  mount({ parentElement, data: 2, setStateValue: () => {} });
  assert.deepEqual(told, [['made', 'a', 1], ['update', 1, 'function'], ['update', 2, 'function']]);
});

test('only the clean-up of the latest call disposes, once, and the next call makes a new view', () => {
  const { mount, told } = recorded();
  const parentElement = { name: 'a' };
  const first = mount({ parentElement, data: 1 });
  const second = mount({ parentElement, data: 2 });
  first();
  assert.ok(!told.some(([what]) => what === 'dispose'));
  second();
  assert.deepEqual(told.at(-1), ['dispose']);
  mount({ parentElement, data: 3 });
  assert.equal(told.filter(([what]) => what === 'made').length, 2);
});

test('each element has its own view', () => {
  const { mount, told } = recorded();
  mount({ parentElement: { name: 'a' }, data: 1 });
  mount({ parentElement: { name: 'b' }, data: 1 });
  assert.deepEqual(told.filter(([what]) => what === 'made').map(([, name]) => name), ['a', 'b']);
});
