// What Streamlit calls: once at first, again for every change of data or theme.

import { NetworkView } from './view.js';

const views = new WeakMap();

export default function mount({ parentElement, data, setStateValue }) {
  if (!views.has(parentElement)) views.set(parentElement, new NetworkView(parentElement, data.cfg));
  const view = views.get(parentElement);
  view.update(data, setStateValue);
  // Streamlit also runs the clean-up of a call that a later one has overtaken: only the latest may dispose.
  const call = Symbol('call');
  view.latestCall = call;
  return () => {
    if (view.latestCall !== call) return;
    view.dispose();
    views.delete(parentElement);
  };
}
