// The run as a picture: a row for each member with its tasks and waits, the team and its board at a chosen moment, and the
// events in words.

import { html, useEffect, useMemo, useRef, useState } from './vendor/htm-preact.js';
import { Columns, columnsOf, Rows } from './parts.js';
import { boardAt, moment, nextEvent, totals } from './history.js';
import { follow, link } from './route.js';
import { state } from './store.js';
import { clock, duration, visible } from './text.js';

const UNITS = 1_000;
const KINDS = [['up', 'up'], ['task', 'works on a task'], ['wait', 'waits for a decision'], ['held', 'held']];
const SPANS = [['all', 'The whole run'], ['3600000', 'The last hour'], ['600000', 'The last 10 minutes']];

/** One path for all bars of a kind: 100 rows with 10,000 bars stay 400 elements. */
function path(bars, kind, from, to) {
  const at = (time) => Math.round(((Math.min(Math.max(time, from), to) - from) * UNITS) / Math.max(1, to - from));
  let text = '';
  let last = -1;
  for (const bar of bars) {
    if (bar.kind !== kind || (bar.to ?? to) < from || bar.from > to) continue;
    const end = Math.max(at(bar.to ?? to), at(bar.from) + 1);
    if (end <= last) continue;
    const start = Math.max(at(bar.from), last);
    text += `M${start} 0H${end}V10H${start}Z`;
    last = end;
  }
  return text;
}

const WORDS = { task: 'worked', wait: 'waited for decisions', held: 'held' };

function summary(bars, from, now) {
  const sum = totals(bars, from, now);
  const parts = Object.entries(WORDS).filter(([kind]) => sum[kind] > 0).map(([kind, words]) => `${words} ${duration(sum[kind])}`);
  return parts.join(', ') || 'no task';
}

/** What the member did at this moment. */
function doing(history, member, at) {
  const bars = moment(history, member, at);
  const find = (kind) => bars.find((bar) => bar.kind === kind);
  const [task, wait, held] = ['task', 'wait', 'held'].map(find);
  if (held) return `held: ${held.text}`;
  const work = task ? `${task.task} ${task.text}` : find('up') ? 'idle' : 'not started';
  return wait ? `${work}, waits for ${wait.text}` : work;
}

/** The board as it was. */
function Board({ history, at }) {
  const columns = useMemo(() => columnsOf(boardAt(history, at)), [history, history.version, at]);
  return html`<h2>Board <span class="count">at ${new Date(at).toLocaleTimeString()}</span></h2>
    <${Columns} of=${columns} row=${({ id, title, owner }) => html`<li key=${id} class="task"><b>${id}</b> ${visible(title)}
      ${owner && html` <span class="quiet">${visible(owner)}</span>`}</li>`} />`;
}

const PLAY_MS = 400;
const PLAY_STEPS = 150;

/** The moment that the view shows: a slider, steps from event to event, and a button that plays them. */
function Player({ entries, from, end, at, choose }) {
  const [isPlaying, play] = useState(false);
  const slider = useRef();
  const step = (back, least = 0) => {
    const next = nextEvent(entries, (at ?? end + 1) + least, back);
    if (next !== undefined) choose(Math.max(from, next));
    else if (!back) choose(null);
  };
  useEffect(() => {
    if (!isPlaying) return undefined;
    if (at === null) {
      play(false);
      return undefined;
    }
    // A run of days is played within a minute.
    const timer = setTimeout(() => step(false, (end - from) / PLAY_STEPS), PLAY_MS);
    return () => clearTimeout(timer);
  }, [isPlaying, at]);
  const start = () => {
    if (!isPlaying && at === null) choose(from);
    play(!isPlaying);
  };
  // The keys of a slider move it by a millisecond.
  const onKeyDown = (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const back = event.key === 'ArrowLeft' || event.key === 'ArrowDown';
    if (!back && event.key !== 'ArrowRight' && event.key !== 'ArrowUp') return;
    event.preventDefault();
    step(back);
  };
  const time = at === null ? 'now' : new Date(at).toLocaleTimeString();
  return html`<div class="player">
    <span class="quiet">${clock(from)}</span>
    <input type="range" ref=${slider} min=${from} max=${end} step="1" value=${at ?? end} aria-label="Moment" aria-valuetext=${time}
      onKeyDown=${onKeyDown} onInput=${(event) => choose(Number(event.target.value))} />
    <span class="quiet">${clock(end)}</span>
    <output aria-live=${isPlaying ? 'off' : 'polite'}>${time}</output>
    <button type="button" onClick=${() => step(true)}>Previous event</button>
    <button type="button" onClick=${start}>${isPlaying ? 'Pause' : 'Play'}</button>
    <button type="button" aria-disabled=${at === null} onClick=${() => step(false)}>Next event</button>
    ${at !== null && html`<button type="button" onClick=${() => { choose(null); slider.current.focus(); }}>Back to now</button>`}
  </div>`;
}

