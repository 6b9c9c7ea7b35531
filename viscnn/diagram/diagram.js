// The diagram of a circuit, alive: click to isolate, drag to move, wheel to zoom. Used by the page and by exported HTML.
// Python makes the SVG (viscnn/diagram/svg.py); this only moves it and fades what is not selected.

const DIAGRAM_STYLE = `
.viscnn-diagram { position: relative; background: var(--paper); height: 100%; overflow: hidden; touch-action: none; cursor: grab; outline: none;
  font: 12px Helvetica, Arial, sans-serif; user-select: none; }
.viscnn-diagram.moving { cursor: grabbing; }
.viscnn-diagram:focus-visible { box-shadow: inset 0 0 0 2px rgba(91, 155, 224, .8); }
.viscnn-diagram .stage { position: absolute; left: 0; top: 0; transform-origin: 0 0; }
.viscnn-diagram svg { display: block; overflow: visible; }
.viscnn-diagram .stage .legend { display: none; }
.viscnn-diagram .key { position: absolute; left: 10px; right: 150px; bottom: 6px; display: flex; flex-wrap: wrap;
  pointer-events: none; }
.viscnn-diagram .paper { fill: none; }
.viscnn-diagram .hit { fill: none; stroke: transparent; stroke-width: 10; pointer-events: stroke; }
.viscnn-diagram .edge, .viscnn-diagram text, .viscnn-diagram .legend { pointer-events: none; }
.viscnn-diagram .filter, .viscnn-diagram .kernel, .viscnn-diagram .hit { cursor: pointer; }
.viscnn-diagram .isolated .edges .edge:not(.kept) { stroke-opacity: .05; }
.viscnn-diagram .isolated .kernel:not(.kept) { opacity: .06; }
.viscnn-diagram .isolated .filter:not(.kept) { opacity: .16; }
.viscnn-diagram .isolated .edge.kept { stroke-opacity: .95; }
.viscnn-diagram .chosen > .rim, .viscnn-diagram .chosen > .disc { stroke: var(--ink); stroke-width: 3.5; }
.viscnn-diagram .chosen > .frame { stroke: var(--ink); stroke-width: 2.6; }
.viscnn-diagram .near { stroke-opacity: 1; }
.viscnn-diagram .tools { position: absolute; right: 8px; bottom: 8px; display: flex; gap: 4px; }
.viscnn-diagram .tools button { font: inherit; min-width: 26px; height: 24px; padding: 0 6px; cursor: pointer;
  color: var(--ink); background: var(--paper); border: 1px solid rgba(128, 128, 128, .4); border-radius: 4px; }
.viscnn-diagram .tools button { display: grid; place-items: center; }
.viscnn-diagram .tools button:hover { border-color: var(--ink); }
.viscnn-diagram .tip { position: absolute; pointer-events: none; max-width: 320px; padding: 3px 7px; z-index: 2;
  color: var(--ink); background: var(--paper); border: 1px solid rgba(128, 128, 128, .5); border-radius: 4px; }
.viscnn-diagram .tip:empty { display: none; }
`;
const FULL_SCREEN = '<svg width="11" height="11" viewBox="0 0 11 11" fill="none" stroke="currentColor" stroke-width="1.5">'
  + '<path d="M1 4V1H4M7 1H10V4M10 7V10H7M4 10H1V7"/></svg>';
const CLICK_PIXELS = 5;
const REST_MS = 250;
const [SMALLEST_SCALE, LARGEST_SCALE] = [0.02, 12];

/** Whether text on this CSS colour must be light. */
function isDarkColour(text) {
  const hex = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})/i.exec(text);
  const rgb = hex ? hex.slice(1).map((each) => parseInt(each, 16)) : (text.match(/[\d.]+/g) ?? [255, 255, 255]).map(Number);
  return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2] < 102;
}

