// The network as typed arrays, read from the two Arrow tables that Python sends.

/**
 * filters: count, x, y, z, layer, score, value (typed arrays; NaN where there is none), marked, colour, uid
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
      value: nodes.getChild('value')?.toArray() ?? new Float32Array(nodes.numRows).fill(NaN),
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

/** What two networks share: `filters` says whether they have the same ones, `places` whether at the same places too. */
export function shared(before, after) {
  const none = { filters: false, places: false };
  if (!before || before.filters.count !== after.filters.count) return none;
  const equal = (name) => before.filters[name].every((value, i) => value === after.filters[name][i]);
  if (!['uid', 'layer'].every(equal)) return none;
  return { filters: true, places: ['x', 'y', 'z'].every(equal) };
}

/** A selection {kind, index} by the uids that outlive new data: {kind, uid} or {kind, source, target}; null for none. */
export function named(selection, network) {
  if (!selection) return null;
  const { uid } = network.filters;
  const { source, target } = network.kernels;
  const { kind, index } = selection;
  return kind === 'filter' ? { kind, uid: uid[index] } : { kind, source: uid[source[index]], target: uid[target[index]] };
}

/** The selection that these uids are in this network, or null where it is not drawn. */
export function found(names, network) {
  if (!names) return null;
  const row = (uid) => network.filters.uid.indexOf(uid);
  if (names.kind === 'filter') {
    const index = row(names.uid);
    return index < 0 ? null : { kind: 'filter', index };
  }
  const [source, target] = [row(names.source), row(names.target)];
  const { kernels } = network;
  for (let e = 0; e < kernels.count; e++) {
    if (kernels.source[e] === source && kernels.target[e] === target) return { kind: 'kernel', index: e };
  }
  return null;
}

/** What Python is told: row numbers, the revisions that they belong to, and uids that outlive both. */
export function describeSelection(selection, network, revision, selectedRevision) {
  const common = { kind: null, index: -1, revision, selectedRevision };
  if (!selection) return common;
  return { ...common, ...selection, ...named(selection, network) };
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
