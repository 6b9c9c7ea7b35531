// Draws the same scene on a 2-D canvas, where the browser offers no WebGL 2: slower, otherwise alike.

import { SELECTED_KERNEL, kernelOpacity, packColours, widestKernel } from './buffers.js';
import { nearestDepth } from './camera.js';
import { SELECTED_SIZE, outline, project } from './geometry.js';
import { FADED, SELECTED } from './network.js';
import { FADED_OPACITY, MOST_FADED } from './renderer.js';

const RIM_POINTS = 40;

const mix = (a, b, share) => a + (b - a) * share;
const blend = (one, other, share) => one.map((value, i) => mix(value, other[i], share));
const css = (rgb, alpha = 1) => `rgb(${rgb.map((value) => Math.round(255 * value)).join(' ')} / ${alpha})`;

export class FlatRenderer {
  constructor(canvas) {
    this.context = canvas.getContext('2d');
  }

  /** What a lost GL context needs; here nothing is ever lost. */
  build() {}

  upload(scene, network) {
    Object.assign(this, { scene, network });
    this.total = scene.rows ? scene.rows.length : network.kernels.count;
    this.own = packColours(network.filters.colour, network.filters.count);
  }

  highlight(_, { states, lit }, selectedKernel) {
    Object.assign(this, { states, lit, selectedKernel });
  }

  /** Draw one frame; takes and returns what `Renderer.draw` does. */
  draw(view, mostKernels) {
    const { context, scene, lit } = this;
    this.screen = project(scene.positions, view.matrix, view.width, view.height);
    context.clearRect(0, 0, view.width, view.height);
    this.drawDiscs(view);
    const all = Math.min(this.total, mostKernels);
    if (!lit) {
      this.drawKernels(view, scene.rows, all, this.total);
      this.drawFilters(view, () => true);
      return all;
    }
    this.drawKernels(view, scene.rows, Math.min(all, MOST_FADED), this.total, FADED_OPACITY);
    this.drawFilters(view, (state) => state === FADED);
    const drawn = Math.min(lit.length, mostKernels);
    this.drawKernels(view, lit, drawn, drawn);
    this.drawFilters(view, (state) => state !== FADED);
    return drawn;
  }

  drawDiscs({ matrix, width, height, pixelRatio, palette }) {
    const { context, scene } = this;
    const points = project(outline(scene.discs, RIM_POINTS), matrix, width, height);
    context.lineWidth = 1.8 * pixelRatio;
    context.fillStyle = css(palette.disc.slice(0, 3), palette.disc[3]);
    context.strokeStyle = css(palette.rim.slice(0, 3), palette.rim[3]);
    scene.discs.forEach((_, d) => {
      const corners = points.subarray(3 * RIM_POINTS * d, 3 * RIM_POINTS * (d + 1));
      if (corners.some((value, k) => k % 3 === 2 && value <= 0)) return;  // partly behind the viewer
      context.beginPath();
      for (let k = 0; k < corners.length; k += 3) context.lineTo(corners[k], corners[k + 1]);
      context.closePath();
      context.fill();
      context.stroke();
    });
  }

  /** `count` of the kernels in `rows` (null: of all), the least important first, as faint as befits a `crowd`. */
  drawKernels(view, rows, count, crowd, share = 1) {
    const { context, network: { kernels }, screen, selectedKernel } = this;
    const nearest = nearestDepth(view.distance);
    const [opacity, widest] = [share * kernelOpacity(crowd), widestKernel(crowd)];
    const colours = [0, 3, 6, 9, 12].map((at) => css(view.palette.kernels.slice(at, at + 3)));
    for (let k = count - 1; k >= 0; k--) {
      const e = rows ? rows[k] : k;
      const [a, b] = [3 * kernels.source[e], 3 * kernels.target[e]];
      if (screen[a + 2] < nearest || screen[b + 2] < nearest) continue;
      const chosen = e === selectedKernel;
      const strength = kernels.width[e] / 255;
      const closeness = Math.min(Math.max((2 * view.distance) / (screen[a + 2] + screen[b + 2]), 0.6), 1.7);
      const width = (chosen ? 1.15 : 1) * closeness * mix(0.8, widest, strength ** 1.4);
      context.strokeStyle = colours[chosen ? SELECTED_KERNEL : kernels.sign[e] + 1];
      context.globalAlpha = chosen ? 1 : Math.min(opacity * mix(0.45, 1.35, strength), 0.95) * Math.min(1, width);
      context.lineWidth = view.pixelRatio * width;
      context.beginPath();
      context.moveTo(screen[a], screen[a + 1]);
      context.lineTo(screen[b], screen[b + 1]);
      context.stroke();
    }
    context.globalAlpha = 1;
  }

  /** The filters whose state is `wanted`, the farthest first and the selected one last. */
  drawFilters(view, wanted) {
    const { scene: { radii }, screen, states } = this;
    const nearest = nearestDepth(view.distance);
    const order = [];
    for (let i = 0; i < radii.length; i++) {
      if (radii[i] > 0 && screen[3 * i + 2] >= nearest && wanted(states[i])) order.push(i);
    }
    const depth = (i) => (states[i] === SELECTED ? -1 : screen[3 * i + 2]);
    order.sort((i, j) => depth(j) - depth(i)).forEach((i) => this.drawFilter(view, i));
  }

  drawFilter({ palette, pixelRatio, unit }, i) {
    const { context, network: { filters }, screen, own } = this;
    const [x, y, depth] = screen.subarray(3 * i, 3 * i + 3);
    const score = filters.score[i];
    const selected = this.states[i] === SELECTED;
    const square = own[4 * i + 3] > 0;
    const colours = this.coloursOf(palette, i, square);
    const size = Math.max((this.scene.radii[i] * unit) / depth, 1.6 * pixelRatio);
    const radius = size * (selected ? SELECTED_SIZE : mix(0.72, 1.05, score)) * (square ? 1.25 : 1);
    const ring = selected ? palette.accent : filters.marked[i] ? palette.goal : null;
    if (ring) {
      this.shape(x, y, radius + 3.4 * pixelRatio, square);
      context.lineWidth = 2.3 * pixelRatio;
      context.strokeStyle = css(ring);
      context.stroke();
    }
    const opacity = square || ring ? 1 : mix(0.5, 1, Math.sqrt(score));
    const rim = Math.min(1.1 * pixelRatio, 0.35 * radius);
    this.shape(x, y, radius - rim / 2, square);
    context.fillStyle = css(colours.fill, opacity);
    context.fill();
    context.lineWidth = rim;
    context.strokeStyle = css(colours.line, opacity);
    context.stroke();
  }

  coloursOf(palette, i, square) {
    const { background, weak, strong, chosen } = palette;
    if (this.states[i] === SELECTED) return { fill: chosen, line: chosen };
    const score = this.network.filters.score[i];
    const own = [...this.own.subarray(4 * i, 4 * i + 3)].map((value) => value / 255);
    const fill = square ? own : blend(weak, strong, score ** 0.8);
    const line = square ? blend(own, strong, 0.35) : blend(strong, weak, 0.6 - 0.6 * score);
    if (this.states[i] !== FADED) return { fill, line };
    return { fill: blend(background, fill, 0.22), line: blend(background, line, 0.3) };
  }

  shape(x, y, radius, square) {
    const { context } = this;
    context.beginPath();
    if (square) context.rect(x - radius, y - radius, 2 * radius, 2 * radius);
    else context.arc(x, y, radius, 0, 2 * Math.PI);
  }

  /** A 2-D canvas draws at once, as far as a page can tell. */
  finish() {}

  dispose() {}
}