class DiagramView {
  /**
   * @param {HTMLElement} host where it goes
   * @param {(selection: object) => void} onSelect told of each click and key that selects
   * @param {Map} memory what is seen of each drawing, by its key
   */
  constructor(host, onSelect = () => {}, memory = new Map()) {
    this.onSelect = onSelect;
    this.memory = memory;
    this.root = document.createElement('div');
    this.root.className = 'viscnn-diagram';
    this.root.tabIndex = 0;
    this.root.dataset.testid = 'diagram';
    this.root.setAttribute('role', 'application');
    this.root.setAttribute('aria-label', 'circuit diagram');
    const style = document.createElement('style');
    style.textContent = DIAGRAM_STYLE;
    this.stage = document.createElement('div');
    this.stage.className = 'stage';
    this.tip = document.createElement('div');
    this.tip.className = 'tip';
    this.key = document.createElement('div');
    this.key.className = 'key';
    this.root.append(style, this.stage, this.key, this.#tools(), this.tip);
    host.append(this.root);
    this.#listen();
    this.resizing = new ResizeObserver(() => this.#resized());
    this.resizing.observe(this.root);
    this.root.__diagram = this;
  }

  /** Show a drawing; what was seen of it before is seen again. */
  show(svg, key) {
    const parsed = new DOMParser().parseFromString(svg, 'image/svg+xml').documentElement;
    if (parsed.nodeName !== 'svg') throw new Error('the diagram is no SVG');
    this.name = key;
    this.svg = document.importNode(parsed, true);
    this.stage.replaceChildren(this.svg);
    const { width, height } = this.svg.viewBox.baseVal;
    this.box = { left: 0, top: 0, width, height };
    this.#legend();
    for (const title of this.svg.querySelectorAll('g title, path title')) {
      title.parentNode.dataset.text = title.textContent;
      title.remove();
    }
    this.filters = [...this.svg.querySelectorAll('.filter')];
    this.edges = [...this.svg.querySelectorAll('.edge[data-edge]')];
    this.kernels = [...this.svg.querySelectorAll('.kernel')];
    this.#headings();
    this.#hits();
    const seen = this.memory.get(key);
    if (seen && !seen.fitted) this.#move(seen);
    else this.fit();
    if (this.place) this.#rest();
  }

  /** Colours: `light` or `dark`; and of the signs red and blue, or safe ones. */
  dress(theme, safe = false) {
    const sheet = this.svg.querySelector('style');
    sheet.textContent = sheet.dataset[`${safe ? 'safe' : ''}${theme}`];
    this.root.dataset.theme = theme;
  }

  /** Isolate a filter ({kind: 'filter', uid}) or a kernel ({kind: 'kernel', source, target}); anything else frees all. */
  select(selection) {
    const row = (uid) => this.filters.findIndex((each) => each.dataset.uid === uid);
    const [source, target] = selection?.kind === 'kernel' ? [row(selection.source), row(selection.target)] : [-1, -1];
    const chosen = selection?.kind === 'filter' ? row(selection.uid) : -1;
    const joins = (each) => Number(each.dataset.source) === source && Number(each.dataset.target) === target;
    const touches = (each) => [each.dataset.source, each.dataset.target].includes(String(chosen));
    const kept = chosen >= 0 ? touches : joins;
    const edges = this.edges.filter(kept);
    this.chosen = chosen >= 0 || edges.length ? selection : null;
    const ends = new Set(edges.flatMap((each) => [Number(each.dataset.source), Number(each.dataset.target)]));
    if (chosen >= 0) ends.add(chosen);
    this.svg.classList.toggle('isolated', Boolean(this.chosen));
    for (const each of [...this.edges, ...this.kernels]) each.classList.toggle('kept', Boolean(this.chosen) && kept(each));
    this.kernels.forEach((each) => each.classList.toggle('chosen', chosen < 0 && Boolean(this.chosen) && joins(each)));
    this.filters.forEach((each, number) => {
      each.classList.toggle('kept', ends.has(number));
      each.classList.toggle('chosen', number === chosen);
    });
  }

  /** All of it, in the middle, below the buttons and above the legend. */
  fit() {
    const { clientWidth: wide, clientHeight: tall } = this.root;
    if (!wide || !tall || !this.svg) return;
    const [over, under, beside] = [50, this.key.offsetHeight + 22, 14];
    const top = Math.min(...this.filters.map((each) => this.#place(each).f)) - 23;
    const bottom = Math.max(...this.filters.map((each) => this.#place(each).f)) + 36;
    const { e: x0, f: y0 } = this.svg.querySelector('.drawing').transform.baseVal.consolidate().matrix;
    const scale = Math.min((wide - 2 * beside) / this.box.width, Math.max(tall - over - under, 40) / (bottom - top), 1.4);
    const x = (wide - scale * this.box.width) / 2;
    const y = over + (tall - over - under - scale * (bottom - top)) / 2 - scale * (y0 + top);
    this.#move({ scale, x, y, fitted: true });
  }

  /** Larger or smaller by a factor, around a point of the window (its middle by default). */
  zoom(factor, x = this.root.clientWidth / 2, y = this.root.clientHeight / 2) {
    const scale = Math.min(Math.max(this.place.scale * factor, SMALLEST_SCALE), LARGEST_SCALE);
    const real = scale / this.place.scale;
    this.#move({ scale, x: x - real * (x - this.place.x), y: y - real * (y - this.place.y) });
  }

  dispose() {
    clearTimeout(this.resting);
    this.resizing.disconnect();
    this.root.remove();
  }

  #move(place) {
    this.place = place;
    this.memory.set(this.name, place);
    this.stage.style.transform = `translate(${place.x}px, ${place.y}px) scale(${place.scale})`;
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.#rest(), REST_MS);
  }

  #rest() {
    if (this.pressed?.far) return; // the release follows
    this.stage.style.willChange = 'auto';
    const size = Math.min(1 / this.place.scale, this.widest);
    for (const { element, x, y } of this.headed) element.setAttribute('transform', `translate(${x} ${y}) scale(${size})`);
  }

  #place(element) {
    return element.transform.baseVal.consolidate().matrix;
  }

  /** Headings are as large on the screen whatever the zoom, as far as they do not meet. */
  #headings() {
    this.headed = [...this.svg.querySelectorAll('.headings > g')].map((element) => {
      const { e: x, f: y } = this.#place(element);
      return { element, x, y, wide: element.getBBox().width || 40 };
    });
    const spacing = this.headed.length > 1 ? this.headed[1].x - this.headed[0].x : 400;
    this.widest = (0.94 * spacing) / Math.max(...this.headed.map((each) => each.wide));
  }

  /** The drawing's legend, beside it and always readable. */
  #legend() {
    const items = [...this.svg.querySelectorAll('.legend .item')].map((item) => {
      const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
      svg.setAttribute('width', item.dataset.width);
      svg.setAttribute('height', 18);
      svg.append(item.cloneNode(true));
      svg.firstChild.setAttribute('transform', 'translate(0 9)');
      return svg;
    });
    this.key.replaceChildren(...items);
  }

  #resized() {
    if (this.svg && (!this.place || this.place.fitted)) this.fit();
  }

