// Colours for the light and the dark theme. The page's own colours come from Streamlit's --st-* variables.

const KERNELS = {
  light: { identity: '#4a5360', inhibitory: '#1f6fb8', mixed: '#8c8f94', excitatory: '#d0342c' },
  dark: { identity: '#c9ced6', inhibitory: '#5cb0ff', mixed: '#9aa0a8', excitatory: '#ff6f61' },
};
// Okabe and Ito 2008: told apart with any kind of colour blindness.
const SAFE = {
  light: { identity: '#4a5360', inhibitory: '#0072b2', mixed: '#8c8f94', excitatory: '#d55e00' },
  dark: { identity: '#c9ced6', inhibitory: '#56b4e9', mixed: '#9aa0a8', excitatory: '#e69f00' },
};
// two queries side by side: the signs -1, 0 and 1 stand for kernels of the left one, of both, of the right one
const COMPARISON = {
  light: { identity: '#4a5360', 'only left': '#0072b2', shared: '#5a5f66', 'only right': '#d55e00' },
  dark: { identity: '#c9ced6', 'only left': '#56b4e9', shared: '#c4c8ce', 'only right': '#e69f00' },
};
const PALETTES = { signs: KERNELS, safe: SAFE, comparison: COMPARISON };
const FILTERS = {
  light: { weak: '#e9edf2', strong: '#3d4657', chosen: '#000000', accent: '#f0a202', goal: '#8b3fc7' },
  dark: { weak: '#2a313c', strong: '#dfe6f0', chosen: '#ffffff', accent: '#ffc247', goal: '#c58cff' },
};

/** '#rrggbb', 'rgb(r, g, b)' or 'rgba(...)' as three numbers in [0, 1]; white for anything else. */
export function parseColour(text) {
  const hex = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(text);
  if (hex) return hex.slice(1).map((digits) => parseInt(digits, 16) / 255);
  const channels = /^rgba?\(\s*([\d.]+)[,\s]+([\d.]+)[,\s]+([\d.]+)/.exec(text);
  return channels ? channels.slice(1).map((value) => Number(value) / 255) : [1, 1, 1];
}

/** Whether text on this colour must be light. */
export function isDark([red, green, blue]) {
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.4;
}

/**
 * The palette for a background colour given as CSS text, and one of the kinds `signs`, `safe` and `comparison`.
 *
 * `names` are those of the signs -1, 0, 1 and 2, in this order; `css` has their colours.
 */
export function paletteFor(backgroundText, kind = 'signs') {
  const background = parseColour(backgroundText);
  const name = isDark(background) ? 'dark' : 'light';
  const kernels = (PALETTES[kind] ?? KERNELS)[name];
  const [identity, ...signs] = Object.keys(kernels);
  const names = [...signs, identity];
  const [weak, strong, chosen, accent, goal] = Object.values(FILTERS[name]).map(parseColour);
  return {
    name,
    css: kernels,
    names,
    background,
    weak,
    strong,
    chosen,
    accent,
    goal,
    disc: [...strong, name === 'dark' ? 0.07 : 0.045],
    rim: [...strong, name === 'dark' ? 0.4 : 0.3],
    // in the order of the signs, then the selected kernel
    kernels: names.map((each) => parseColour(kernels[each])).concat([chosen]).flat(),
  };
}
