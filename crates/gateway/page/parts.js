// The parts that several sections use.

import { html, useEffect, useErrorBoundary, useMemo, useRef, useState } from './vendor/htm-preact.js';
import { visible } from './text.js';

const LONG = 20_000;
const STEP = 50;

/** The sign and the words of each state of a member and of a task. The sign repeats the meaning of the colour. */
const STATES = {
  working: ['●', 'working'], idle: ['○', 'idle'], waiting: ['◆', 'waiting'], held: ['■', 'held'],
  unresponsive: ['▲', 'does not answer'], launching: ['◔', 'starting'], draining: ['◑', 'stopping'],
  cooling: ['◔', 'restarts soon'], stopped: ['–', 'stopped'], planned: ['·', 'planned'],
  pending: ['○', 'pending'], in_progress: ['●', 'in progress'], completed: ['✓', 'completed'],
  failed: ['✕', 'failed'], cancelled: ['–', 'cancelled'],
  allowed: ['✓', 'allowed'], begun: ['●', 'allowed, runs'], ended: ['✓', 'allowed'], lost: ['▲', 'allowed, result unknown'],
  denied: ['✕', 'denied'], withdrawn: ['–', 'withdrawn'],
};

export const signOf = (state) => STATES[state]?.[0] ?? '?';

export function State({ of }) {
  const [sign, words] = STATES[of] ?? ['?', of];
  return html`<span class=${`state ${of}`}><span aria-hidden="true">${sign}</span> ${words}</span>`;
}

/** Shows an error of this part in its place: the other parts of the page stay usable. */
export function Guarded({ name, children }) {
  const [error, retry] = useErrorBoundary();
  return error
    ? html`<p class="error" role="alert">Cannot show ${name}: ${visible(error.message)} <button type="button" onClick=${retry}>Retry</button></p>`
    : children;
}

/** Runs an action once at a time, and shows its error. */
export function useAction() {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  const run = async (action) => {
    if (busy) return false;
    setBusy(true);
    setError('');
    try {
      await action();
      return true;
    } catch (failure) {
      setError(failure.message);
      return false;
    } finally {
      setBusy(false);
    }
  };
  return { busy, run, error: error && html`<p class="error" role="alert">${visible(error)}</p>` };
}

/** A button that asks once more before it acts. */
export function Confirm({ label, question, act, name, danger }) {
  const [asking, ask] = useState(false);
  const { busy, run, error } = useAction();
  const cancel = useRef();
  const first = useRef();
  const wasAsking = useRef(false);
  useEffect(() => {
    if (asking) cancel.current?.focus();
    else if (wasAsking.current) first.current?.focus();
    wasAsking.current = asking;
  }, [asking]);
  if (!asking) {
    return html`<button type="button" ref=${first} class=${danger && 'danger'} aria-label=${name} onClick=${() => ask(true)}>${label}</button>${error}`;
  }
  return html`<span class="confirm" role="group" aria-label=${question} onKeyDown=${(event) => event.key === 'Escape' && ask(false)}>
    <span>${question}</span>
    <button type="button" class="danger" disabled=${busy} onClick=${async () => { await run(act); ask(false); }}>${label}</button>
    <button type="button" ref=${cancel} onClick=${() => ask(false)}>Cancel</button>
  </span>`;
}

/** A button with an action and without a question. */
export function Act({ label, name, act }) {
  const { busy, run, error } = useAction();
  return html`<button type="button" aria-label=${name} disabled=${busy} onClick=${() => run(act)}>${label}</button>${error}`;
}

const kind = (line) => (line.startsWith('+') ? 'added' : line.startsWith('-') ? 'removed' : line.startsWith('@@') ? 'place' : '');

/** A text in full, or its start until the user asks for the rest. `onWhole` is called when all of it is on the page. */
export function Text({ text, diff, show = visible, onWhole }) {
  const [whole, setWhole] = useState(false);
  const all = useMemo(() => show(text), [text]);
  const shown = whole || all.length <= LONG ? all : all.slice(0, LONG);
  const isWhole = shown.length === all.length;
  useEffect(() => { if (isWhole) onWhole?.(); }, [isWhole]);
  // The page is drawn each second. Preact skips a part that is the same object.
  return useMemo(() => {
    // Only a text that can scroll needs the focus.
    const scrolls = shown.length > 500 || shown.split('\n').length > 10;
    const focus = scrolls ? { tabindex: 0, role: 'group', 'aria-label': diff ? 'Change' : 'Text' } : {};
    return html`<pre ...${focus}>${diff
      ? shown.split('\n').map((line) => html`<span class=${`line ${kind(line)}`}>${line}${'\n'}</span>`)
      : shown}</pre>
    ${!isWhole && html`<button type="button" onClick=${() => setWhole(true)}>Show the other ${(all.length - LONG).toLocaleString('en')} characters</button>`}`;
  }, [shown, all, diff]);
}

/** The first rows of a list, and a button for more: a long list costs only what is shown. */
export function Rows({ of, row, as = 'ul', step = STEP, ...more }) {
  const [shown, show] = useState(step);
  return html`<${as} ...${more}>${of.slice(0, shown).map(row)}</${as}>
    ${of.length > shown && html`<button type="button" class="more" onClick=${() => show(shown + step * 2)}>
      Show more (${(of.length - shown).toLocaleString('en')} hidden)</button>`}`;
}

const COLUMNS = [
  ['pending', 'Pending'], ['in_progress', 'In progress'], ['completed', 'Completed'], ['failed', 'Failed'], ['cancelled', 'Cancelled'],
];

/** The tasks of a board in a column for each state: pending ones by priority, ended ones by time. */
export function columnsOf(tasks) {
  const columns = Object.fromEntries(COLUMNS.map(([name]) => [name, []]));
  for (const task of tasks) columns[task.state]?.push(task);
  columns.pending.sort((one, other) => (other.priority ?? 0) - (one.priority ?? 0));
  for (const name of ['completed', 'failed', 'cancelled']) columns[name].sort((one, other) => other.changed_at - one.changed_at);
  return columns;
}

export function Columns({ of, row }) {
  return html`<div class="board">${COLUMNS.filter(([name]) => of[name].length > 0).map(([name, title]) => html`<section key=${name} aria-label=${title}>
    <h3><${State} of=${name} /> <span class="count">${of[name].length.toLocaleString('en')}</span></h3>
    <${Rows} of=${of[name]} step=${25} row=${row} />
  </section>`)}</div>`;
}
