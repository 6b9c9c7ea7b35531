// Mouse, pen and touch on the canvas, turned into a few plain calls.

const CLICK_TRAVEL = 5;

/**
 * Listen on `canvas` until `signal` is aborted. The handlers get CSS pixels from the canvas' corner:
 * turn(dx, dy), shift(dx, dy), zoom(delta), click(x, y), hover(x, y), leave(), reset(); and key(name), which says
 * whether the key means something here.
 */
export function listen(canvas, handlers, signal) {
  let drag = null;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const on = (name, action, options = {}) => canvas.addEventListener(name, action, { signal, ...options });

  on('pointerdown', (event) => {
    if (drag) return;
    drag = { id: event.pointerId, x: event.clientX, y: event.clientY, travel: 0, shift: event.shiftKey || event.button !== 0 };
    canvas.setPointerCapture(event.pointerId);
  });
  on('pointermove', (event) => {
    if (!drag) return handlers.hover(...place(event));
    if (event.pointerId !== drag.id) return undefined;
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
    Object.assign(drag, { x: event.clientX, y: event.clientY, travel: drag.travel + Math.abs(dx) + Math.abs(dy) });
    if (drag.travel < CLICK_TRAVEL) return undefined;
    return drag.shift ? handlers.shift(dx, dy) : handlers.turn(dx, dy);
  });
  on('pointerup', (event) => {
    const clicked = drag && event.pointerId === drag.id && drag.travel < CLICK_TRAVEL && !drag.shift;
    drag = null;
    if (clicked) handlers.click(...place(event));
  });
  on('pointercancel', () => { drag = null; });
  on('pointerleave', () => handlers.leave());
  on('dblclick', () => handlers.reset());
  on('keydown', (event) => {
    if (!event.ctrlKey && !event.metaKey && !event.altKey && handlers.key(event.key)) event.preventDefault();
  });
  on('contextmenu', (event) => event.preventDefault());
  on('wheel', (event) => {
    event.preventDefault();
    const pixelsPerStep = [1, 16, 400][event.deltaMode];
    handlers.zoom(event.deltaY * pixelsPerStep);
  }, { passive: false });
}
