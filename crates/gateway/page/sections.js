// Members, board, conversation and messages.

import { html, useEffect, useRef, useState } from './vendor/htm-preact.js';
import { post } from './api.js';
import { Act, Columns, columnsOf, Confirm, Rows, State, Text, useAction } from './parts.js';
import { follow, go, link, route } from './route.js';
import { Screen } from './screen.js';
import { again, state } from './store.js';
import { clock, cost, duration, visible } from './text.js';

export function Members() {
  const members = state.team?.members ?? [];
  return html`<section aria-labelledby="members">
    <h2 id="members">Members <span class="count">${members.length}</span></h2>
    <${Rows} of=${members} class="members" row=${(member) => html`<${Member} key=${member.name} member=${member} />`} />
  </section>`;
}

function Member({ member }) {
  const { name } = member;
  const change = (verb) => async () => {
    await post(`/members/${encodeURIComponent(name)}/${verb}`);
    again.team();
  };
  const task = member.task && state.tasks.get(member.task);
  const facts = [
    member.context && `context ${Math.round((member.context.tokens * 100) / Math.max(1, member.context.window))} %`,
    cost(member.usage), member.unread > 0 && `${member.unread} unread`,
  ].filter(Boolean);
  const isChosen = state.chosen === name;
  return html`<li class=${`member ${isChosen ? 'chosen' : ''}`}>
    <button type="button" class="name" aria-pressed=${isChosen} onClick=${() => go({ member: isChosen ? null : name })}
      aria-label=${`${name}${member.lead ? ' lead' : ''}: conversation`}>${visible(name)}${member.lead && html` <span class="quiet">lead</span>`}</button>
    <span class="now"><${State} of=${member.state} /> <span class="since">${duration(member.for_ms + Date.now() - state.read_at)}</span></span>
    <span class="facts quiet">${facts.join(' · ')}</span>
    <p class="why">${task ? html`<b>${member.task}</b> ${visible(task.active_form ?? task.title)}` : visible(member.why)}
      ${task && member.state === 'waiting' && html`<br />${visible(member.why)}`}</p>
    <div class="buttons">
      <${Act} label="Interrupt" name=${`Interrupt ${name}`} act=${change('interrupt')} />
      <${Act} label="Restart" name=${`Restart ${name}`} act=${change('restart')} />
      <${Confirm} label="Kill" name=${`Kill ${name}`} question=${`Kill ${name}?`} danger act=${change('kill')} />
    </div>
  </li>`;
}

let columns = { version: -1 };

/** The tasks by state, sorted; made again only when a task changes. */
function byState() {
  if (columns.version === state.tasks_version) return columns;
  columns = { ...columnsOf(state.tasks.values()), version: state.tasks_version };
  return columns;
}

export function Board() {
  return html`<section aria-labelledby="board">
    <h2 id="board">Board <span class="count">${state.tasks.size.toLocaleString('en')}</span></h2>
    ${state.tasks.size === 0 && html`<p class="quiet">The board has no tasks.</p>`}
    <${Columns} of=${byState()} row=${(task) => html`<${Task} key=${task.id} task=${task} />`} />
  </section>`;
}

function Task({ task }) {
  const [open, setOpen] = useState(route.task === task.id);
  const open_after = task.after.filter((id) => state.tasks.get(id)?.state !== 'completed');
  const isBlocked = task.state === 'pending' && open_after.length > 0;
  const lines = [
    ['after', task.after.join(', ')], ['role', task.role], ['for', task.for], ['labels', task.labels.join(', ')],
    ['files', task.files.join(', ')], ['run', task.run], ['verify', task.verify], ['attempts', task.attempts || ''],
  ].filter(([, value]) => value);
  return html`<li class="task"><details open=${open} onToggle=${(event) => setOpen(event.target.open)}>
    <summary><b>${task.id}</b> ${visible(task.title)}
      ${task.owner && html` <span class="quiet">${visible(task.owner)}</span>`}
      ${isBlocked && html` <span class="quiet">after ${open_after.join(', ')}</span>`}</summary>
    ${open && html`${task.description && html`<${Text} text=${task.description} />`}
      <dl>${lines.map(([name, value]) => html`<dt>${name}</dt><dd>${visible(value)}</dd>`)}</dl>
      ${task.result && html`<${Text} text=${task.result} />`}
      <p><a href=${link({ view: 'graph', task: task.id })} onClick=${follow({ view: 'graph', task: task.id })}>Dependencies</a></p>`}
  </details></li>`;
}

const ITEMS = 60;

