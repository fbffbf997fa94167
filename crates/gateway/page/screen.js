// The screen of a terminal program, read-only and at the size of its pane. Lines are characters with two kinds of
// sequences: colours and attributes, and the column at which the next character is.

import { html, useEffect, useMemo, useState } from './vendor/htm-preact.js';
import { get } from './api.js';
import { visible } from './text.js';

const PAUSE_MS = 500;
const SEQUENCE = /\x1b\[([\d;]*)([mG])/g;
const STYLES = { 1: 'bold', 2: 'dim', 3: 'italic', 4: 'under', 7: 'inverse' };

/** A colour of the table of 256: the first 16 follow the theme of the page. */
function indexed(index, part) {
  if (index < 16) return { name: `${part}${index}` };
  if (index > 231) {
    const grey = (index - 232) * 10 + 8;
    return { css: `rgb(${grey} ${grey} ${grey})` };
  }
  const level = (number) => (number ? number * 40 + 55 : 0);
  const cube = index - 16;
  return { css: `rgb(${level(Math.floor(cube / 36))} ${level(Math.floor(cube / 6) % 6)} ${level(cube % 6)})` };
}

function styleOf(codes) {
  const style = { names: [], css: {} };
  for (let at = 0; at < codes.length; at += 1) {
    const code = codes[at];
    if (STYLES[code]) style.names.push(STYLES[code]);
    if (code !== 38 && code !== 48) continue;
    const part = code === 38 ? 'fg' : 'bg';
    const isIndex = codes[at + 1] === 5;
    const [red, green, blue] = codes.slice(at + 2, at + 5);
    const { name, css } = isIndex ? indexed(codes[at + 2], part) : { css: `rgb(${red} ${green} ${blue})` };
    if (name) style.names.push(name);
    else style.css[part === 'fg' ? 'color' : 'backgroundColor'] = css;
    at += isIndex ? 2 : 4;
  }
  return style;
}

/** The runs of a line, each with one style. `G` names the column of the next character, from 1. */
export function runs(line) {
  const all = [];
  let style = styleOf([]);
  let from = 0;
  const add = (text, wide) => {
    if (text) all.push({ text, style, wide });
  };
  for (const match of line.matchAll(SEQUENCE)) {
    const text = line.slice(from, match.index);
    from = match.index + match[0].length;
    // A movement follows each character that can have another width: give it the width that it has in the terminal.
    if (match[2] === 'G') {
      const last = Array.from(text.replace(/[\u200d\ufe0e\ufe0f]/g, '')).pop() ?? '';
      add(text.slice(0, text.length - last.length));
      const columns = Number(match[1]) - 1 - all.reduce((sum, run) => sum + (run.wide ?? Array.from(run.text).length), 0);
      add(last, Math.max(1, Math.min(2, columns)));
    } else {
      add(text);
      style = styleOf(match[1].split(';').map(Number));
    }
  }
  add(line.slice(from));
  return all;
}

function Line({ line }) {
  return useMemo(() => html`<span class="row">${runs(line).map(({ text, style, wide }) => html`<span
    class=${[...style.names, wide && `wide${wide}`].filter(Boolean).join(' ') || undefined} style=${style.css}>${visible(text.replaceAll('\u00a0', ' '))}</span>`)}${'\n'}</span>`, [line]);
}

export function Screen({ member }) {
  const [screen, show] = useState(null);
  const [note, setNote] = useState('');
  useEffect(() => {
    let isOver = false;
    let timer;
    const read = async () => {
      try {
        if (!document.hidden) show((await get(`/members/${encodeURIComponent(member)}/screen`)).screen ?? null);
        setNote('');
      } catch (error) {
        setNote(error.message);
      }
      if (!isOver) timer = setTimeout(read, PAUSE_MS);
    };
    read();
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [member]);
  if (!screen) return html`<p class="quiet">${visible(note) || 'The program shows no screen.'}</p>`;
  const { columns, rows, lines } = screen;
  return html`<figure class="terminal">
    <pre class="screen" tabindex="0" role="group" aria-label=${`Screen of ${member}, read-only`} style=${{ '--columns': columns }}>${
  Array.from({ length: rows }, (_, row) => html`<${Line} key=${row} line=${lines[row] ?? ''} />`)}</pre>
    <figcaption class="quiet">${columns} × ${rows}, read-only${note && ` · ${visible(note)}`}</figcaption></figure>`;
}
