// Walking along the strongest kernels by the arrow keys. Free of the page, so that `node --test` covers it.

const BACK = { ArrowLeft: 'target', ArrowRight: 'source' };
const ON = { ArrowLeft: 'source', ArrowRight: 'target' };
const TURN = { ArrowUp: -1, ArrowDown: 1 };

/** Whether the key is one of those that walk. */
export function walks(key) {
  return key in ON || key in TURN;
}

/**
 * Where a key leads from a selection: {selection, trail}, or null where it leads nowhere.
 *
 * Right follows the strongest kernel out of the selected filter to its target, left the strongest into it to its
 * source; up and down exchange that kernel for the next stronger or weaker one, as the `trail` {from, key, rank} of the
 * last step says; without a trail they go to the neighbours in the layer. From a kernel, left and right lead to its ends.
 * Filters that are not `visible` are passed over.
 */
export function walk(network, selection, key, trail = null, visible = () => true) {
  if (!selection) return start(network, visible);
  const { kernels } = network;
  if (selection.kind === 'kernel') {
    if (!(key in ON)) return null;
    return { selection: { kind: 'filter', index: kernels[ON[key]][selection.index] }, trail: null };
  }
  if (key in ON) return along(network, { from: selection.index, key, rank: 0 }, visible);
  if (trail) return along(network, { ...trail, rank: trail.rank + TURN[key] }, visible);
  const next = selection.index + TURN[key];
  const same = network.filters.layer[next] === network.filters.layer[selection.index];
  return same ? { selection: { kind: 'filter', index: next }, trail: null } : null;
}

/** The filter at the other end of the kernel that is the `rank`-th strongest on that side. */
function along(network, trail, visible) {
  const { kernels } = network;
  const [near, far] = [kernels[BACK[trail.key]], kernels[ON[trail.key]]];
  if (trail.rank < 0) return null;
  let passed = 0;
  for (let e = 0; e < kernels.count; e++) {  // the most important come first
    if (near[e] !== trail.from || !visible(far[e])) continue;
    if (passed === trail.rank) return { selection: { kind: 'filter', index: far[e] }, trail };
    passed += 1;
  }
  return null;
}

/** With nothing selected: the filter with the highest score of the last layer that is shown. */
function start({ filters }, visible) {
  let best = -1;
  const better = (i) => filters.layer[i] > filters.layer[best] ||
    (filters.layer[i] === filters.layer[best] && filters.score[i] > filters.score[best]);
  for (let i = 0; i < filters.count; i++) if (visible(i) && (best < 0 || better(i))) best = i;
  return best < 0 ? null : { selection: { kind: 'filter', index: best }, trail: null };
}