export function Timeline() {
  const { history, team } = state;
  const [span, setSpan] = useState('all');
  const [chosen, choose] = useState(null);
  const [member, setMember] = useState('');
  const now = Math.max(history?.to ?? 0, Math.floor(Date.now() / 5_000) * 5_000);
  const end = team?.state === 'up' ? now : history?.to ?? now;
  const from = !history ? 0 : span === 'all' ? history.from : Math.max(history.from, end - Number(span));
  const rows = useMemo(() => [...history?.members ?? []].map(([name, bars]) => ({
    name, summary: summary(bars, from, end), paths: KINDS.map(([kind]) => [kind, path(bars, kind, from, end)]),
  })), [history, history?.version, from, end]);
  const at = chosen === null ? null : Math.min(Math.max(chosen, from), end);
  const chosenEntries = useMemo(
    () => (history?.entries ?? []).filter((entry) => !member || entry.member === member), [history, history?.version, member],
  );
  const entries = useMemo(() => chosenEntries.filter((entry) => at === null || entry.at <= at).reverse(), [chosenEntries, at]);
  if (!history || history.later) return html`<section><h2>Timeline</h2><p class="quiet" role="status">Reading the events…</p></section>`;
  const name = (row) => html`<a href=${link({ view: 'now', member: row })} onClick=${follow({ view: 'now', member: row })}>${visible(row)}</a>`;
  const x = at === null ? null : ((at - from) * UNITS) / Math.max(1, end - from);
  return html`<section aria-labelledby="timeline">
    <h2 id="timeline">Timeline</h2>
    ${history.note && html`<p class="error" role="alert">${visible(history.note)}</p>`}
    <p class="legend">${KINDS.map(([kind, words]) => html`<span key=${kind}><svg class="key" viewBox="0 0 10 10" aria-hidden="true"><path class=${kind} d="M0 0h10v10h-10z" /></svg> ${words}</span>`)}
      <select aria-label="Time span" value=${span} onChange=${(event) => setSpan(event.target.value)}>
        ${SPANS.map(([value, words]) => html`<option key=${value} value=${value}>${words}</option>`)}</select></p>
    <${Rows} of=${rows} class="timeline" row=${(row) => html`<li key=${row.name}>
      <span class="name">${name(row.name)}</span>
      <svg viewBox="0 0 ${UNITS} 10" preserveAspectRatio="none" role="img" aria-label=${`${row.name}: ${row.summary}`}
        onClick=${(event) => choose(from + (event.offsetX / event.currentTarget.clientWidth) * (end - from))}>
        ${row.paths.map(([kind, d]) => d && html`<path key=${kind} class=${kind} d=${d} />`)}
        ${x !== null && html`<path class="mark" d=${`M${x} 0h2v10h-2z`} />`}</svg>
      <span class="quiet">${at === null ? row.summary : visible(doing(history, row.name, at))}</span></li>`} />
    <${Player} entries=${chosenEntries} from=${from} end=${end} at=${at} choose=${choose} />
    ${at !== null && html`<${Board} history=${history} at=${at} />`}
    <h2 id="events">Events ${at !== null && html`<span class="count">until ${new Date(at).toLocaleTimeString()}</span>`}
      <select aria-label="Events of" value=${member} onChange=${(event) => setMember(event.target.value)}>
        <option value="">all members</option>
        ${rows.map((row) => html`<option key=${row.name} value=${row.name}>${visible(row.name)}</option>`)}</select></h2>
    ${history.dropped > 0 && html`<p class="quiet">The page does not keep the first ${history.dropped.toLocaleString('en')} events.</p>`}
    <${Rows} of=${entries} class="events" row=${(entry) => html`<li key=${entry.number}>
      <span class="quiet">${new Date(entry.at).toLocaleTimeString()}</span> ${entry.member && html`<b>${visible(entry.member)}</b> `}${visible(entry.text)}</li>`} />
  </section>`;
}
