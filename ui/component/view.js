// One network on the page: data, camera, selection and drawing put together.

import { nextDetail } from './buffers.js';
import { createCamera, fitCamera, lookFrom, nearestDepth, orbit, pan, pixelsPerUnit, viewProjection, zoom } from './camera.js';
import { listen } from './controls.js';
import { FlatRenderer } from './flat.js';
import { buildScene, outline, pick, pickDisc, project } from './geometry.js';
import { NoDrawing, isSoftware } from './gl.js';
import { describeSelection, found, highlight, named, readNetwork, shared } from './network.js';
import { Overlay, createFrame } from './overlay.js';
import { MOST_FADED, Renderer } from './renderer.js';
import { download, flattened, toggleFullScreen } from './snapshot.js';
import { paletteFor } from './theme.js';
import { tip } from './tip.js';
import { Toolbar } from './toolbar.js';
import { visiblePart } from './visible.js';
import { walk, walks } from './walk.js';

const PADDING = { left: 40, right: 40, top: 64, bottom: 44 };
const SETTLED_AFTER = 180;
const FIRST_DETAIL_ON_SOFTWARE = 3000;
const ALWAYS_EXPLAINED = [-1, 0, 1];
const NO_WEBGL = 'drawn without WebGL 2, so slowly: hardware acceleration may be switched off';

const count = (number) => number.toLocaleString('en');

export class NetworkView {
  constructor(parent, config) {
    this.frame = createFrame(parent, config.height);
    this.stop = new AbortController();
    this.selection = null;
    this.frames = 0;
    this.chooseRenderer();
    this.prepareCanvas();
  }

  /** WebGL 2, or where there is none, or its driver refuses the shaders, a 2-D canvas. */
  chooseRenderer() {
    try {
      this.canvas = document.createElement('canvas');
      this.renderer = new Renderer(this.canvas);
      this.software = isSoftware(this.renderer.gl);
    } catch (error) {
      if (!(error instanceof NoDrawing)) throw error;
      this.software = true;
      this.canvas = document.createElement('canvas');  // one that had a GL context gets no other
      this.renderer = new FlatRenderer(this.canvas);
      this.note = NO_WEBGL;
    }
  }

