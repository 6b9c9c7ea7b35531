// Arrays in the shape that the GPU takes. Free of GL, so that `node --test` covers it.

export const TEXTURE_WIDTH = 1024;
/** Third number of a kernel's texel: sign + 1 (an identity has sign 2), or SELECTED_KERNEL for the selected one. */
export const SELECTED_KERNEL = 4;
const FEWEST_WHILE_TURNING = 1200;

/** RGBA float texels: position and radius, one a filter, in rows of TEXTURE_WIDTH. */
export function packPositions({ positions, radii }) {
  const height = Math.max(1, Math.ceil(radii.length / TEXTURE_WIDTH));
  const data = new Float32Array(4 * TEXTURE_WIDTH * height);
  for (let i = 0; i < radii.length; i++) {
    data.set(positions.subarray(3 * i, 3 * i + 3), 4 * i);
    data[4 * i + 3] = radii[i];
  }
  return { data, height };
}

/** RGBA integer texels: source, target, sign + 1, width, one a kernel; `rows` packs only some of them. */
export function packKernels(kernels, { rows = null, selected = -1 } = {}) {
  const count = rows ? rows.length : kernels.count;
  const height = Math.max(1, Math.ceil(count / TEXTURE_WIDTH));
  const data = new Uint32Array(4 * TEXTURE_WIDTH * height);
  for (let k = 0; k < count; k++) {
    const e = rows ? rows[k] : k;
    data[4 * k] = kernels.source[e];
    data[4 * k + 1] = kernels.target[e];
    data[4 * k + 2] = e === selected ? SELECTED_KERNEL : kernels.sign[e] + 1;
    data[4 * k + 3] = kernels.width[e];
  }
  return { data, height, count };
}

/** RGBA bytes a filter: the colour of an input channel and 255, or four zeros for any other filter. */
export function packColours(colours, count) {
  const bytes = new Uint8Array(4 * count);
  colours.forEach((colour, i) => {
    const match = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(colour);
    if (match) bytes.set([...match.slice(1).map((digits) => parseInt(digits, 16)), 255], 4 * i);
  });
  return bytes;
}

/** Opacity of a kernel among `count`: falls with the number drawn, so that dense bundles stay legible. */
export function kernelOpacity(count) {
  return Math.min(0.85, Math.max(0.03, 30 * Math.max(1, count) ** -0.6));
}

/** Width in CSS pixels of the most important kernel among `count`. */
export function widestKernel(count) {
  return Math.min(4.2, Math.max(1.6, 15.1 * Math.max(1, count) ** -0.2));
}

/**
 * How many kernels the next frame of a movement draws, from how long the last one took.
 *
 * Falls fast when frames are slow and climbs slowly when there is time to spare.
 */
export function nextDetail(detail, frameMilliseconds, total) {
  if (frameMilliseconds > 32) return Math.max(FEWEST_WHILE_TURNING, Math.floor(Math.min(detail, total) * 0.6));
  if (frameMilliseconds < 16) return Math.min(total, Math.ceil(detail * 1.15));
  return detail;
}
