// The state of the page. Documents give the start; events change it. The tasks are changed in place, because a board
// can have 10,000 of them; the other documents are small and are read again, at most once per interval.

import { follow, get, replay } from './api.js';
import { add, empty } from './history.js';
import { onRoute, route } from './route.js';

const LIVE_MAX = 20_000;
const ITEMS_MAX = 2_000;
const CONVERSATION_MAX = 16_000_000; // Characters.
const MESSAGES = '200';

export const state = {
  connection: 'connecting',
  trouble: '',
  team: null,
  read_at: 0,
  requests: [],
  questions: [],
  messages: [],
  tasks: new Map(),
  tasks_version: 0,
  chosen: null,
  conversation: conversation(),
  decided: null,
  history: null,
};

/** The items of a member's conversation. `dropped` items at the start were removed to bound memory. */
function conversation() {
  return { items: [], size: 0, dropped: 0, next: 0, live: '', note: '' };
}

const RETRY_MAX_MS = 8_000;

let drawing = false;
let isHeld = false;
let draw = () => {};

/** Draws the page once in the next frame, however often the state changes before it. */
export function changed() {
  if (drawing || isHeld) return;
  drawing = true;
  const now = () => {
    drawing = false;
    if (!isHeld) draw();
  };
  // A hidden tab has no frames, but its title, icon and notifications must show what waits.
  if (document.hidden) setTimeout(now);
  else requestAnimationFrame(now);
}

/**
 * While a pointer is pressed, the page is not drawn. A browser sends a click only if the pointer is pressed and released
 * on the same element: a card that moved in between would lose the click, or another card would receive it.
 */
