// Colours for the light and the dark theme. The page's own colours come from Streamlit's --st-* variables.

const KERNELS = {
  light: { identity: '#4a5360', inhibitory: '#1f6fb8', mixed: '#8c8f94', excitatory: '#d0342c' },
  dark: { identity: '#c9ced6', inhibitory: '#5cb0ff', mixed: '#9aa0a8', excitatory: '#ff6f61' },
};
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

/** The palette of a background colour given as CSS text. */
export function paletteFor(backgroundText) {
  const background = parseColour(backgroundText);
  const name = isDark(background) ? 'dark' : 'light';
  const kernels = KERNELS[name];
  const [weak, strong, chosen, accent, goal] = Object.values(FILTERS[name]).map(parseColour);
  return {
    name,
    css: kernels,
    background,
    weak,
    strong,
    chosen,
    accent,
    goal,
    disc: [...strong, name === 'dark' ? 0.07 : 0.045],
    rim: [...strong, name === 'dark' ? 0.4 : 0.3],
    // in the order of the signs, then the selected kernel
    kernels: ['inhibitory', 'mixed', 'excitatory', 'identity'].map((each) => parseColour(kernels[each])).concat([chosen]).flat(),
  };
}