  prepareCanvas() {
    const { canvas, stop } = this;
    canvas.dataset.testid = 'network3d';
    canvas.__network = this;
    this.frame.append(canvas);
    canvas.tabIndex = 0;
    this.overlay = new Overlay(this.frame);
    this.toolbar = new Toolbar(this.frame, this.actions());
    this.hidden = new Set();
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
      key: (key) => this.key(key),
    };
  }

  actions() {
    const look = (side) => () => {
      lookFrom(this.camera, side);
      this.fit();
      this.untouched = false;
      this.draw();
    };
    return {
      fit: () => this.reset(),
      front: look('front'),
      side: look('side'),
      fullScreen: () => toggleFullScreen(this.frame),
      save: () => download(this.snapshot(), 'network.png'),
      hide: (layers) => this.hide(layers),
    };
  }

  /** Take what Python sends; called for every change of data or theme. */
  update({ nodes, kernels, cfg }, emit) {
    this.emit = emit;
    this.frame.style.height = `${cfg.height}px`;
    if (cfg.revision !== this.revision) this.load(readNetwork(nodes, kernels), cfg.revision);
    this.palette = paletteFor(getComputedStyle(this.frame).backgroundColor, cfg.palette);
    const signs = new Set([...ALWAYS_EXPLAINED, ...this.network.kernels.sign].map((sign) => this.palette.names[sign + 1]));
    this.overlay.setTexts(cfg.layers, cfg.legend || `${count(this.network.kernels.count)} kernels drawn`, this.palette, signs);
    this.canvas.setAttribute('role', 'application');
    const keys = 'arrow keys walk along the strongest kernels';
    this.canvas.setAttribute('aria-label', `Network in 3-D: ${cfg.legend}; ${keys}`);
    if (cfg.selectedRevision !== this.selectedRevision) {
      this.selectedRevision = cfg.selectedRevision;
      this.wanted = cfg.selected;
      this.trail = null;
      this.selectWanted();
    }
    this.draw();
  }

  load(network, revision) {
    const same = shared(this.network, network);
    this.network = network;
    this.revision = revision;
    this.trail = null;
    this.hover(null);
    if (!same.places) this.whole = buildScene(network.filters);
    if (!same.filters) {
      this.hidden = new Set();
      this.toolbar.setLayers(this.whole.discs.map(({ layer, first }) => [layer, this.layerName(first)]));
    }
    this.scene = visiblePart(this.whole, network, this.hidden);
    this.renderer.upload(this.scene, network);
    this.selectWanted();
    if (!same.filters) this.reset();
    else if (this.untouched) this.fit();
  }

  /** Draw all layers but those in the Set `layers`. */
  hide(layers) {
    this.hidden = layers;
    this.scene = visiblePart(this.whole, this.network, layers);
    this.renderer.upload(this.scene, this.network);
    this.selectWanted();
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

  /** Show what is to be selected, where it is drawn. */
  selectWanted() {
    const selection = found(this.wanted, this.network);
    const { source, target } = this.network.kernels;
    const ends = !selection ? [] : selection.kind === 'filter' ? [selection.index] : [source, target].map((end) => end[selection.index]);
    this.select(ends.every((i) => this.scene.radii[i] > 0) ? selection : null);
  }

  /** Show a selection without telling Python. */
  select(selection) {
    this.selection = selection;
    const effect = highlight(this.network, selection);
    this.states = effect.states;
    const { radii } = this.scene;
    const { source, target } = this.network.kernels;
    effect.lit &&= effect.lit.filter((e) => radii[source[e]] > 0 && radii[target[e]] > 0);
    this.lit = effect.lit;
    this.renderer.highlight(this.network, effect, selection?.kind === 'kernel' ? selection.index : -1);
    this.draw();
  }

  click(x, y) {
    if (!this.network) return;
    this.trail = null;
    this.choose(this.pick(x, y));
  }

  /** Show a selection, and tell Python. */
  choose(selection) {
    this.wanted = named(selection, this.network);
    this.select(selection);
    this.emit('selected', describeSelection(this.selection, this.network, this.revision, this.selectedRevision));
    this.overlay.say(selection ? tip(selection, this.network, this.palette).join(': ') : 'nothing selected');
  }

  /** Walk, or take the selection back; says whether the key does so. */
  key(key) {
    if (!this.network) return false;
    if (key === 'Escape' && this.selection) this.choose(null);
    if (!walks(key)) return false;
    const step = walk(this.network, this.selection, key, this.trail, (i) => this.scene.radii[i] > 0);
    if (!step) return true;
    this.trail = step.trail;
    this.choose(step.selection);
    return true;
  }

  pick(x, y) {
    const rows = this.lit ?? this.scene.rows;
    const eye = { unit: pixelsPerUnit(this.height), nearest: nearestDepth(this.camera.distance) };
    return pick(this.scene, this.network, this.screen(), eye, x, y, { rows, states: this.states });
  }

  /** Tell what is under the mouse, at most once a frame; null where it is nowhere. */
  hover(place) {
    this.hovered = place;
    if (!place) {
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
    const [title, text] = tip(under, this.network, this.palette);
    if (under.kind === 'kernel') return this.overlay.showTip(title, text, x, y, this.width);
    const at = this.filterPixel(under.index);
    return this.overlay.showTip(title, text, at.x + at.radius, at.y, this.width, at);
  }

  disc(x, y) {
    const matrix = viewProjection(this.camera, this.width, this.height);
    return pickDisc(this.scene.discs, matrix, this.width, this.height, x, y);
  }

  /** Name the layer whose disc is under the mouse. */
  describeDisc(x, y) {
    const disc = this.disc(x, y);
    if (!disc) return this.overlay.hideTip();
    return this.overlay.showTip(this.layerName(disc.first), `layer of ${count(disc.filters)} filters`, x, y, this.width);
  }

  /** Name of the layer that the filter in row `i` belongs to. */
  layerName(i) {
    const uid = this.network.filters.uid[i];
    return uid.slice(uid.indexOf('/') + 1, uid.lastIndexOf('/'));
  }

  /** The picture as it is, with captions and legend, as a canvas. */
  snapshot() {
    this.moving = false;
    this.paint();
    const style = getComputedStyle(this.frame);
    return flattened(this.canvas, {
      background: style.backgroundColor, colour: style.color, font: style.fontFamily,
      pixelRatio: this.pixelRatio, ...this.overlay.texts(),
    });
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
    const total = this.scene.rows ? this.scene.rows.length : this.network.kernels.count;
    const limit = moving ? Math.min(this.detail, total) : total;
    this.projected = null;
    this.drawn = moving ? this.paintMoving(limit) : this.renderer.draw(this.viewpoint(), limit);
    this.frames += 1;
    this.overlay.setDetail(this.detailText(limit, total));
    this.overlay.placeCaptions(this.captionPlaces(), this.width);
    this.canvas.classList.toggle('turning', moving);
    clearTimeout(this.settle);
    if (moving) this.settle = setTimeout(() => this.draw(), SETTLED_AFTER);
  }

  /** What the legend says of kernels that are left out of this picture. */
  detailText(limit, total) {
    if (limit < total) return `while turning: the ${count(limit)} most important`;
    const parts = [];
    const { size } = this.hidden;
    if (size) parts.push(`${count(total)} shown: ${size} ${size > 1 ? 'layers are' : 'layer is'} hidden`);
    if (this.lit && total > MOST_FADED) parts.push(`behind the selection the ${count(MOST_FADED)} most important`);
    return [...parts, ...(this.note ? [this.note] : [])].join(' · ');
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
    this.observer.disconnect();
    cancelAnimationFrame(this.asked);
    cancelAnimationFrame(this.hoverAsked);
    clearTimeout(this.settle);
    this.renderer.dispose();
    this.frame.remove();
  }
}
