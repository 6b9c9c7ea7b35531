// One network on the page: data, camera, selection and drawing put together.

import { nextDetail } from './buffers.js';
import { createCamera, fitCamera, orbit, pan, pixelsPerUnit, viewProjection, zoom } from './camera.js';
import { listen } from './controls.js';
import { buildScene, outline, pick, pickDisc, project } from './geometry.js';
import { NoDrawing, isSoftware } from './gl.js';
import { carrySelection, describeSelection, highlight, readNetwork, sameLayout, validSelection } from './network.js';
import { Overlay, createFrame, showMessage } from './overlay.js';
import { Renderer } from './renderer.js';
import { paletteFor } from './theme.js';

const PADDING = { left: 40, right: 40, top: 64, bottom: 44 };
const SETTLED_AFTER = 180;
const FIRST_DETAIL_ON_SOFTWARE = 3000;
const SIGNS = { '-1': 'inhibitory', 0: 'mixed', 1: 'excitatory', 2: 'identity' };
const ALWAYS_EXPLAINED = ['inhibitory', 'mixed', 'excitatory'];
const NO_WEBGL =
  'The 3-D view needs WebGL 2, which this browser does not offer here (hardware acceleration may be switched off). ' +
  'Everything else on this page works without it.';

const count = (number) => number.toLocaleString('en');

export class NetworkView {
  constructor(parent, config) {
    this.frame = createFrame(parent, config.height);
    this.stop = new AbortController();
    this.selection = null;
    this.frames = 0;
    try {
      this.software = isSoftware();
      this.canvas = document.createElement('canvas');
      this.renderer = new Renderer(this.canvas, { antialias: !this.software });
    } catch (error) {
      if (!(error instanceof NoDrawing)) throw error;
      showMessage(this.frame, NO_WEBGL);
      return;
    }
    this.prepareCanvas();
  }

  prepareCanvas() {
    const { canvas, stop } = this;
    canvas.dataset.testid = 'network3d';
    canvas.__network = this;
    this.frame.append(canvas);
    this.overlay = new Overlay(this.frame);
    this.camera = createCamera();
    this.untouched = true;
    this.detail = this.software ? FIRST_DETAIL_ON_SOFTWARE : Infinity;
    listen(canvas, this.handlers(), stop.signal);
    canvas.addEventListener('webglcontextlost', (event) => event.preventDefault(), { signal: stop.signal });
    canvas.addEventListener('webglcontextrestored', () => this.restore(), { signal: stop.signal });
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(canvas);
  }

  handlers() {
    const moved = (change) => (...values) => {
      change(...values);
      this.untouched = false;
      this.hover(null);
      this.draw({ moving: true });
    };
    return {
      turn: moved((dx, dy) => orbit(this.camera, dx, dy)),
      shift: moved((dx, dy) => pan(this.camera, dx, dy, this.height)),
      zoom: moved((delta) => zoom(this.camera, delta)),
      click: (x, y) => this.click(x, y),
      hover: (x, y) => this.hover([x, y]),
      leave: () => this.hover(null),
      reset: () => this.reset(),
    };
  }

  /** Take what Python sends; called for every change of data or theme. */
  update({ nodes, kernels, cfg }, emit) {
    this.emit = emit;
    if (!this.renderer) return;
    this.frame.style.height = `${cfg.height}px`;
    if (cfg.revision !== this.revision) this.load(readNetwork(nodes, kernels), cfg.revision);
    this.palette = paletteFor(getComputedStyle(this.frame).backgroundColor);
    const signs = new Set([...ALWAYS_EXPLAINED, ...Array.from(this.network.kernels.sign, (sign) => SIGNS[sign])]);
    this.overlay.setTexts(cfg.layers, cfg.legend || `${count(this.network.kernels.count)} kernels drawn`, this.palette, signs);
    this.canvas.setAttribute('role', 'img');
    this.canvas.setAttribute('aria-label', `Network in 3-D: ${cfg.legend}`);
    if (cfg.selectedRevision !== this.selectedRevision) {
      this.selectedRevision = cfg.selectedRevision;
      this.select(validSelection(cfg.selected, this.network));
    }
    this.draw();
  }

  load(network, revision) {
    const selection = carrySelection(this.selection, this.network, network);
    const moved = !sameLayout(this.network, network);
    this.network = network;
    this.revision = revision;
    this.hover(null);
    if (moved) this.scene = buildScene(network.filters);
    this.renderer.upload(this.scene, network);
    this.select(selection);
    if (moved) this.reset();
  }

  restore() {
    this.renderer.build();
    if (!this.network) return;
    this.renderer.upload(this.scene, this.network);
    this.select(this.selection);
  }

  resize() {
    const box = this.canvas.getBoundingClientRect();
    if (box.width < 2 || box.height < 2) return;
    [this.width, this.height] = [box.width, box.height];
    this.pixelRatio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(box.width * this.pixelRatio);
    this.canvas.height = Math.round(box.height * this.pixelRatio);
    if (this.untouched) this.fit();
    this.paint();
  }

  /** The first view again: everything visible, seen from slightly beside and above. */
  reset() {
    this.camera = createCamera(this.scene?.spacing);
    this.untouched = true;
    this.fit();
    this.draw();
  }

  fit() {
    if (this.scene && this.width) fitCamera(this.camera, outline(this.scene.discs), this.width, this.height, PADDING);
  }

  /** Show a selection without telling Python. */
  select(selection) {
    this.selection = selection;
    const effect = highlight(this.network, selection);
    this.lit = effect.lit;
    this.renderer.highlight(this.network, effect, selection?.kind === 'kernel' ? selection.index : -1);
    this.draw();
  }

  click(x, y) {
    if (!this.network) return;
    this.select(this.pick(x, y));
    this.emit('selected', describeSelection(this.selection, this.network, this.revision, this.selectedRevision));
  }

