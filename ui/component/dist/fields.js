// VISCNN fields.js, built by ui/component/build.mjs
function cellAt(x, y, [rows, columns]) {
const cell = [Math.floor(y * rows), Math.floor(x * columns)];
return inside(cell, [rows, columns]) ? cell : null;
}
function inside(cell, [rows, columns]) {
return Array.isArray(cell) && cell[0] >= 0 && cell[0] < rows && cell[1] >= 0 && cell[1] < columns;
}
const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
function walked(cell, key, size) {
const step = STEPS[key];
if (!step) return null;
const next = cell ? [cell[0] + step[0], cell[1] + step[1]] : [0, 0];
return inside(next, size) ? next : null;
}
function share([top, bottom], [left, right], [rows, columns]) {
if (bottom < top || right < left) return null;
return {
left: left / columns,
top: top / rows,
width: (right - left + 1) / columns,
height: (bottom - top + 1) / rows,
};
}
function field([row, column], { rows, columns, imageSize }) {
return share(rows[row], columns[column], imageSize);
}
function described([row, column], { values, rows, columns }) {
const value = values[row * columns.length + column].toPrecision(3);
const [[top, bottom], [left, right]] = [rows[row], columns[column]];
const place = `row ${row}, column ${column}: ${value}`;
if (bottom < top || right < left) return `${place}; reads nothing but padding`;
return `${place}; receptive field rows ${top}–${bottom}, columns ${left}–${right}`;
}
function mounting(make) {
const views = new WeakMap();
return ({ parentElement, data, setStateValue }) => {
if (!views.has(parentElement)) views.set(parentElement, { view: make(parentElement, data) });
const held = views.get(parentElement);
held.view.update(data, setStateValue);
const call = Symbol('call');
held.latestCall = call;
return () => {
if (held.latestCall !== call) return;
held.view.dispose();
views.delete(parentElement);
};
};
}
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
