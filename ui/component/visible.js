// Layers that are not to be drawn. Free of the page, so that `node --test` covers it.

/**
 * What is left of a scene without the layers in the Set `hidden`: radii (0 for a filter that is hidden), discs, and
 * rows, the kernels between shown filters, the most important first; null for all.
 */
export function visiblePart(scene, network, hidden) {
  if (!hidden.size) return { ...scene, rows: null };
  const { filters, kernels } = network;
  const radii = scene.radii.map((radius, i) => (hidden.has(filters.layer[i]) ? 0 : radius));
  const rows = [];
  for (let e = 0; e < kernels.count; e++) {
    if (radii[kernels.source[e]] > 0 && radii[kernels.target[e]] > 0) rows.push(e);
  }
  const discs = scene.discs.filter(({ layer }) => !hidden.has(layer));
  return { ...scene, radii, discs, rows: Uint32Array.from(rows) };
}
