// An image and the activation map of a filter on it: a cell of the map outlines its receptive field in the image.

import { cellAt, described, field, inside, share, walked } from './cells.js';
import { mounting } from './mount.js';

const STYLE = `
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; font-family: var(--st-font), sans-serif;
  color: var(--st-text-color); }
figure { margin: 0; min-width: 0; }
.frame { position: relative; border: 1px solid color-mix(in srgb, currentColor 20%, transparent); line-height: 0; }
.frame img { width: 100%; display: block; }
.frame img.pixels { image-rendering: pixelated; }
.map .frame { cursor: crosshair; outline-offset: 2px; }
.map .frame:focus-visible { outline: 2px solid var(--st-primary-color); }
.box { position: absolute; box-sizing: border-box; pointer-events: none; border: 2px solid #111;
  box-shadow: 0 0 0 1px #fff, inset 0 0 0 1px #fff; }
.image .box { border-color: #e6007e; box-shadow: 0 0 0 1px #fff, 0 0 0 9999px rgb(255 255 255 / 35%); }
.image .frame { overflow: hidden; }
figcaption { font-size: .75rem; line-height: 1.3; opacity: .75; margin-top: .25rem; min-height: 2.6em; }
[hidden] { display: none !important; }
`;

/** The two pictures of one parent element; `update` is called for every change of data. */
class FieldsView {
  constructor(parent) {
    this.root = make('div', 'pair', parent.shadowRoot ?? parent);
    const style = make('style', '', this.root);
    style.textContent = STYLE;
    this.image = picture(this.root, 'image');
    this.map = picture(this.root, 'map');
    this.stop = new AbortController();
    this.listen();
  }

  listen() {
    const { frame } = this.map;
    frame.tabIndex = 0;
    frame.setAttribute('role', 'application');
    const on = (name, action) => frame.addEventListener(name, action, { signal: this.stop.signal });
    const cell = (event) => {
      const box = this.map.img.getBoundingClientRect();
      return cellAt((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height, this.data.size);
    };
    on('pointermove', (event) => this.show(cell(event) ?? this.chosen));
    on('pointerleave', () => this.show(this.chosen));
    on('click', (event) => this.choose(cell(event)));
    on('keydown', (event) => {
      if (event.key === 'Escape') this.choose(null);
      const next = walked(this.chosen, event.key, this.data.size);
      if (!next) return;
      event.preventDefault();
      this.choose(next);
    });
  }

  update({ values, cfg }, emit) {
    const same = this.data?.revision === cfg.revision;
    const data = { ...cfg, values: values.getChild('value').toArray() };
    this.data = data;
    this.emit = emit;
    if (!same) {
      this.chosen = inside(data.cell, data.size) ? data.cell : null;
      for (const [part, uri, alt] of [
        [this.image, data.image, data.imageAlt],
        [this.map, data.map, data.mapAlt],
      ]) {
        part.img.src = uri;
        part.img.alt = alt;
      }
      this.map.frame.setAttribute('aria-label', `${data.mapAlt}; arrow keys walk over its cells`);
      this.image.img.classList.toggle('pixels', Math.max(...data.imageSize) < 128);
      this.map.img.classList.add('pixels');
    }
    this.show(this.chosen);
  }

  choose(cell) {
    const same = JSON.stringify(cell) === JSON.stringify(this.chosen);
    this.chosen = same ? null : cell;
    this.show(this.chosen);
    this.emit('cell', { cell: this.chosen, revision: this.data.revision });
  }

  show(cell) {
    const { data } = this;
    place(this.map.box, cell && share([cell[0], cell[0]], [cell[1], cell[1]], data.size));
    place(this.image.box, cell && field(cell, data));
    this.image.caption.textContent = data.imageCaption;
    this.map.caption.textContent = cell ? described(cell, data) : data.mapCaption;
  }

  dispose() {
    this.stop.abort();
    this.root.remove();
  }
}

function make(name, className, parent) {
  const made = document.createElement(name);
  if (className) made.className = className;
  return parent.appendChild(made);
}

function picture(parent, className) {
  const figure = make('figure', className, parent);
  const frame = make('div', 'frame', figure);
  const [img, box] = [make('img', '', frame), make('div', 'box', frame)];
  box.hidden = true;
  const caption = make('figcaption', '', figure);
  caption.setAttribute('aria-live', 'polite');
  return { frame, img, box, caption };
}

function place(box, part) {
  box.hidden = !part;
  if (!part) return;
  for (const [name, value] of Object.entries(part)) box.style[name] = `${100 * value}%`;
}

export default mounting((parent) => new FieldsView(parent));
