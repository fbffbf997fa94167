// The keys of the page. Called by `main.js` for each key and each change of the focus.
//
// `y` and `n` act only on the card that has the focus, and a card gets the focus only from the user: a new request never
// takes the place of the one that the user reads. A text that the user believes to type into a field must not allow a
// request: after another character, and in the first moment, `y` does nothing until a card gets the focus again.

import { go, VIEWS } from './route.js';

const SETTLE_MS = 400;
const STORED = 'agent-team-keys';
const OF_CARDS = ['j', 'k', 'y', 'n'];

let focused_at = 0;
let isTyping = false;

export const isOn = () => localStorage.getItem(STORED) !== 'off';
export const turn = (on) => localStorage.setItem(STORED, on ? 'on' : 'off');

export function onFocus({ target }) {
  if (!target.closest('[data-item]')) return;
  focused_at = performance.now();
  isTyping = false;
}

/** Moves the focus to the next of these elements, or to the previous one. */
function move(all, here, by) {
  const next = here ? all.indexOf(here) + by : 0;
  const element = all[Math.max(0, Math.min(all.length - 1, next))];
  element?.focus();
  element?.scrollIntoView({ block: 'nearest' });
}

const select = (selector) => [...document.querySelectorAll(selector)];

/** Answers the card. */
function answer(card, key) {
  if (isTyping || (key === 'y' && performance.now() - focused_at < SETTLE_MS)) return;
  const control = card.querySelector(`[data-key=${key}]:not(:disabled)`);
  if (control?.tagName === 'INPUT') control.focus();
  else control?.click();
}

export function onKey(event) {
  const { key, target } = event;
  if (key === 'Escape' && !event.isComposing && target.closest('.prompt')) {
    document.getElementById('conversation')?.focus();
    return;
  }
  if (!isOn() || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (target.closest('input:not([type=range], [type=checkbox]), textarea, select')) return;
  if (key.length === 1 && !OF_CARDS.includes(key)) isTyping = true;
  const card = target.closest('[data-item]');
  const view = VIEWS[Number(key) - 1];
  const field = key === '/' && document.querySelector('.prompt textarea');
  if (view) {
    // The focus must not disappear with the view that it is in.
    select('.views a')[Number(key) - 1]?.focus();
    go({ view });
  } else if (key === 'j' || key === 'k') move(select('[data-item]'), card, key === 'j' ? 1 : -1);
  else if (key === 'm' || key === 'M') {
    const member = target.closest('.member')?.querySelector('.name');
    move(select('.member .name'), member, key === 'm' ? 1 : -1);
  } else if (field) field.focus();
  else if ((key === 'y' || key === 'n') && card) answer(card, key);
  else return;
  event.preventDefault();
}
