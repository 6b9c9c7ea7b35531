// What lies over the canvas as HTML: captions of the layers, legend, tooltip, ring around the hovered filter.

import { below, thinned } from './captions.js';

const STYLE = `
.network { position: relative; width: 100%; overflow: hidden; box-sizing: border-box; user-select: none;
  font-family: var(--st-font, sans-serif); color: var(--st-text-color, #222); line-height: 1.35;
  background: var(--st-background-color, #fff); border: 1px solid var(--st-border-color, #ddd);
  border-radius: var(--st-base-radius, 8px); }
.network canvas { display: block; width: 100%; height: 100%; touch-action: none; cursor: grab; outline: none; }
.network canvas:focus-visible { outline: 2px solid var(--st-primary-color, #f0a202); outline-offset: -2px; }
.network canvas.turning { cursor: grabbing; }
.network canvas.pointing { cursor: pointer; }
.overlay { position: absolute; inset: 0; pointer-events: none; font-size: 12px; }
.caption { position: absolute; transform: translate(-50%, 0); white-space: nowrap; opacity: .78; font-size: 11.5px;
  padding: 0 4px; border-radius: 4px; background: color-mix(in srgb, var(--st-background-color, #fff) 72%, transparent); }
.legend { position: absolute; left: 12px; top: 10px; padding: 6px 10px; border-radius: 6px; max-width: 46%;
  background: color-mix(in srgb, var(--st-background-color, #fff) 82%, transparent); }
.legend .text { font-weight: 600; }
.legend .detail { opacity: .7; }
.key { display: flex; flex-wrap: wrap; gap: 0 12px; opacity: .85; font-size: 11.5px; white-space: nowrap; }
.key i { display: inline-block; width: 18px; height: 3px; border-radius: 2px; margin-right: 5px; vertical-align: middle; }
.hint { position: absolute; right: 12px; top: 12px; opacity: .72; font-size: 11px; }
.tooltip { position: absolute; max-width: 60%; padding: 4px 9px; border-radius: 6px; white-space: nowrap; z-index: 2;
  background: var(--st-text-color, #222); color: var(--st-background-color, #fff); box-shadow: 0 2px 10px #0004; }
.tooltip b { font-weight: 600; display: block; }
.tooltip span { opacity: .8; font-size: 11px; }
.ring { position: absolute; box-sizing: border-box; border: 2px solid #f0a202; border-radius: 50%; }
[aria-live] { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
[hidden] { display: none !important; }
`;

function element(name, className, parent, text = '') {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  parent.append(made);
  return made;
}

/** The frame of the component with its style sheet, `height` CSS pixels high. */
export function createFrame(parent, height) {
  const frame = element('div', 'network', parent);
  element('style', '', frame, STYLE);
  frame.style.height = `${height}px`;
  return frame;
}

export class Overlay {
  constructor(frame) {
    this.root = element('div', 'overlay', frame);
    this.captions = element('div', '', this.root);
    const legend = element('div', 'legend', this.root);
    legend.dataset.testid = 'network3d-legend';
    this.text = element('div', 'text', legend);
    this.detail = element('div', 'detail', legend);
    this.key = element('div', 'key', legend);
    element('div', 'hint', this.root, 'drag: turn · wheel: zoom · shift-drag: move · arrows: along the strongest kernels');
    this.live = element('div', '', this.root);
    this.live.setAttribute('aria-live', 'polite');
    this.ring = element('div', 'ring', this.root);
    this.tooltip = element('div', 'tooltip', this.root);
    this.tooltip.dataset.testid = 'network3d-tooltip';
    this.hideTip();
  }

  /** Captions of the layers by number (an empty one is none), the legend and its colours, those in `signs` only. */
  setTexts(layers, legend, { css }, signs) {
    this.captions.replaceChildren();
    this.labels = layers.map((text) => (text ? element('div', 'caption', this.captions, text) : null));
    this.halfWidths = this.labels.map((label) => (label ? label.offsetWidth / 2 + 3 : 0));
    this.text.textContent = legend;
    this.key.replaceChildren();
    for (const [name, colour] of Object.entries(css).reverse()) {
      if (!signs.has(name)) continue;
      const entry = element('span', '', this.key);
      element('i', '', entry).style.background = colour;
      entry.append(name);
    }
    this.setDetail('');
  }

  /** What stands over the picture, as text: captions {text, x, y} and the lines {text, colour} of the legend. */
  texts() {
    const captions = this.labels
      .filter((label) => label && !label.hidden)
      .map((label) => ({ text: label.textContent, x: parseFloat(label.style.left), y: parseFloat(label.style.top) }));
    const key = [...this.key.children].map((entry) => ({
      text: `— ${entry.textContent}`, colour: entry.firstChild.style.background,
    }));
    const detail = this.detail.hidden ? [] : [{ text: this.detail.textContent }];
    return { captions, lines: [{ text: this.text.textContent }, ...detail, ...key] };
  }

  /** Tell who does not see the picture. */
  say(text) {
    this.live.textContent = text;
  }

  setDetail(text) {
    this.detail.textContent = text;
    this.detail.hidden = !text;
  }

  /** Put the captions below discs whose lowest points are {layer, x, y}: as many of them as find room. */
  placeCaptions(places, width) {
    const wanted = places
      .filter(({ layer, x }) => this.labels[layer] && x >= 0 && x <= width)
      .map(({ layer, x, y }) => ({ layer, x, y, half: this.halfWidths[layer] }));
    const shown = new Set();
    for (const { layer, x, y } of thinned(below(wanted, places), width)) {
      const label = this.labels[layer];
      label.style.left = `${x}px`;
      label.style.top = `${y}px`;
      shown.add(label);
    }
    for (const label of this.labels) if (label) label.hidden = !shown.has(label);
  }

  /** Show a title and a line of text near (x, y); `circle` {x, y, radius} is ringed. */
  showTip(title, text, x, y, width, circle = null) {
    this.tooltip.replaceChildren();
    element('b', '', this.tooltip, title);
    element('span', '', this.tooltip, text);
    this.tooltip.hidden = false;
    const left = x + 14 + this.tooltip.offsetWidth > width ? x - 10 - this.tooltip.offsetWidth : x + 14;
    this.tooltip.style.left = `${Math.max(4, left)}px`;
    this.tooltip.style.top = `${Math.max(4, y - 14)}px`;
    this.ring.hidden = !circle;
    if (!circle) return;
    const size = 2 * circle.radius + 8;
    Object.assign(this.ring.style, {
      width: `${size}px`, height: `${size}px`, left: `${circle.x - size / 2}px`, top: `${circle.y - size / 2}px`,
    });
  }

  hideTip() {
    this.tooltip.hidden = true;
    this.ring.hidden = true;
  }
}
