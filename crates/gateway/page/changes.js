// What a member changed: the calls of its conversation that edited files, as a diff for each file.

import { html, useMemo } from './vendor/htm-preact.js';
import { Rows, Text } from './parts.js';
import { follow, link } from './route.js';
import { state } from './store.js';
import { visible } from './text.js';

const lines = (sign, text) => String(text ?? '').replace(/\n$/, '').split('\n').map((line) => sign + line);
const replaced = ({ old, new: by }) => ['@@', ...(old ? lines('-', old) : []), ...(by ? lines('+', by) : [])];

/** The files that a call changes, each with the lines of its diff. */
function edits({ name, input }) {
  try {
    const given = JSON.parse(input);
    if (name === 'write') return [[given.path, ['@@ the whole file', ...lines('+', given.content)]]];
    if (name === 'edit') return [[given.path, (given.edits ?? [given]).flatMap(replaced)]];
    return name === 'apply_patch' ? sections(given.input) : [];
  } catch {
    return []; // The model wrote arguments of another form.
  }
}

function sections(patch) {
  const parts = patch.split(/^\*\*\* (?:Add|Update|Delete) File: /m).slice(1);
  return parts.map((part) => {
    const [path, ...rest] = part.replace(/\n\*\*\* End Patch\s*$/, '').split('\n');
    return [path, rest.length ? rest : ['@@ the file is deleted']];
  });
}

/** The diff of each file, the last changed file first. Failed calls changed nothing. */
function diffs(items) {
  const failed = new Map();
  for (const { results = [] } of items) for (const result of results) failed.set(result.id, result.failed);
  const files = new Map();
  for (const { calls = [] } of items) {
    for (const call of calls) {
      if (failed.get(call.id) !== false) continue;
      for (const [path, diff] of edits(call)) {
        const all = files.get(path) ?? [];
        files.delete(path);
        files.set(path, all.concat(diff));
      }
    }
  }
  return [...files].reverse();
}

const count = (diff, sign) => diff.filter((line) => line.startsWith(sign)).length;

export function Changes() {
  const { chosen, conversation, team } = state;
  const files = useMemo(() => diffs(conversation.items), [conversation.items]);
  return html`<section aria-labelledby="changes">
    <h2 id="changes">Changes${chosen && html` of ${visible(chosen)} <span class="count">${files.length} ${files.length === 1 ? 'file' : 'files'}</span>`}</h2>
    <nav class="picker" aria-label="Members">${(team?.members ?? []).map(({ name }) => html`<a key=${name} href=${link({ member: name })}
      aria-current=${name === chosen ? 'true' : undefined} onClick=${follow({ member: name })}>${visible(name)}</a>`)}</nav>
    ${!chosen && html`<p class="quiet">Select a member.</p>`}
    ${chosen && files.length === 0 && html`<p class="quiet">${visible(conversation.note) || 'No call of the conversation has changed a file.'}</p>`}
    ${chosen && html`<p class="quiet">Changes by the edit tools, in order. Changes by commands are not part of it.
      ${conversation.dropped > 0 && ` The page does not keep the first ${conversation.dropped.toLocaleString('en')} entries of the conversation.`}</p>`}
    <${Rows} of=${files} class="messages" step=${20} row=${([path, diff]) => html`<li key=${chosen + path}>
      <h3>${visible(path)} <span class="quiet">+${count(diff, '+')} −${count(diff, '-')}</span></h3>
      <${Text} text=${diff.join('\n')} diff /></li>`} />
  </section>`;
}
