// The state of the page. Documents give the start; events change it. The tasks are changed in place, because a board
// can have 10,000 of them; the other documents are small and are read again, at most once per interval.

import { follow, get } from './api.js';

const LIVE_MAX = 20_000;
const ITEMS_MAX = 2_000;
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
  conversation: { items: [], next: 0, live: '', note: '' },
};

const RETRY_MAX_MS = 8_000;

let drawing = false;
let isHeld = false;
let draw = () => {};

/** Draws the page once in the next frame, however often the state changes before it. */
export function changed() {
  if (drawing || isHeld) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    if (!isHeld) draw();
  });
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

async function readMessages() {
  state.messages = (await get('/messages', { limit: MESSAGES })).messages;
}

async function readTasks() {
  const { tasks } = await get('/tasks');
  state.tasks = new Map(tasks.map((task) => [task.id, task]));
  state.tasks_version += 1;
}

async function readConversation() {
  const { chosen, conversation } = state;
  if (!chosen) return;
  try {
    for (let more = true; more;) {
      const page = await get(`/members/${encodeURIComponent(chosen)}/transcript`, { after: conversation.next });
      if (state.conversation !== conversation) return;
      conversation.next += page.items.length;
      conversation.items = conversation.items.concat(page.items).slice(-ITEMS_MAX);
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
};

export function choose(member) {
  state.chosen = member;
  state.conversation = { items: [], next: 0, live: '', note: '' };
  again.conversation();
  changed();
}

async function load() {
  await readTeam();
  await Promise.all([readRequests(), readMessages(), readTasks()]);
  changed();
  return state.team.revision;
}

function patch({ op, path, value }) {
  const [, part, id, ...deeper] = path.split('/');
  if (part !== 'tasks' || !id || deeper.length) return part === 'tasks' && again.tasks();
  const task = state.tasks.get(id);
  if (op === 'remove') state.tasks.delete(id);
  else state.tasks.set(id, { ...task, ...value, id, changed_at: Date.now() });
  state.tasks_version += 1;
}

function receive({ agent_id, event, revision }) {
  const member = agent_id?.split('@')[0];
  const live = (text) => {
    if (!member || member !== state.chosen) return;
    const { conversation } = state;
    conversation.live = (conversation.live + text).slice(-LIVE_MAX);
  };
  switch (event.type) {
    case 'STATE_DELTA': event.delta.forEach(patch); break;
    case 'CUSTOM':
      if (event.name === 'permission') again.requests();
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
  // What blocks a member is not stored, so no event reports it.
  setInterval(() => {
    if (!document.hidden && state.connection === 'live') again.team();
  }, 3_000);
  setInterval(() => document.hidden || changed(), 1_000);
}
