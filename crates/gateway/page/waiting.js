// "Waiting for you": requests, plans, questions, held members and used-up limits, with what decides them.

import { html, useLayoutEffect, useRef, useState } from './vendor/htm-preact.js';
import { post } from './api.js';
import { Act, Text, useAction } from './parts.js';
import { again, state, waiting } from './store.js';
import { duration, visible, visibleCall } from './text.js';

const SETTLE_MS = 400;

const TITLES = {
  request: 'asks for permission', plan: 'proposes a plan', question: 'asks you', held: 'is held', limit: 'is at a limit',
};

export function Waiting() {
  const all = waiting();
  return html`<section aria-labelledby="waiting">
    <h2 id="waiting" tabindex="-1">Waiting for you <span class="count">${all.length}</span></h2>
    <p class="reader" role="status" aria-live="polite">${all.length === 1 ? '1 item waits for you' : `${all.length} items wait for you`}</p>
    ${all.length === 0 && html`<p class="quiet">Nothing waits for you.</p>`}
    <div class="cards">${all.slice(0, 30).map((item, place) => html`<${Card} key=${item.id} item=${item} place=${place} />`)}</div>
    ${all.length > 30 && html`<p class="quiet">${all.length - 30} more follow.</p>`}
  </section>`;
}

function Card({ item, place }) {
  const { kind, member, at } = item;
  return html`<article class=${`card ${kind}`} tabindex="-1" data-item=${item.id} aria-label=${`${member} ${TITLES[kind]}`}>
    <header><strong>${visible(member)}</strong> ${TITLES[kind]} <span class="quiet">${visible(item.request?.id ?? '')}</span>
      <span class="since">${duration(Date.now() - at)}</span></header>
    ${item.request && html`<${Request} request=${item.request} place=${place} />`}
    ${kind === 'question' && html`<${Question} question=${item.question} />`}
    ${(kind === 'held' || kind === 'limit') && html`<${Text} text=${item.why} />`}
    ${kind === 'held' && html`<div class="buttons"><${Act} label="Restart" name=${`Restart ${member}`}
      act=${async () => { await post(`/members/${encodeURIComponent(member)}/restart`); again.team(); }} /></div>`}
  </article>`;
}

/** The fields of a call in the order of a reader: short ones first, the change last. */
export function fields({ input, plan }) {
  if (plan) return [['plan', input.text ?? '']];
  if (input === null || typeof input !== 'object') return [['input', JSON.stringify(input)]];
  const all = Object.entries(input).map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)]);
  return all.sort(([, one], [, other]) => one.includes('\n') - other.includes('\n'));
}

/**
 * Whether this card has been at its place for a moment. Without the pause, the second click of a double click on one card
 * could allow the next card, which takes its place. A card with the focus stays usable: keys do not depend on places.
 */
function useSettled(place, part) {
  const [settled, settle] = useState(false);
  useLayoutEffect(() => {
    const hasFocus = part.current.contains(document.activeElement);
    settle(hasFocus);
    if (hasFocus) return undefined;
    const timer = setTimeout(() => settle(true), SETTLE_MS);
    return () => clearTimeout(timer);
  }, [place]);
  return settled;
}

function Request({ request, place }) {
  const all = fields(request);
  const [whole, setWhole] = useState(() => new Set());
  const [reason, setReason] = useState(null);
  const { busy, run, error } = useAction();
  const field = useRef();
  const form = useRef();
  const settled = useSettled(place, form);
  const isWhole = all.every(([name]) => whole.has(name));
  const isDiff = (name) => name === 'diff' && !request.tool.startsWith('mcp__');
  const decide = (decision) => run(async () => {
    await post(`/requests/${request.id}/decision`, { decision, digest: request.digest });
    // The card disappears. Its focus must not move to the next card, whose text the user has not read.
    if (form.current?.closest('[data-item]')?.contains(document.activeElement)) document.getElementById('waiting')?.focus();
    state.requests = state.requests.filter(({ id }) => id !== request.id);
    again.requests();
    again.team();
  });
  const deny = () => (reason === null ? (setReason(''), setTimeout(() => field.current?.focus())) : decide({ kind: 'deny', reason }));
  return html`
    ${!request.plan && html`<p class="tool">${visible(request.tool)} <span class="quiet">in ${visible(request.directory)}</span></p>`}
    <dl>${all.map(([name, value]) => html`<dt key=${name}>${visibleCall(name)}</dt>
      <dd><${Text} text=${value} show=${visibleCall} diff=${isDiff(name)} onWhole=${() => setWhole((old) => new Set(old).add(name))} /></dd>`)}</dl>
    ${request.warnings?.map((warning) => html`<p class="warning">▲ ${visible(warning)}</p>`)}
    ${request.why?.map((why) => html`<p class="quiet why">${visible(why)}</p>`)}
    <form class="buttons" ref=${form} onSubmit=${(event) => { event.preventDefault(); deny(); }}>
      <button type="button" class="primary" data-key="y" aria-keyshortcuts="y" disabled=${busy || !settled || !isWhole} aria-label=${`Allow once ${request.id}`}
        onClick=${() => decide({ kind: 'allow', scope: 'once' })}>${request.plan ? 'Approve' : 'Allow once'}</button>
      ${reason !== null && html`<input ref=${field} value=${reason} placeholder="Reason" aria-label="Reason for the denial"
        onInput=${(event) => setReason(event.target.value)} />`}
      <button type="submit" data-key="n" aria-keyshortcuts="n" disabled=${busy} aria-label=${`Deny ${request.id}`}>${reason === null ? 'Deny…' : 'Deny'}</button>
      ${!isWhole && html`<span class="quiet">Show the whole text to allow it.</span>`}
    </form>${error}`;
}

function Question({ question }) {
  const [text, setText] = useState('');
  const { busy, run, error } = useAction();
  const answer = async (event) => {
    event.preventDefault();
    if (!text.trim()) return;
    await run(async () => {
      await post('/messages', { to: question.member, text, reply_to: question.id });
      again.requests();
      again.messages();
    });
  };
  return html`<${Text} text=${question.text} />
    <form class="buttons" onSubmit=${answer}>
      <input value=${text} aria-label=${`Answer to ${question.member}`} placeholder="Answer" data-key="y"
        onInput=${(event) => setText(event.target.value)} />
      <button class="primary" disabled=${busy}>Answer</button>
    </form>${error}`;
}
