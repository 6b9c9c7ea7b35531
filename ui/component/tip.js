// What a filter or kernel is called and what is said of it. Free of the page, so that `node --test` covers it.

const IDENTITY = 2;

const percent = (share) => `${Math.round(100 * share)} % of its layer's highest`;

/** Title and text of a selection {kind, index}. */
export function tip({ kind, index }, { filters, kernels }, palette) {
  if (kind === 'filter') return [filters.uid[index], described(filters, index)];
  const title = `${filters.uid[kernels.source[index]]} → ${filters.uid[kernels.target[index]]}`;
  const sign = kernels.sign[index];
  if (sign === IDENTITY) return [title, 'identity: an addend of the sum'];
  return [title, `${palette.names[sign + 1]} kernel · score ${percent(kernels.width[index] / 255)}`];
}

function described({ value, score, marked, colour }, i) {
  const parts = colour[i] ? ['input channel'] : [];
  if (!colour[i] && Number.isFinite(value[i])) {
    parts.push(`score ${Number(value[i].toPrecision(3))}`, percent(score[i]));
  }
  if (marked[i]) parts.push('target');
  return parts.join(' · ');
}
