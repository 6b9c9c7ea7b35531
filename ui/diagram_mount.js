// What Streamlit calls: once at first, again for every change of data or theme. Stands behind viscnn/diagram/diagram.js.

const views = new WeakMap();
const seen = new Map(); // what is seen of each circuit, also after the page showed something else

export default function mount({ parentElement, data, setStateValue }) {
  if (!views.has(parentElement)) views.set(parentElement, new DiagramView(parentElement, () => {}, seen));
  const view = views.get(parentElement);
  const { cfg, svg } = data;
  view.onSelect = (found) =>
    setStateValue('selected', { ...found, revision: cfg.revision, selectedRevision: cfg.selectedRevision });
  view.root.style.border = '1px solid rgba(128, 128, 128, .3)';
  view.root.style.borderRadius = '6px';
  view.root.style.boxSizing = 'border-box';
  view.root.style.height = `${cfg.height}px`;
  if (view.revision !== cfg.revision) {
    view.revision = cfg.revision;
    view.selectedRevision = null;
    view.show(svg, cfg.circuit);
  }
  const paper = getComputedStyle(view.root).getPropertyValue('--st-background-color').trim();
  view.dress(isDarkColour(paper) ? 'dark' : 'light', cfg.safe);
  view.root.style.background = paper;
  if (view.selectedRevision !== cfg.selectedRevision) {
    view.selectedRevision = cfg.selectedRevision;
    view.select(cfg.selected);
  }
  // Streamlit also runs the clean-up of a call that a later one has overtaken: only the latest may dispose.
  const call = Symbol('call');
  view.latestCall = call;
  return () => {
    if (view.latestCall !== call) return;
    view.dispose();
    views.delete(parentElement);
  };
}
