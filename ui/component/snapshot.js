// The picture as a file: the canvas on the page's background, with captions and legend as text.

const LEGEND_MARGIN = 12;
const LEGEND_LINE = 17;

/** A canvas that holds the drawing, its captions [{text, x, y}] and the lines of its legend; x, y in CSS pixels. */
export function flattened(canvas, { background, colour, font, captions, lines, pixelRatio }) {
  const copy = document.createElement('canvas');
  [copy.width, copy.height] = [canvas.width, canvas.height];
  const flat = copy.getContext('2d');
  flat.fillStyle = background;
  flat.fillRect(0, 0, copy.width, copy.height);
  flat.drawImage(canvas, 0, 0);
  flat.scale(pixelRatio, pixelRatio);
  flat.fillStyle = colour;
  flat.textBaseline = 'top';
  flat.font = `11.5px ${font}`;
  flat.textAlign = 'center';
  for (const { text, x, y } of captions) flat.fillText(text, x, y);
  flat.textAlign = 'left';
  lines.forEach(({ text, colour: own }, number) => {
    flat.fillStyle = own ?? colour;
    flat.fillText(text, LEGEND_MARGIN, LEGEND_MARGIN + number * LEGEND_LINE);
  });
  return copy;
}

/** Show an element on the whole screen, or end that; a browser may refuse, or be unable to. */
export function toggleFullScreen(element) {
  const asked = document.fullscreenElement ? document.exitFullscreen() : element.requestFullscreen?.();
  asked?.catch(() => {});
}

/** Give a canvas to the person as a file. */
export function download(canvas, name) {
  const link = document.createElement('a');
  link.download = name;
  link.href = canvas.toDataURL('image/png');
  link.click();
}