  pick(x, y) {
    return pick(this.scene, this.network, this.screen(), pixelsPerUnit(this.height), x, y, this.lit);
  }

  /** Tell what is under the mouse, at most once a frame; null where it is nowhere. */
  hover(place) {
    this.hovered = place;
    if (!place && this.overlay) {
      this.overlay.hideTip();
      this.canvas.classList.remove('pointing');
    }
    if (this.hoverAsked || !place) return;
    this.hoverAsked = requestAnimationFrame(() => {
      this.hoverAsked = 0;
      if (this.hovered && this.network && this.width) this.describe(...this.hovered);
    });
  }

  describe(x, y) {
    const under = this.pick(x, y);
    this.canvas.classList.toggle('pointing', Boolean(under));
    if (!under) return this.describeDisc(x, y);
    const { filters, kernels } = this.network;
    if (under.kind === 'kernel') {
      const [a, b] = [kernels.source[under.index], kernels.target[under.index]];
      const title = `${filters.uid[a]} → ${filters.uid[b]}`;
      const sign = SIGNS[kernels.sign[under.index]];
      const text = sign === 'identity' ? 'identity: an addend of the sum' : `${sign} kernel`;
      return this.overlay.showTip(title, text, x, y, this.width);
    }
    const at = this.filterPixel(under.index);
    const text = `score ${filters.score[under.index].toFixed(2)}${filters.marked[under.index] ? ' · target' : ''}`;
    return this.overlay.showTip(filters.uid[under.index], text, at.x + at.radius, at.y, this.width, at);
  }

  disc(x, y) {
    const matrix = viewProjection(this.camera, this.width, this.height);
    return pickDisc(this.scene.discs, matrix, this.width, this.height, x, y);
  }

  /** Name the layer whose disc is under the mouse. */
  describeDisc(x, y) {
    const disc = this.disc(x, y);
    if (!disc) return this.overlay.hideTip();
    const uid = this.network.filters.uid[disc.first];
    const name = uid.slice(uid.indexOf('/') + 1, uid.lastIndexOf('/'));
    return this.overlay.showTip(name, `layer of ${count(disc.filters)} filters`, x, y, this.width);
  }

  /** Ask for a new picture in the next frame; while `moving` only the most important kernels are drawn. */
  draw({ moving = false } = {}) {
    this.moving = moving;
    if (this.asked) return;
    this.asked = requestAnimationFrame(() => {
      this.asked = 0;
      this.paint();
    });
  }

  paint() {
    if (!this.width || !this.network || !this.palette) return;
    const { moving } = this;
    const total = this.network.kernels.count;
    const limit = moving ? Math.min(this.detail, total) : total;
    this.projected = null;
    this.drawn = moving ? this.paintMoving(limit) : this.renderer.draw(this.viewpoint(), limit);
    this.frames += 1;
    this.overlay.setDetail(limit < total ? `while turning: the ${count(limit)} most important` : '');
    this.overlay.placeCaptions(this.captionPlaces(), this.width);
    this.canvas.classList.toggle('turning', moving);
    clearTimeout(this.settle);
    if (moving) this.settle = setTimeout(() => this.draw(), SETTLED_AFTER);
  }

  /** Draw one frame of a movement, and fit the number of kernels of the next one to the time that it took. */
  paintMoving(limit) {
    const start = performance.now();
    const drawn = this.renderer.draw(this.viewpoint(), limit);
    this.renderer.finish();
    this.detail = nextDetail(this.detail, performance.now() - start, this.network.kernels.count);
    return drawn;
  }

  viewpoint() {
    return {
      matrix: viewProjection(this.camera, this.width, this.height),
      width: this.canvas.width,
      height: this.canvas.height,
      pixelRatio: this.pixelRatio,
      unit: pixelsPerUnit(this.canvas.height),
      distance: this.camera.distance,
      palette: this.palette,
    };
  }

  /** Projected filters in CSS pixels, computed once per camera position. */
  screen() {
    if (!this.projected) {
      const matrix = viewProjection(this.camera, this.width, this.height);
      this.projected = project(this.scene.positions, matrix, this.width, this.height);
    }
    return this.projected;
  }

  captionPlaces() {
    const matrix = viewProjection(this.camera, this.width, this.height);
    const lowest = this.scene.discs.flatMap(({ centre: [x, y, z], radius }) => [x, y - radius, z]);
    const screen = project(Float32Array.from(lowest), matrix, this.width, this.height);
    return this.scene.discs
      .map(({ layer }, d) => ({ layer, x: screen[3 * d], y: screen[3 * d + 1] + 4, depth: screen[3 * d + 2] }))
      .filter(({ depth }) => depth > 0.01);
  }

  /** Where filter `i` is drawn: x, y and radius in CSS pixels from the canvas' corner (used by tests, too). */
  filterPixel(i) {
    const screen = this.screen();
    const radius = (this.scene.radii[i] * pixelsPerUnit(this.height)) / screen[3 * i + 2];
    return { x: screen[3 * i], y: screen[3 * i + 1], radius };
  }

  /** The pixel at share `t` of kernel `e` between its source (0) and its target (1). */
  kernelPixel(e, t = 0.5) {
    const [a, b] = [this.network.kernels.source[e], this.network.kernels.target[e]].map((i) => this.filterPixel(i));
    return { x: a.x + t * (b.x - a.x), y: a.y + t * (b.y - a.y) };
  }

  dispose() {
    this.stop.abort();
    this.observer?.disconnect();
    cancelAnimationFrame(this.asked);
    cancelAnimationFrame(this.hoverAsked);
    clearTimeout(this.settle);
    this.renderer?.dispose();
    this.frame.remove();
  }
}
