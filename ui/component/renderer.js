// Draws a scene with WebGL2: discs, then kernels, then filters on top of them.

import { TEXTURE_WIDTH, kernelOpacity, packColours, packKernels, packPositions, widestKernel } from './buffers.js';
import { nearestDepth } from './camera.js';
import { NoDrawing, createProgram, fillAttribute, fillTexture, setUniforms } from './gl.js';
import { FADED, NORMAL } from './network.js';
import {
  DISC_FRAGMENT, DISC_VERTEX, FILTER_FRAGMENT, FILTER_VERTEX, KERNEL_FRAGMENT, KERNEL_VERTEX,
} from './shaders.js';

/** Behind a selection only so many faded kernels are drawn: more would add up to a solid colour. */
export const MOST_FADED = 2500;
export const FADED_OPACITY = 0.16;

export class Renderer {
  constructor(canvas) {
    // the shaders smooth their own edges
    this.gl = canvas.getContext('webgl2', { antialias: false, alpha: true, premultipliedAlpha: true });
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

  /** Send a network to the GPU, or the part of it that `scene` shows: its `rows` of kernels, null for all. */
  upload(scene, network) {
    const { gl } = this;
    const { filters, kernels } = network;
    fillTexture(gl, this.textures.places, TEXTURE_WIDTH, packPositions(scene));
    fillTexture(gl, this.textures.all, TEXTURE_WIDTH, packKernels(kernels, { rows: scene.rows }));
    this.total = scene.rows ? scene.rows.length : kernels.count;
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
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.drawDiscs(view);
    const all = Math.min(this.total, mostKernels);
    let drawn = all;
    if (this.litCount === null) this.drawKernels(view, this.textures.all, all, this.total);
    else drawn = this.drawFaded(view, all, mostKernels);
    this.drawFilters(view, NORMAL);
    gl.bindVertexArray(null);
    return drawn;
  }

  /** With a selection everything else lies faded below: its filters must not hide the kernels that are lit. */
  drawFaded(view, all, mostKernels) {
    this.drawKernels(view, this.textures.all, Math.min(all, MOST_FADED), this.total, FADED_OPACITY);
    this.drawFilters(view, FADED);
    const lit = Math.min(this.litCount, mostKernels);
    this.drawKernels(view, this.textures.lit, lit, lit);
    return lit;
  }

  drawDiscs({ matrix, pixelRatio, unit, palette }) {
    const { gl, discs } = this;
    gl.useProgram(discs.program.handle);
    setUniforms(gl, discs.program, { viewProjection: matrix, pixelRatio, unit, fill: palette.disc, rim: palette.rim });
    gl.bindVertexArray(discs.array);
    gl.disable(gl.DEPTH_TEST);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, discs.count);
  }

  /** `count` kernels, as faint and thin as befits a crowd of `crowd`. */
  drawKernels(view, texture, count, crowd, share = 1) {
    const { gl, kernels } = this;
    const { matrix, pixelRatio, palette } = view;
    gl.useProgram(kernels.program.handle);
    this.bindTextures(texture);
    const values = {
      viewProjection: matrix, pixelRatio, palette: palette.kernels,
      opacity: share * kernelOpacity(crowd), widest: widestKernel(crowd),
      resolution: [view.width, view.height], nearest: nearestDepth(view.distance), eyeDistance: view.distance,
    };
    setUniforms(gl, kernels.program, values, { places: 0, kernels: 1, count });
    gl.bindVertexArray(kernels.array);
    gl.disable(gl.DEPTH_TEST);
    gl.drawArrays(gl.TRIANGLES, 0, 6 * count);
  }

  /** The filters that are FADED, or all others; each call hides those of the call before. */
  drawFilters({ matrix, pixelRatio, unit, palette }, part) {
    const { gl, filters } = this;
    gl.useProgram(filters.program.handle);
    this.bindTextures(this.textures.all);
    const { background, weak, strong, chosen, accent, goal } = palette;
    const values = { viewProjection: matrix, pixelRatio, unit, background, weak, strong, chosen, accent, goal };
    setUniforms(gl, filters.program, values, { places: 0, fadedOnly: part === FADED ? 1 : 0 });
    gl.bindVertexArray(filters.array);
    gl.enable(gl.DEPTH_TEST);
    gl.clear(gl.DEPTH_BUFFER_BIT);
    gl.drawArrays(gl.POINTS, 0, filters.count);
  }

  /** Wait until everything drawn so far is really there: reading a pixel is the call that browsers honour. */
  finish() {
    const { gl } = this;
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
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