export function Conversation() {
  const { chosen, conversation } = state;
  const [shown, show] = useState(ITEMS);
  const end = useRef();
  const heading = useRef();
  const length = conversation.items.length + conversation.live.length;
  useEffect(() => {
    const list = end.current;
    // Follows the end unless the user has scrolled up.
    if (list && list.scrollHeight - list.scrollTop - list.clientHeight < 400) list.scrollTop = list.scrollHeight;
  }, [chosen, length]);
  // The conversation is below the list of members, possibly out of sight.
  useEffect(() => {
    show(ITEMS);
    heading.current?.focus();
    heading.current?.scrollIntoView({ block: 'nearest' });
  }, [chosen]);
  if (!chosen) return null;
  const first = Math.max(0, conversation.items.length - shown);
  if (state.team?.members.find(({ name }) => name === chosen)?.engine === 'terminal') {
    return html`<section aria-labelledby="conversation" class="conversation">
      <h2 id="conversation" tabindex="-1" ref=${heading}>Screen of ${visible(chosen)}
        <button type="button" onClick=${() => go({ member: null })}>Close</button></h2>
      <${Screen} key=${chosen} member=${chosen} /></section>`;
  }
  return html`<section aria-labelledby="conversation" class="conversation">
    <h2 id="conversation" tabindex="-1" ref=${heading}>Conversation of ${visible(chosen)}
      <a href=${link({ view: 'changes' })} onClick=${follow({ view: 'changes' })}>Changes</a>
      <button type="button" onClick=${() => go({ member: null })}>Close</button></h2>
    <div class="log" ref=${end} tabindex="0" role="log" aria-label=${`Conversation of ${chosen}`} aria-live="off">
      ${first > 0 && html`<button type="button" class="more" onClick=${() => show(shown + ITEMS)}>Show earlier (${first})</button>`}
      ${first === 0 && conversation.dropped > 0 && html`<p class="quiet">The page does not keep the first ${conversation.dropped.toLocaleString('en')} entries.</p>`}
      ${conversation.items.slice(first).map((item, index) => html`<${Item} key=${conversation.dropped + first + index} item=${item} />`)}
      ${conversation.live && html`<pre class="live">${visible(conversation.live)}</pre>`}
      ${!length && html`<p class="quiet">${visible(conversation.note) || 'Output appears here.'}</p>`}
    </div>
    <${Prompt} key=${chosen} to=${chosen} />
  </section>`;
}

function Item({ item }) {
  switch (item.kind) {
    case 'said': return html`<div class="item input"><${Text} text=${item.text} /></div>`;
    case 'answered': return html`<div class="item">
      ${item.text && html`<${Text} text=${item.text} />`}
      ${item.calls?.map((call) => html`<details class="call" key=${call.id}><summary>→ ${visible(call.name)} <span class="quiet">${visible(String(call.input).slice(0, 120))}</span></summary><${Text} text=${call.input} /></details>`)}
    </div>`;
    case 'returned': return html`<div class="item">${item.results.map((result) => html`<details class="call" key=${result.id}>
      <summary class=${result.failed ? 'failed' : ''}>← ${visible(result.text.slice(0, 120))}</summary><${Text} text=${result.text} /></details>`)}</div>`;
    case 'summarised': return html`<details class="call"><summary class="quiet">The conversation before was summarised.</summary><${Text} text=${item.text} /></details>`;
    case 'asked': return html`<div class="item input"><${Text} text=${item.text} /></div>`;
    default:
  }
  // The entries of another vendor's agent have no kind.
  if (item.sent) return html`<div class="item input"><${Text} text=${item.sent} /></div>`;
  return item.answer && html`<div class="item"><${Text} text=${item.answer} /></div>`;
}

/** Texts that were typed and not sent, of each member. */
const drafts = new Map();

function Prompt({ to }) {
  const [text, setState] = useState(drafts.get(to) ?? '');
  const setText = (typed) => {
    drafts.set(to, typed);
    setState(typed);
  };
  const [urgent, setUrgent] = useState(false);
  const { busy, run, error } = useAction();
  const send = async (event) => {
    event.preventDefault();
    if (!text.trim()) return;
    const sent = await run(() => post('/messages', { to, text, urgent }));
    if (sent) {
      setText('');
      again.messages();
    }
  };
  const onKeyDown = (event) => event.key === 'Enter' && !event.shiftKey && !event.isComposing && send(event);
  return html`<form class="prompt" onSubmit=${send}>
    <textarea rows="2" aria-keyshortcuts="/" value=${text} aria-label=${`Message to ${to}`} placeholder=${`Message to ${to}`}
      onInput=${(event) => setText(event.target.value)} onKeyDown=${onKeyDown}></textarea>
    <label><input type="checkbox" checked=${urgent} onChange=${(event) => setUrgent(event.target.checked)} /> Urgent</label>
    <button class="primary" disabled=${busy}>Send</button>
  </form>${error}`;
}

export function Messages() {
  const unread = state.messages.filter(({ to, state: is }) => to === 'user' && is !== 'read').map(({ id }) => id);
  const newest = [...state.messages].reverse();
  const markRead = async () => {
    await post('/messages/read', { messages: unread });
    again.messages();
    again.team();
  };
  return html`<section aria-labelledby="messages">
    <h2 id="messages">Messages ${unread.length > 0 && html`<span class="count">${unread.length} unread</span> <${Act} label="Mark as read" act=${markRead} />`}</h2>
    ${newest.length === 0 && html`<p class="quiet">The team has no messages.</p>`}
    <${Rows} of=${newest} class="messages" step=${20} row=${(message) => html`<li key=${message.id + message.to}
      class=${unread.includes(message.id) ? 'unread' : ''}>
      <p class="quiet"><b>${visible(message.from)}</b> → <b>${visible(message.to)}</b> ${clock(message.at)}
        ${message.urgent && ' · urgent'}${message.state !== 'read' && ' · unread'}</p>
      <${Text} text=${message.text} /></li>`} />
  </section>`;
}
