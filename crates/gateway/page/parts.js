// The parts that several sections use.

import { html, useEffect, useRef, useState } from './vendor/htm-preact.js';
import { visible } from './text.js';

const LONG = 20_000;
const STEP = 50;

/** The sign and the words of each state of a member and of a task. The sign repeats what the colour says. */
const STATES = {
  working: ['●', 'working'], idle: ['○', 'idle'], waiting: ['◆', 'waiting'], held: ['■', 'held'],
  unresponsive: ['▲', 'does not answer'], launching: ['◔', 'starting'], draining: ['◑', 'stopping'],
  cooling: ['◔', 'restarts soon'], stopped: ['–', 'stopped'], planned: ['·', 'planned'],
  pending: ['○', 'pending'], in_progress: ['●', 'in progress'], completed: ['✓', 'completed'],
  failed: ['✕', 'failed'], cancelled: ['–', 'cancelled'],
};

export function State({ of }) {
  const [sign, words] = STATES[of] ?? ['?', of];
  return html`<span class=${`state ${of}`}><span aria-hidden="true">${sign}</span> ${words}</span>`;
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
  useEffect(() => asking && cancel.current?.focus(), [asking]);
  if (!asking) {
    return html`<button type="button" class=${danger && 'danger'} aria-label=${name} onClick=${() => ask(true)}>${label}</button>${error}`;
  }
  return html`<span class="confirm" role="group" aria-label=${question}>
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

/** A text in full, or its start until the user asks for the rest. `onWhole` is called when all of it is on the page. */
export function Text({ text, diff, onWhole }) {
  const [whole, setWhole] = useState(false);
  const all = visible(text);
  const shown = whole || all.length <= LONG ? all : all.slice(0, LONG);
  const isWhole = shown.length === all.length;
  useEffect(() => { if (isWhole) onWhole?.(); }, [isWhole]);
  const kind = (line) => (line.startsWith('+') ? 'added' : line.startsWith('-') ? 'removed' : line.startsWith('@@') ? 'place' : '');
  return html`<pre tabindex="0" role="group" aria-label=${diff ? 'Change' : 'Text'}>${diff
    ? shown.split('\n').map((line) => html`<span class=${`line ${kind(line)}`}>${line}${'\n'}</span>`)
    : shown}</pre>
    ${!isWhole && html`<button type="button" onClick=${() => setWhole(true)}>Show the other ${(all.length - LONG).toLocaleString('en')} characters</button>`}`;
}

/** The first rows of a list, and a button for more: a long list costs only what is shown. */
export function Rows({ of, row, as = 'ul', step = STEP, ...more }) {
  const [shown, show] = useState(step);
  return html`<${as} ...${more}>${of.slice(0, shown).map(row)}</${as}>
    ${of.length > shown && html`<button type="button" class="more" onClick=${() => show(shown + step * 2)}>
      Show more (${(of.length - shown).toLocaleString('en')} hidden)</button>`}`;
}
