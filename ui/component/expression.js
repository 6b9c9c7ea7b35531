// What the text before the caret of an input expression may be completed to. Free of the page, for `node --test`.

const QUOTED = /"(?:[^"\\]|\\[^])*"|'(?:[^'\\]|\\[^])*'/y;
const BARE = /[\p{L}\p{N}\p{M}\p{Pc}.#/]/u;
const NUMBER = /^(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;
const SHOWN = 8;

/** The name that the caret stands behind: where it begins, its text without quotes, and whether it is quoted. */
export function lastName(before) {
  let at = 0;
  while (at < before.length) {
    if (before[at] === '"' || before[at] === "'") {
      QUOTED.lastIndex = at;
      const closed = QUOTED.exec(before);
      if (!closed) return { start: at, text: unescaped(before.slice(at + 1)), quoted: true };
      at += closed[0].length;
    } else if (BARE.test(letter(before, at))) {
      const start = at;
      while (at < before.length && BARE.test(letter(before, at))) at += letter(before, at).length;
      if (at === before.length) return { start, text: before.slice(start), quoted: false };
    } else {
      at += letter(before, at).length;
    }
  }
  return { start: before.length, text: '', quoted: false };
}

/**
 * What to offer for `before`, the text up to the caret, best first: {text, kind, start}, `text` replacing all from
 * `start` to the caret.
 *
 * `names` are {text, kind} with the text as an expression writes it; `earlier` are whole expressions. Names that begin
 * with what is typed come before names with a word that does, and those before names that hold it. Without `asked` (by
 * the arrow key) nothing is offered for an empty name, nor where what is typed is complete.
 */
export function suggestions(before, names, earlier, asked = false) {
  const { start, text, quoted } = lastName(before);
  const wanted = lenient(text);
  if (!wanted && !asked) return [];
  const ranked = names.map((each) => ({ ...each, start, rank: rank(lenient(plain(each.text)), wanted) }));
  const whole = lenient(before);
  const again = earlier
    .filter((each) => whole ? lenient(each).startsWith(whole) && lenient(each) !== whole : asked)
    .map((each) => ({ text: each, kind: 'earlier', start: 0, rank: 2.5 }));
  const found = [...ranked.filter((each) => each.rank < 4), ...again].sort((one, other) => one.rank - other.rank);
  const complete = (each) => each.rank === 0 && (each.text === before.slice(start) || (!quoted && plain(each.text) === text));
  const known = found.some((each) => complete(each) && !(NUMBER.test(text) && each.text !== text));
  if (known && !asked && found.filter((each) => each.rank <= 1).length < 2) return [];
  const seen = new Set();
  return found
    .filter((each) => !(known && complete(each)) && !seen.has(each.text) && seen.add(each.text))
    .slice(0, SHOWN)
    .map(({ text: whole, kind, start: from }) => ({ text: whole, kind, start: from }));
}

/** Whether Enter takes the first suggestion: not where what is typed means something already. */
export function takesFirst(before, names) {
  const { text, quoted } = lastName(before);
  if (!text || (!quoted && NUMBER.test(text))) return false;
  return !names.some((each) => lenient(plain(each.text)) === lenient(text));
}

/** The text with a suggestion in it, and where the caret stands then; a quote that it closes is not doubled. */
export function completed(text, caret, { text: name, start }) {
  const rest = name.endsWith('"') && text[caret] === '"' ? text.slice(caret + 1) : text.slice(caret);
  return { text: text.slice(0, start) + name + rest, caret: start + name.length };
}

/** A name as it is called, without the quotes that an expression needs. */
export function plain(written) {
  return written.startsWith('"') ? unescaped(written.slice(1, -1)) : written;
}

function rank(name, wanted) {
  if (!wanted) return 1;
  if (name === wanted) return 0;
  if (name.startsWith(wanted)) return 1;
  if (name.split(/[\s/.-]+/).some((word) => word.startsWith(wanted))) return 2;
  return name.includes(wanted) ? 3 : 4;
}

function lenient(text) {
  return text.normalize('NFC').toLowerCase().replace(/[_,\s]+/g, ' ').trim();
}

function unescaped(text) {
  return text.replace(/\\(["'\\])/g, '$1');
}

/** The character at a place, both halves of it where it has two. */
function letter(text, at) {
  return String.fromCodePoint(text.codePointAt(at));
}
