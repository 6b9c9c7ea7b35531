// Which captions there is room for. Free of the page, so that `node --test` covers it.

const LINE = 15;
const LINES = 2;
const LINES_FOR_ALL = 3;

/** The captions {layer, x, y, half}, each below the lowest of the `places` {x, y} that it would cover. */
export function below(captions, places) {
  return captions.map((caption) => {
    const { x, y, half } = caption;
    return { ...caption, y: places.reduce((low, at) => (Math.abs(at.x - x) < half ? Math.max(low, at.y) : low), y) };
  });
}

/**
 * Every n-th of the wanted captions {layer, x, y, half}, with the smallest n at which all of them find room.
 *
 * A caption is centred at x, `half` pixels wide to both sides, and stays inside `width`; one that would cover an
 * earlier one moves a line down, or two where that gives room to all. Returns them as {layer, x, y}.
 */
export function thinned(wanted, width) {
  for (let step = 1; step < wanted.length; step++) {
    const placed = placeAll(wanted.filter((_, k) => k % step === 0), width, step === 1 ? LINES_FOR_ALL : LINES);
    if (placed) return placed;
  }
  return placeAll(wanted.slice(0, 1), width, LINES);
}

/** All captions at places on so many lines where none covers another one; null where one finds no room. */
function placeAll(captions, width, lines) {
  const placed = [];
  for (const { layer, x, y, half } of captions) {
    const at = Math.min(Math.max(x, half), width - half);
    const free = (top) =>
      placed.every((other) => Math.abs(at - other.x) > half + other.half || Math.abs(top - other.y) >= LINE);
    const line = Array.from({ length: lines }, (_, k) => y + LINE * k).find(free);
    if (line === undefined) return null;
    placed.push({ layer, x: at, y: line, half });
  }
  return placed;
}