export function hold(is) {
  isHeld = is;
  if (!is) changed();
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Reads a document again, at most once per interval. A change during a read causes another read, because the service
 * may have answered before the change. A read that fails is repeated.
 */
function rereading(interval, read) {
  let isStale = false;
  let isReading = false;
  const readUntilFresh = async () => {
    isReading = true;
    for (let wait = interval; isStale;) {
      await pause(wait);
      isStale = false;
      try {
        await read();
        wait = interval;
      } catch {
        isStale = true;
        wait = Math.min(wait * 2, RETRY_MAX_MS);
      }
      changed();
    }
    isReading = false;
  };
  return () => {
    isStale = true;
    if (!isReading) readUntilFresh();
  };
}

async function readTeam() {
  state.team = await get('/team/details');
  state.read_at = Date.now();
}

async function readRequests() {
  const { requests, questions } = await get('/requests');
  Object.assign(state, { requests, questions });
}

async function readDecided() {
  if (route.view !== 'decisions') return;
  const { requests } = await get('/requests', { all: true });
  state.decided = requests.filter(({ state: is }) => is !== 'pending').reverse();
}

async function readMessages() {
  state.messages = (await get('/messages', { limit: MESSAGES })).messages;
}

async function readTasks() {
  const { tasks } = await get('/tasks');
  state.tasks = new Map(tasks.map((task) => [task.id, task]));
  state.tasks_version += 1;
}

/** Adds the parts of these items that the page shows. Media and the blocks of the provider can be large. */
function append(conversation, items) {
  conversation.next += items.length;
  const all = conversation.items.slice();
  for (const item of items) {
    const { verbatim, media, thoughts, usage, ...shown } = item;
    if (shown.results) shown.results = shown.results.map(({ media: _, ...result }) => result);
    const size = JSON.stringify(shown).length;
    conversation.size += size;
    all.push({ ...shown, size });
  }
  let from = 0;
  while (all.length - from > ITEMS_MAX || (conversation.size > CONVERSATION_MAX && from < all.length - 1)) {
    conversation.size -= all[from].size;
    from += 1;
  }
  conversation.dropped += from;
  conversation.items = all.slice(from);
}

async function readConversation() {
  const { chosen, conversation } = state;
  if (!chosen) return;
  try {
    for (let more = true; more;) {
      const page = await get(`/members/${encodeURIComponent(chosen)}/transcript`, { after: conversation.next });
      if (state.conversation !== conversation) return;
      append(conversation, page.items);
      if (page.items.length) conversation.live = '';
      more = page.more && page.items.length > 0;
    }
    conversation.note = '';
  } catch (error) {
    conversation.note = error.message;
  }
}

export const again = {
  team: rereading(250, readTeam),
  requests: rereading(100, readRequests),
  messages: rereading(250, readMessages),
  tasks: rereading(1_000, readTasks),
  conversation: rereading(300, readConversation),
  decided: rereading(300, readDecided),
};

/** Shows the member of the route. */
function choose(member) {
  if (state.chosen === member) return;
  state.chosen = member;
  state.conversation = conversation();
  again.conversation();
}

/**
 * Reads the stored events when a view needs them for the first time. Events that arrive meanwhile follow. After an error,
 * the next view that needs them reads them again.
 */
async function readHistory() {
  const history = empty();
  state.history = history;
  history.later = [];
  try {
    await replay(state.team.revision, (envelope) => add(history, envelope));
  } catch (error) {
    Object.assign(history, { note: error.message, later: null });
    return;
  }
  const { later } = history;
  history.later = null;
  for (const envelope of later) if (envelope.revision > history.revision) add(history, envelope);
}

const NEEDS = {
  timeline: () => {
    if (!state.team || (state.history && !state.history.note)) return;
    readHistory().then(changed);
  },
  decisions: () => again.decided(),
};

/** Reads what the view of the route shows, beside the documents that each view needs. */
function arrive() {
  choose(route.member);
  NEEDS[route.view]?.();
  changed();
}

async function load() {
  await readTeam();
  await Promise.all([readRequests(), readMessages(), readTasks()]);
  // After a restart of the service, the events of another team could follow.
  state.history = null;
  arrive();
  return state.team.revision;
}

/** Applies a change of a task. Most name one field; a re-read of 10,000 tasks for each claim would be slow. */
function patch({ op, path, value }, at) {
  const [, part, id, field, ...deeper] = path.split('/');
  if (part !== 'tasks') return;
  const task = state.tasks.get(id);
  if (!id || deeper.length || (field && !task)) {
    again.tasks();
    return;
  }
  if (op === 'remove' && !field) state.tasks.delete(id);
  else state.tasks.set(id, { ...task, ...(field ? { [field]: value } : value), id, changed_at: at });
  state.tasks_version += 1;
}

function receive(envelope) {
  const { agent_id, event, revision } = envelope;
  const { history } = state;
  if (history?.later) history.later.push(envelope);
  else if (history && !history.note) add(history, envelope);
  const member = agent_id?.split('@')[0];
  const live = (text) => {
    if (!member || member !== state.chosen) return;
    const { conversation } = state;
    conversation.live = (conversation.live + text).slice(-LIVE_MAX);
  };
  switch (event.type) {
    case 'STATE_DELTA': event.delta.forEach((change) => patch(change, event.timestamp ?? Date.now())); break;
    case 'CUSTOM':
      if (event.name === 'permission') {
        again.requests();
        again.decided();
      }
      if (event.name === 'message' || event.name === 'messages_read') {
        again.messages();
        again.requests(); // A message can be a question or answer one.
      }
      // The output contains the texts and calls that other events carry, too.
      if (event.name === 'output') live(event.value.text);
      break;
    default:
  }
  if (revision) {
    again.team();
    if (member === state.chosen) again.conversation();
  }
  changed();
}

/** What needs the user, the oldest first. */
export function waiting() {
  const { team, requests, questions } = state;
  const since = (member) => state.read_at - member.for_ms;
  const all = requests.filter(({ state: is }) => is === 'pending')
    .map((request) => ({ kind: request.plan ? 'plan' : 'request', id: request.id, at: request.asked_at, member: request.member, request }));
  for (const question of questions) {
    all.push({ kind: 'question', id: question.id, at: question.asked_at, member: question.member, question });
  }
  for (const member of team?.members ?? []) {
    const kind = member.state === 'held' ? 'held' : member.waiting?.kind === 'budget' ? 'limit' : null;
    if (kind) all.push({ kind, id: `${kind}-${member.name}`, at: since(member), member: member.name, why: member.waiting?.why ?? member.why });
  }
  return all.sort((one, other) => one.at - other.at);
}

export function start(drawPage) {
  draw = drawPage;
  const connection = (is, trouble = '') => {
    if (is === 'live' && state.connection === 'lost') Object.values(again).forEach((read) => read());
    Object.assign(state, { connection: is, trouble });
    changed();
  };
  follow({ load, receive, connection });
  onRoute(arrive);
  document.addEventListener('visibilitychange', () => document.hidden || again.team());
  // What blocks a member is not stored, so no event reports it.
  setInterval(() => {
    if (!document.hidden && state.connection === 'live') again.team();
  }, 3_000);
  setInterval(() => document.hidden || changed(), 1_000);
}
