// Draws a scene with WebGL2: discs, then kernels, then filters on top of them.

import { TEXTURE_WIDTH, kernelOpacity, packColours, packKernels, packPositions } from './buffers.js';
import { NoDrawing, createProgram, fillAttribute, fillTexture, setUniforms } from './gl.js';
import {
  DISC_FRAGMENT, DISC_VERTEX, FILTER_FRAGMENT, FILTER_VERTEX, KERNEL_FRAGMENT, KERNEL_VERTEX,
} from './shaders.js';

/** Behind a selection only so many faded kernels are drawn: more would add up to a solid colour. */
const MOST_FADED = 2500;
const FADED_OPACITY = 0.3;
const WIDEST = 4.2;

export class Renderer {
  constructor(canvas, { antialias }) {
    this.gl = canvas.getContext('webgl2', { antialias, alpha: true, premultipliedAlpha: true });
    if (!this.gl) throw new NoDrawing('WebGL 2 is not available');
    this.build();
  }

  /** Make all GL objects; called again after the browser has taken the context away and given it back. */
  build() {
    const { gl } = this;
    this.discs = { program: createProgram(gl, DISC_VERTEX, DISC_FRAGMENT), array: gl.createVertexArray(), count: 0 };
    this.kernels = { program: createProgram(gl, KERNEL_VERTEX, KERNEL_FRAGMENT), array: gl.createVertexArray() };
    this.filters = { program: createProgram(gl, FILTER_VERTEX, FILTER_FRAGMENT), array: gl.createVertexArray(), count: 0 };
    this.textures = { places: gl.createTexture(), all: gl.createTexture(), lit: gl.createTexture() };
    this.buffers = {};
    for (const name of ['disc', 'score', 'kind', 'marked', 'own']) this.buffers[name] = gl.createBuffer();
    this.litCount = null;
    this.total = 0;
  }

  /** Send a network to the GPU. */
  upload(scene, network) {
    const { gl } = this;
    const { filters, kernels } = network;
    fillTexture(gl, this.textures.places, TEXTURE_WIDTH, packPositions(scene));
    fillTexture(gl, this.textures.all, TEXTURE_WIDTH, packKernels(kernels));
    this.total = kernels.count;
    gl.bindVertexArray(this.filters.array);
    const attribute = (name, data, options) =>
      fillAttribute(gl, this.filters.program, name, this.buffers[name], data, options);
    attribute('score', Float32Array.from(filters.score));
    attribute('marked', Uint8Array.from(filters.marked, Number));
    attribute('own', packColours(filters.colour, filters.count), { size: 4, normalised: true });
    this.filters.count = filters.count;
    this.uploadDiscs(scene.discs);
  }

  uploadDiscs(discs) {
    const { gl } = this;
    gl.bindVertexArray(this.discs.array);
    const data = Float32Array.from(discs.flatMap(({ centre, radius }) => [...centre, radius]));
    fillAttribute(gl, this.discs.program, 'disc', this.buffers.disc, data, { size: 4, divisor: 1 });
    this.discs.count = discs.length;
  }

  /** Send what the selection changes: a state per filter and the kernels drawn on top (null: all are equal). */
  highlight(network, { states, lit }, selectedKernel) {
    const { gl } = this;
    gl.bindVertexArray(this.filters.array);
    fillAttribute(gl, this.filters.program, 'kind', this.buffers.kind, states);
    this.litCount = lit ? lit.length : null;
    if (lit) {
      const packed = packKernels(network.kernels, { rows: lit, selected: selectedKernel });
      fillTexture(gl, this.textures.lit, TEXTURE_WIDTH, packed);
    }
  }

  /**
   * Draw one frame; `view` holds matrix, width, height (device pixels), pixelRatio, unit, distance and palette.
   * Returns the number of kernels drawn at full strength.
   */
  draw(view, mostKernels) {
    const { gl } = this;
    gl.viewport(0, 0, view.width, view.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.disable(gl.DEPTH_TEST);
    this.drawDiscs(view);
    const drawn = this.drawKernels(view, mostKernels);
    gl.enable(gl.DEPTH_TEST);
    this.drawFilters(view);
    gl.bindVertexArray(null);
    return drawn;
  }

  drawDiscs({ matrix, pixelRatio, palette }) {
    const { gl, discs } = this;
    gl.useProgram(discs.program.handle);
    setUniforms(gl, discs.program, { viewProjection: matrix, pixelRatio, fill: palette.disc, rim: palette.rim });
    gl.bindVertexArray(discs.array);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, discs.count);
  }

  drawKernels(view, mostKernels) {
    const all = Math.min(this.total, mostKernels);
    if (this.litCount === null) return this.drawBatch(view, this.textures.all, all, kernelOpacity(this.total));
    const faded = Math.min(all, MOST_FADED);
    this.drawBatch(view, this.textures.all, faded, kernelOpacity(faded) * FADED_OPACITY);
    const lit = Math.min(this.litCount, mostKernels);
    return this.drawBatch(view, this.textures.lit, lit, Math.max(0.4, kernelOpacity(lit)));
  }

  drawBatch(view, texture, count, opacity) {
    const { gl, kernels } = this;
    const { matrix, pixelRatio, palette } = view;
    gl.useProgram(kernels.program.handle);
    this.bindTextures(texture);
    const values = {
      viewProjection: matrix, pixelRatio, opacity, palette: palette.kernels, widest: WIDEST,
      resolution: [view.width, view.height], nearest: view.distance * 0.02, eyeDistance: view.distance,
    };
    setUniforms(gl, kernels.program, values, { places: 0, kernels: 1, count });
    gl.bindVertexArray(kernels.array);
    gl.drawArrays(gl.TRIANGLES, 0, 6 * count);
    return count;
  }

  drawFilters({ matrix, pixelRatio, unit, palette }) {
    const { gl, filters } = this;
    gl.useProgram(filters.program.handle);
    this.bindTextures(this.textures.all);
    const { background, weak, strong, chosen, accent } = palette;
    const values = { viewProjection: matrix, pixelRatio, unit, background, weak, strong, chosen, accent };
    setUniforms(gl, filters.program, values, { places: 0 });
    gl.bindVertexArray(filters.array);
    gl.drawArrays(gl.POINTS, 0, filters.count);
  }

  bindTextures(kernels) {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_2D, kernels);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.textures.places);
  }

  /** Give everything back to the browser; the renderer is of no use afterwards. */
  dispose() {
    const { gl } = this;
    for (const { program, array } of [this.discs, this.kernels, this.filters]) {
      gl.deleteProgram(program.handle);
      gl.deleteVertexArray(array);
    }
    Object.values(this.textures).forEach((texture) => gl.deleteTexture(texture));
    Object.values(this.buffers).forEach((buffer) => gl.deleteBuffer(buffer));
    gl.getExtension('WEBGL_lose_context')?.loseContext();
  }
}