  /** Thin lines get a wide invisible one, to be clicked. */
  #hits() {
    for (const edge of this.edges) {
      const hit = document.createElementNS('http://www.w3.org/2000/svg', 'path');
      hit.setAttribute('d', edge.getAttribute('d'));
      hit.setAttribute('class', 'hit');
      Object.assign(hit.dataset, edge.dataset);
      edge.parentNode.append(hit);
    }
  }

  #tools() {
    const bar = document.createElement('div');
    bar.className = 'tools';
    const entries = [
      ['+', 'Larger', () => this.zoom(1.3)],
      ['−', 'Smaller', () => this.zoom(1 / 1.3)],
      ['Fit', 'Show all of it', () => this.fit()],
    ];
    if (document.fullscreenEnabled) entries.push([FULL_SCREEN, 'Full screen', () => this.#fullScreen()]);
    for (const [text, title, act] of entries) {
      const button = document.createElement('button');
      Object.assign(button, { type: 'button', innerHTML: text, title, onclick: act });
      button.setAttribute('aria-label', title);
      bar.append(button);
    }
    bar.addEventListener('pointerdown', (event) => event.stopPropagation());
    return bar;
  }

  #fullScreen() {
    const done = document.fullscreenElement ? document.exitFullscreen() : this.root.requestFullscreen();
    done.then(() => requestAnimationFrame(() => this.fit())).catch(() => {});
  }

  #listen() {
    const { root } = this;
    root.addEventListener('wheel', (event) => {
      event.preventDefault();
      const box = root.getBoundingClientRect();
      this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.clientX - box.left, event.clientY - box.top);
    }, { passive: false });
    root.addEventListener('pointerdown', (event) => this.#press(event));
    root.addEventListener('pointermove', (event) => (this.pressed ? this.#drag(event) : this.#hover(event)));
    root.addEventListener('pointerup', (event) => this.#release(event));
    root.addEventListener('pointercancel', () => { this.pressed = null; });
    root.addEventListener('pointerleave', () => this.#tell(null));
    root.addEventListener('dblclick', (event) => { if (!this.#hit(event)) this.fit(); });
    root.addEventListener('keydown', (event) => this.#key(event));
  }

  #press(event) {
    if (event.button !== 0) return;
    this.pressed = { x: event.clientX, y: event.clientY, place: this.place, hit: this.#hit(event), far: false };
    this.root.setPointerCapture(event.pointerId);
  }

  #drag(event) {
    const [dx, dy] = [event.clientX - this.pressed.x, event.clientY - this.pressed.y];
    if (!this.pressed.far && Math.hypot(dx, dy) < CLICK_PIXELS) return;
    this.pressed.far = true;
    this.stage.style.willChange = 'transform'; // the browser shifts the picture that it has; anew it draws at rest
    this.root.classList.add('moving');
    this.#tell(null);
    const { scale, x, y } = this.pressed.place;
    this.#move({ scale, x: x + dx, y: y + dy });
  }

  #release() {
    const { pressed } = this;
    this.pressed = null;
    this.root.classList.remove('moving');
    if (pressed?.far) this.#rest();
    else if (pressed) this.#choose(pressed.hit);
  }

  /** What lies under the pointer: a filter, a kernel's picture, or a line. */
  #hit(event) {
    const [top] = event.composedPath();
    return top instanceof Element ? top.closest('.filter, .kernel, .hit') : null;
  }

  #choose(element) {
    const selection = this.#meaning(element);
    this.select(selection);
    this.onSelect(selection ?? { kind: null });
  }

  #meaning(element) {
    if (!element) return null;
    if (element.classList.contains('filter')) return { kind: 'filter', uid: element.dataset.uid };
    const uid = (end) => this.filters[Number(element.dataset[end])].dataset.uid;
    return { kind: 'kernel', source: uid('source'), target: uid('target') };
  }

  #hover(event) {
    const found = this.#hit(event) ?? event.composedPath()[0]?.closest?.('[data-text]');
    this.#tell(found, event);
  }

  #tell(element, event) {
    for (const edge of this.svg?.querySelectorAll('.near') ?? []) edge.classList.remove('near');
    this.tip.textContent = element?.dataset.text ?? '';
    if (!element) return;
    if (element.dataset.edge) this.edges.find((each) => each.dataset.edge === element.dataset.edge).classList.add('near');
    const box = this.root.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    this.tip.style.left = `${Math.max(4, Math.min(x + 12, box.width - this.tip.offsetWidth - 6))}px`;
    this.tip.style.top = `${y + 34 > box.height ? y - 34 : y + 16}px`;
  }

  /** Arrows walk: left and right along the strongest edge, up and down in the column. */
  #key(event) {
    const acts = {
      '+': () => this.zoom(1.3), '-': () => this.zoom(1 / 1.3), 0: () => this.fit(), Escape: () => this.#choose(null),
      ArrowLeft: () => this.#walk('target', 'source'), ArrowRight: () => this.#walk('source', 'target'),
      ArrowUp: () => this.#climb(-1), ArrowDown: () => this.#climb(1),
    };
    if (!(event.key in acts) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    acts[event.key]();
  }

  #current() {
    if (this.chosen?.kind !== 'filter') return -1;
    return this.filters.findIndex((each) => each.dataset.uid === this.chosen.uid);
  }

  #walk(here, there) {
    const row = this.#current();
    if (row < 0) return this.#choose(this.filters.at(here === 'target' ? -1 : 0));
    const ways = this.edges.filter((each) => Number(each.dataset[here]) === row);
    const width = (each) => Number(each.getAttribute('stroke-width'));
    // they stand in the order of their widths, which are rounded
    const best = ways.reduce((found, each) => (found && width(found) > width(each) ? found : each), null);
    if (best) this.#choose(this.filters[Number(best.dataset[there])]);
  }

  #climb(direction) {
    const row = this.#current();
    if (row < 0) return;
    const here = this.#place(this.filters[row]);
    const below = (each) => (this.#place(each).f - here.f) * direction;
    const beside = this.filters.filter((each) => this.#place(each).e === here.e && below(each) > 0);
    beside.sort((one, two) => below(one) - below(two));
    if (beside.length) this.#choose(beside[0]);
  }
}
