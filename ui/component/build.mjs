// Joins the modules of this folder into one file per component in dist/, in the order of their imports, without
// comments and indentation. Run `node ui/component/build.mjs` after a change; `--check` only tells whether dist is up
// to date.

import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const COMPONENTS = { 'network.js': 'main.js', 'fields.js': 'fields.js', 'complete.js': 'complete.js' };
const IMPORT = /^import\s[^;]*?from '\.\/([\w.]+)';\n/gm;

/** File names in the order in which they must stand: every module after those that it imports. */
function ordered(name, done = []) {
  if (done.includes(name)) return done;
  const source = readFileSync(join(here, name), 'utf8');
  const before = [...source.matchAll(IMPORT)].reduce((known, [, imported]) => ordered(imported, known), done);
  return [...before, name];
}

/** A module as a part of the whole: no imports, no exports but the default one, no comments, no indentation. */
function stripped(name) {
  return readFileSync(join(here, name), 'utf8')
    .replace(IMPORT, '')
    .replace(/^export (?!default)/gm, '')
    .replace(/^\s*\/\*\*[\s\S]*?\*\/\n/gm, '')
    .replace(/^\s*\/\/.*\n/gm, '')
    .replace(/^\s+/gm, '');
}

for (const [name, entry] of Object.entries(COMPONENTS)) {
  const target = join(here, 'dist', name);
  const built = `// VISCNN ${name}, built by ui/component/build.mjs\n${ordered(entry).map(stripped).join('')}`;
  await import(`data:text/javascript,${encodeURIComponent(built)}`); // two modules may use one name
  if (!process.argv.includes('--check')) {
    writeFileSync(target, built);
  } else if (readFileSync(target, 'utf8') !== built) {
    console.error(`ui/component/dist/${name} is out of date: run node ui/component/build.mjs`);
    process.exitCode = 1;
  }
}
