// The buttons over the picture: views, layers, full screen, and the picture as a file.

const TOOLS_STYLE = `
.tools { position: absolute; right: 10px; bottom: 10px; display: flex; gap: 4px; z-index: 3; font-size: 12px; }
.tools button, .tools summary { font: inherit; color: inherit; cursor: pointer; list-style: none; padding: 2px 8px;
  border-radius: 6px; border: 1px solid var(--st-border-color, #ddd); opacity: .82;
  background: color-mix(in srgb, var(--st-background-color, #fff) 88%, transparent); }
.tools summary::-webkit-details-marker { display: none; }
.tools button:hover, .tools summary:hover { opacity: 1; }
.tools details { position: relative; }
.tools .layers { position: absolute; right: 0; bottom: 28px; max-height: 260px; overflow: auto; padding: 8px 12px;
  border-radius: 8px; border: 1px solid var(--st-border-color, #ddd); background: var(--st-background-color, #fff);
  white-space: nowrap; box-shadow: 0 2px 10px #0003; }
.tools .layers label { display: flex; gap: 6px; align-items: center; cursor: pointer; }
.network:fullscreen { height: 100vh !important; border: 0; border-radius: 0; }
`;

const BUTTONS = [
  ['fit', 'Fit', 'Everything in view, seen as at first (double-click)'],
  ['front', 'Front', 'Seen from the input'],
  ['side', 'Side', 'Seen from the side'],
  ['fullScreen', 'Full screen', 'Fill the screen; Escape ends it'],
  ['save', 'PNG', 'Save the picture'],
];

export class Toolbar {
  /** `actions` has a function for every button, and hide(Set of layer numbers). */
  constructor(frame, actions) {
    this.root = append('div', frame, 'tools');
    append('style', this.root).textContent = TOOLS_STYLE;
    this.root.setAttribute('role', 'toolbar');
    this.menu(actions.hide);
    for (const [name, text, title] of BUTTONS) {
      const button = append('button', this.root);
      Object.assign(button, { type: 'button', textContent: text, title });
      button.addEventListener('click', () => actions[name]());
    }
  }

  menu(hide) {
    const details = append('details', this.root);
    this.summary = append('summary', details);
    this.list = append('div', details, 'layers');
    this.list.addEventListener('change', () => {
      const boxes = [...this.list.querySelectorAll('input')];
      const hidden = boxes.filter((box) => !box.checked);
      this.say(hidden.length);
      hide(new Set(hidden.map((box) => Number(box.value))));
    });
  }

  say(hidden) {
    this.summary.textContent = hidden ? `Layers (${hidden} hidden)` : 'Layers';
  }

  /** The layers that there are, by number and name; all are shown. */
  setLayers(layers) {
    this.say(0);
    this.list.replaceChildren();
    for (const [number, name] of layers) {
      const label = append('label', this.list);
      const box = append('input', label);
      Object.assign(box, { type: 'checkbox', checked: true, value: number });
      label.append(name);
    }
  }
}

function append(name, parent, className = '') {
  const made = document.createElement(name);
  made.className = className;
  return parent.appendChild(made);
}
