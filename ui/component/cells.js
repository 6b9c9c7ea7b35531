// Cells of an activation map and their receptive fields in the image: plain arithmetic, no browser.

/** The cell [row, column] at a place of a picture of the map, both in [0, 1); null outside. */
export function cellAt(x, y, [rows, columns]) {
  const cell = [Math.floor(y * rows), Math.floor(x * columns)];
  return inside(cell, [rows, columns]) ? cell : null;
}

/** Whether a cell is one of a map of so many rows and columns. */
export function inside(cell, [rows, columns]) {
  return Array.isArray(cell) && cell[0] >= 0 && cell[0] < rows && cell[1] >= 0 && cell[1] < columns;
}

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** The cell that a key leads to, or null where it leads nowhere. */
export function walked(cell, key, size) {
  const step = STEPS[key];
  if (!step) return null;
  const next = cell ? [cell[0] + step[0], cell[1] + step[1]] : [0, 0];
  return inside(next, size) ? next : null;
}

/** A box in parts of a picture of so many rows and columns, given first and last row and column; null if empty. */
export function share([top, bottom], [left, right], [rows, columns]) {
  if (bottom < top || right < left) return null;
  return {
    left: left / columns,
    top: top / rows,
    width: (right - left + 1) / columns,
    height: (bottom - top + 1) / rows,
  };
}

/** Where the receptive field of a cell lies in the image, in parts of it; null if it reads nothing but padding. */
export function field([row, column], { rows, columns, imageSize }) {
  return share(rows[row], columns[column], imageSize);
}

/** In words: the cell, its value, and its receptive field's pixels. */
export function described([row, column], { values, rows, columns }) {
  const value = values[row * columns.length + column].toPrecision(3);
  const [[top, bottom], [left, right]] = [rows[row], columns[column]];
  const place = `row ${row}, column ${column}: ${value}`;
  if (bottom < top || right < left) return `${place}; reads nothing but padding`;
  return `${place}; receptive field rows ${top}–${bottom}, columns ${left}–${right}`;
}
