// The page of a team: draws the state of `store.js`. Called once by `index.html`.

import { html, render } from './vendor/htm-preact.js';
import { hasToken, post, takeToken } from './api.js';
import { Changes } from './changes.js';
import { Decisions } from './decisions.js';
import { Graph } from './graph.js';
import { isOn, onFocus, onKey, turn } from './keys.js';
import { Confirm, Guarded, Text } from './parts.js';
import { follow, link, route, VIEWS } from './route.js';
import { Board, Conversation, Members, Messages } from './sections.js';
import { changed, hold, start, state, waiting } from './store.js';
import { cost, visible } from './text.js';
import { Timeline } from './timeline.js';
import { Waiting } from './waiting.js';

takeToken();
let notified = new Set();

const CONNECTION = { connecting: 'connecting…', live: 'live', lost: 'connection lost, reconnecting…', refused: 'refused' };

function Head() {
  const { team, connection } = state;
  const canNotify = 'Notification' in window && Notification.permission === 'default';
  return html`<header class="head" role="banner">
    <h1>${visible(team?.name ?? 'agent-team')}</h1>
    <span class=${`connection ${connection}`} role="status">${CONNECTION[connection]}</span>
    <span class="facts quiet">${[team?.mode && `mode ${team.mode.replaceAll('_', '-')}`, cost(team?.usage)].filter(Boolean).join(' · ')}</span>
    <span class="buttons">
      ${canNotify && html`<button type="button" onClick=${() => Notification.requestPermission()}>Notify me</button>`}
      ${team?.state === 'up' && html`<${Confirm} label="Stop all" question="Stop all members?" danger act=${() => post('/team/down', { force: false })} />`}
    </span>
    ${team?.storage_error && html`<p class="error" role="alert">${visible(team.storage_error)}</p>`}
    ${state.trouble && connection !== 'live' && html`<p class="error">${visible(state.trouble)}</p>`}
  </header>`;
}

/** Below what waits: a goal that arrives must not move the buttons of a request. */
function Goal() {
  const { goal } = state.team ?? {};
  return goal && html`<section aria-labelledby="goal">
    <h2 id="goal">Goal</h2>
    <${Text} text=${goal.goal} />
    ${goal.answer && html`<h3>Answer</h3><${Text} text=${goal.answer} />`}
  </section>`;
}

const TITLES = { now: 'Now', timeline: 'Timeline', graph: 'Graph', changes: 'Changes', decisions: 'Decisions' };

function Views() {
  const count = waiting().length;
  return html`<nav class="views" aria-label="Views">${VIEWS.map((view, index) => html`<a key=${view} href=${link({ view })}
    aria-keyshortcuts=${index + 1} aria-current=${route.view === view ? 'page' : undefined} onClick=${follow({ view })}>${TITLES[view]}${view === 'now' && count > 0
      && html` <span class="count">${count}<span class="reader"> waiting</span></span>`}</a>`)}</nav>`;
}

const KEYS = [['1–5', '', 'views'], ['j', 'k', 'waiting items'], ['y', 'n', 'allow, deny…'], ['m', 'M', 'members'], ['/', '', 'message']];

/** Single characters are also spoken by mistake or pressed by a wrist: they can be turned off. */
function Keys() {
  const shown = !isOn() ? [] : route.view === 'now' ? KEYS : KEYS.slice(0, 1);
  return html`<footer class="keys quiet">
    <label><input type="checkbox" checked=${isOn()} onChange=${(event) => { turn(event.target.checked); changed(); }} /> Keys</label>
    ${shown.map(([one, other, words]) => html`<span key=${one}><kbd>${one}</kbd>${' '}
    ${other && html`<kbd>${other}</kbd> `}${words}</span>`)}</footer>`;
}

const part = (name, Part) => html`<${Guarded} key=${name} name=${name}><${Part} /></${Guarded}>`;

const PARTS = {
  now: () => [part('what waits', Waiting), part('the goal', Goal), part('the members', Members), part('the conversation', Conversation),
    part('the board', Board), part('the messages', Messages)],
  timeline: () => part('the timeline', Timeline),
  graph: () => part('the graph', Graph),
  changes: () => part('the changes', Changes),
  decisions: () => part('the decisions', Decisions),
};

function Page() {
  if (!hasToken() || state.connection === 'refused') {
    return html`<main class="closed"><h1>agent-team</h1>
      <p>Open the complete URL that <code>agent-team serve</code> prints. It contains the token of the service.</p></main>`;
  }
  return html`<${Head} /><${Views} /><main>${PARTS[route.view]()}</main><${Keys} />`;
}

/** The title, the icon and, with the user's permission, a notification show how many items wait. */
function announce() {
  const all = waiting();
  const count = all.length;
  document.title = `${count ? `(${count}) ` : ''}${state.team?.name ?? 'agent-team'}`;
  const label = count > 99 ? '99+' : count || '';
  const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="${count ? '#b45309' : '#0f766e'}"/>`
    + `<text x="16" y="23" font-family="sans-serif" font-size="19" font-weight="700" text-anchor="middle" fill="#fff">${label}</text></svg>`;
  const link = document.querySelector('link[rel=icon]');
  const href = `data:image/svg+xml,${encodeURIComponent(icon)}`;
  if (link.href !== href) link.href = href;
  const fresh = all.filter(({ id }) => !notified.has(id));
  notified = new Set(all.map(({ id }) => id));
  if (fresh.length && document.hidden && 'Notification' in window && Notification.permission === 'granted') {
    new Notification(document.title, { body: `${fresh[0].member} waits for you`, tag: 'agent-team' });
  }
}

function draw() {
  render(html`<${Page} />`, document.getElementById('app'));
  announce();
}

let isStarted = false;

function begin() {
  if (isStarted || !hasToken()) return;
  isStarted = true;
  start(draw);
}

addEventListener('hashchange', () => {
  if (!takeToken()) return;
  if (isStarted) location.reload();
  else begin();
});
document.addEventListener('keydown', onKey);
document.addEventListener('focusin', onFocus);
// A mouse sends its click at once after the release, a touch after the browser has recognized the gesture.
const CLICK_MAX_MS = 500;
const pressed = new Set();
let releasing = null;
const release = (delay) => {
  clearTimeout(releasing);
  releasing = setTimeout(() => hold(pressed.size > 0), delay);
};
addEventListener('pointerdown', ({ pointerId }) => {
  clearTimeout(releasing);
  pressed.add(pointerId);
  hold(true);
}, true);
for (const [end, delay] of [['pointerup', CLICK_MAX_MS], ['pointercancel', 0]]) {
  addEventListener(end, ({ pointerId }) => {
    pressed.delete(pointerId);
    release(delay);
  }, true);
}
addEventListener('click', () => release(0), true);
// The release of a button that has opened a menu does not reach the page.
for (const lost of ['blur', 'contextmenu']) {
  addEventListener(lost, () => {
    pressed.clear();
    release(0);
  });
}
draw();
begin();
