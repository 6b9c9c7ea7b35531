// A list of suggestions below a text field of the page, which stays Streamlit's own: the form works without it.

import { completed, suggestions, takesFirst } from './expression.js';
import { mounting } from './mount.js';

const KINDS = { set: 'image set', own: 'your image set', class: 'class', image: 'image', earlier: 'asked before' };
const CSS = `position: fixed; z-index: 1000010; max-height: 50vh; overflow: auto; margin: 0; padding: .25rem 0;
  box-sizing: border-box; list-style: none; border-radius: .5rem; font-size: .875rem; line-height: 1.4;
  border: 1px solid color-mix(in srgb, currentColor 25%, transparent); box-shadow: 0 4px 16px rgb(0 0 0 / 20%);`;
const OPTION = `display: flex; gap: .75rem; justify-content: space-between; align-items: baseline; padding: .25rem .75rem;
  cursor: pointer; overflow-wrap: anywhere;`;
const KIND = 'flex: none; font-size: .75rem; opacity: .65;';

/** The suggestions of one field, found by the class that Streamlit gives to an element with a key. */
class Suggestions {
  constructor(parent) {
    this.parent = parent;
    this.page = parent.ownerDocument;
    this.list = this.page.createElement('ul');
    this.list.id = `viscnn-suggestions-${Math.random().toString(36).slice(2)}`;
    this.list.setAttribute('role', 'listbox');
    this.list.setAttribute('aria-label', 'Suggestions');
    this.list.dataset.testid = 'suggestions';
    this.list.hidden = true;
    this.page.body.append(this.list);
    this.stop = new AbortController();
    this.found = [];
    this.active = -1;
    this.listen();
  }

  listen() {
    const on = (target, name, action) => target.addEventListener(name, action, { capture: true, signal: this.stop.signal });
    const ours = (event) => event.target.matches?.(`.st-key-${this.cfg.field} input`);
    on(this.page, 'input', (event) => ours(event) && !this.writing && this.offer(event.target));
    on(this.page, 'focusin', (event) => ours(event) && this.describe(event.target));
    on(this.page, 'focusout', (event) => ours(event) && this.close());
    on(this.page, 'click', (event) => ours(event) && this.close());
    on(this.page, 'keydown', (event) => ours(event) && !event.isComposing && this.key(event));
    on(this.page, 'scroll', (event) => event.target !== this.list && this.close());
    on(this.page.defaultView, 'resize', () => this.close());
    on(this.list, 'mousedown', (event) => {
      event.preventDefault(); // the field keeps the focus
      const option = event.target.closest('[role=option]');
      if (option) this.take(Number(option.dataset.at));
    });
  }

  update(cfg) {
    this.cfg = cfg;
    const field = this.page.activeElement;
    if (this.list.hidden || !field?.matches(`.st-key-${cfg.field} input`)) this.close();
  }

  describe(field) {
    this.field = field;
    for (const [name, value] of [['role', 'combobox'], ['aria-autocomplete', 'list'], ['autocomplete', 'off']]) {
      field.setAttribute(name, value);
    }
    field.setAttribute('aria-controls', this.list.id);
    field.setAttribute('aria-expanded', String(!this.list.hidden));
  }

  offer(field, asked = false) {
    this.describe(field);
    const before = field.value.slice(0, field.selectionStart);
    this.found = suggestions(before, this.cfg.names, this.cfg.earlier, asked);
    this.show(takesFirst(before, this.cfg.names) ? 0 : -1);
  }

  show(active) {
    this.active = active;
    this.list.hidden = this.found.length === 0;
    this.field.setAttribute('aria-expanded', String(!this.list.hidden));
    this.list.replaceChildren(...this.found.map((each, at) => this.option(each, at)));
    if (active >= 0 && this.found.length) {
      this.field.setAttribute('aria-activedescendant', this.list.children[active].id);
      this.list.children[active].scrollIntoView({ block: 'nearest' });
    } else {
      this.field.removeAttribute('aria-activedescendant');
    }
    this.place();
  }

  option({ text, kind }, at) {
    const option = this.page.createElement('li');
    option.id = `${this.list.id}-${at}`;
    option.dataset.at = at;
    option.setAttribute('role', 'option');
    option.setAttribute('aria-selected', String(at === this.active));
    option.style.cssText = OPTION;
    if (at === this.active) option.style.background = 'color-mix(in srgb, currentColor 14%, transparent)';
    const [name, what] = [this.page.createElement('span'), this.page.createElement('span')];
    name.textContent = text;
    what.textContent = KINDS[kind] ?? kind;
    what.style.cssText = KIND;
    option.append(name, what);
    return option;
  }

  place() {
    const box = this.field.getBoundingClientRect();
    const colours = getComputedStyle(this.parent.host ?? this.parent);
    this.list.style.cssText = `${CSS} left: ${box.left}px; top: ${box.bottom + 4}px; min-width: ${box.width}px;
      max-width: min(32rem, ${this.page.defaultView.innerWidth - box.left - 8}px);`;
    this.list.style.color = colours.getPropertyValue('--st-text-color') || colours.color;
    this.list.style.background = colours.getPropertyValue('--st-background-color') || 'Canvas';
    this.list.style.fontFamily = colours.getPropertyValue('--st-font') || 'sans-serif';
    if (this.list.hidden) this.list.style.display = 'none';
  }

  key(event) {
    const { key } = event;
    const open = !this.list.hidden;
    if (key === 'ArrowDown' && !open) {
      this.offer(event.target, true);
      if (this.found.length) this.show(0);
    } else if (open && (key === 'ArrowDown' || key === 'ArrowUp')) {
      const size = this.found.length;
      this.show((this.active + (key === 'ArrowDown' ? 1 : this.active < 0 ? 0 : -1) + size) % size);
    } else if (open && key === 'Escape') {
      this.close();
    } else if (open && (key === 'Enter' || key === 'Tab') && this.active >= 0 && !event.shiftKey) {
      this.take(this.active);
    } else if (key === 'Enter') {
      this.close();
      return; // Streamlit's own: it submits the form
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  take(at) {
    const { field } = this;
    const { text, caret } = completed(field.value, field.selectionStart, this.found[at]);
    this.close();
    // what React has not seen being typed it puts back: it looks at the value through the element's own property
    Object.getOwnPropertyDescriptor(this.page.defaultView.HTMLInputElement.prototype, 'value').set.call(field, text);
    this.writing = true;
    field.dispatchEvent(new this.page.defaultView.Event('input', { bubbles: true }));
    this.writing = false;
    field.setSelectionRange(caret, caret);
  }

  close() {
    this.found = [];
    this.active = -1;
    this.list.hidden = true;
    this.list.style.display = 'none';
    this.field?.setAttribute('aria-expanded', 'false');
    this.field?.removeAttribute('aria-activedescendant');
  }

  dispose() {
    this.stop.abort();
    this.list.remove();
  }
}

export default mounting((parent) => new Suggestions(parent));
