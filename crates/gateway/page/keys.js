// The keys of the page. Called by `main.js` for each key.
//
// `y` and `n` act only on the card that has the focus, and a card gets the focus only from the user: a new request never
// takes the place of the one that the user reads.

import { go, VIEWS } from './route.js';

/** Moves the focus to the next of these elements, or to the previous one. */
function move(all, here, by) {
  const next = here ? all.indexOf(here) + by : 0;
  const element = all[Math.max(0, Math.min(all.length - 1, next))];
  element?.focus();
  element?.scrollIntoView({ block: 'nearest' });
}

const select = (selector) => [...document.querySelectorAll(selector)];

export function onKey(event) {
  const { key, target } = event;
  if (key === 'Escape' && target.closest('.prompt')) {
    document.getElementById('conversation')?.focus();
    return;
  }
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || target.closest('input:not([type=range], [type=checkbox]), textarea, select')) return;
  const card = target.closest('[data-item]');
  const view = VIEWS[Number(key) - 1];
  if (view) go({ view });
  else if (key === 'j' || key === 'k') move(select('[data-item]'), card, key === 'j' ? 1 : -1);
  else if (key === 'm' || key === 'M') {
    const member = target.closest('.member')?.querySelector('.name');
    move(select('.member .name'), member, key === 'm' ? 1 : -1);
  } else if (key === '/') document.querySelector('.prompt textarea')?.focus();
  else if ((key === 'y' || key === 'n') && card) {
    const control = card.querySelector(`[data-key=${key}]:not(:disabled)`);
    if (control?.tagName === 'INPUT') control.focus();
    else control?.click();
  } else return;
  event.preventDefault();
}
