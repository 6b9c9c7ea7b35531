// The network as typed arrays, read from the two Arrow tables that Python sends.

/**
 * filters: count, x, y, z, layer, score (typed arrays), marked, colour, uid
 * kernels: count, source, target, sign, width (typed arrays, most important first; identities have sign 2)
 */
export function readNetwork(nodes, kernels) {
  const numbers = (table, name) => table.getChild(name).toArray();
  const texts = (name) => Array.from(nodes.getChild(name) ?? [], (value) => value ?? '');
  return {
    filters: {
      count: nodes.numRows,
      x: numbers(nodes, 'x'),
      y: numbers(nodes, 'y'),
      z: numbers(nodes, 'z'),
      layer: numbers(nodes, 'layer'),
      score: numbers(nodes, 'score'),
      marked: nodes.getChild('target')?.toArray() ?? new Uint8Array(nodes.numRows),
      colour: texts('colour'),
      uid: texts('uid'),
    },
    kernels: {
      count: kernels.numRows,
      source: numbers(kernels, 'source'),
      target: numbers(kernels, 'target'),
      sign: numbers(kernels, 'sign'),
      width: numbers(kernels, 'width'),
    },
  };
}

/** Whether two networks put the same filters at the same places: then the camera is left alone. */
export function sameLayout(before, after) {
  if (!before || before.filters.count !== after.filters.count) return false;
  const equal = (name) => before.filters[name].every((value, i) => value === after.filters[name][i]);
  return equal('uid') && ['x', 'y', 'z', 'layer'].every(equal);
}

/** The row that a selection of an earlier network has in this one, or null where it is gone. */
export function carrySelection(selection, before, after) {
  if (!selection || !before) return null;
  const row = (i) => after.filters.uid.indexOf(before.filters.uid[i]);
  if (selection.kind === 'filter') {
    const index = row(selection.index);
    return index < 0 ? null : { kind: 'filter', index };
  }
  const source = row(before.kernels.source[selection.index]);
  const target = row(before.kernels.target[selection.index]);
  const { kernels } = after;
  for (let e = 0; e < kernels.count; e++) {
    if (kernels.source[e] === source && kernels.target[e] === target) return { kind: 'kernel', index: e };
  }
  return null;
}

/** A selection that exists in this network, or null. */
export function validSelection(selection, network) {
  if (!selection || !network) return null;
  const count = { filter: network.filters.count, kernel: network.kernels.count }[selection.kind] ?? 0;
  return selection.index >= 0 && selection.index < count ? { kind: selection.kind, index: selection.index } : null;
}

/** What Python is told: row numbers, the revisions that they belong to, and uids that outlive both. */
export function describeSelection(selection, network, revision, selectedRevision) {
  const common = { kind: null, index: -1, revision, selectedRevision };
  if (!selection) return common;
  const { uid } = network.filters;
  const { source, target } = network.kernels;
  const names =
    selection.kind === 'filter'
      ? { uid: uid[selection.index] }
      : { source: uid[source[selection.index]], target: uid[target[selection.index]] };
  return { ...common, ...selection, ...names };
}

export const NORMAL = 0;
export const FADED = 1;
export const SELECTED = 2;

/**
 * What a selection does to the picture.
 *
 * states: one of NORMAL, FADED, SELECTED per filter; lit: rows of the kernels drawn on top, most important
 * first, or null where nothing is selected.
 */
export function highlight(network, selection) {
  const { filters, kernels } = network;
  const states = new Uint8Array(filters.count);
  if (!selection) return { states, lit: null };
  states.fill(FADED);
  const touches =
    selection.kind === 'kernel'
      ? (e) => e === selection.index
      : (e) => kernels.source[e] === selection.index || kernels.target[e] === selection.index;
  const lit = [];
  for (let e = 0; e < kernels.count; e++) {
    if (!touches(e)) continue;
    lit.push(e);
    states[kernels.source[e]] = NORMAL;
    states[kernels.target[e]] = NORMAL;
  }
  if (selection.kind === 'filter') states[selection.index] = SELECTED;
  return { states, lit: Uint32Array.from(lit) };
}
