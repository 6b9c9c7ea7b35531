// The life of a component. Free of the page, so that `node --test` covers it.

/**
 * What Streamlit calls: once at first, again for every change of data or theme; it calls what that returns to clean up.
 *
 * `make(parent, data)` builds a view with `update(data, emit)` and `dispose()`.
 */
export function mounting(make) {
  const views = new WeakMap();
  return ({ parentElement, data, setStateValue }) => {
    if (!views.has(parentElement)) views.set(parentElement, { view: make(parentElement, data) });
    const held = views.get(parentElement);
    held.view.update(data, setStateValue);
    // Streamlit also runs the clean-up of a call that a later one has overtaken: only the latest may dispose.
    const call = Symbol('call');
    held.latestCall = call;
    return () => {
      if (held.latestCall !== call) return;
      held.view.dispose();
      views.delete(parentElement);
    };
  };
}
