// What each member did and when, from the stored events. Pure: `add` takes an envelope of `/events`.
//
// A bar is a time span of a member: a claimed task, a request that waits for a decision, a held launch, or a launch
// that is up. A bar without an end is still open.

const BARS_MAX = 20_000;
const ENTRIES_MAX = 10_000;
const CUT = 1_000;

export function empty() {
  return {
    revision: 0, version: 0, from: 0, to: 0, members: new Map(), tasks: new Map(), requests: new Map(), entries: [],
    dropped: 0, bars: 0, note: '', later: null,
  };
}

function barsOf(history, member) {
  if (!history.members.has(member)) history.members.set(member, []);
  return history.members.get(member);
}

function open(history, member, bar) {
  const bars = barsOf(history, member);
  bars.push(bar);
  history.bars += 1;
  const isLong = bars.length * history.members.size > BARS_MAX;
  if (history.bars > BARS_MAX && isLong) history.bars -= bars.splice(0, bars.length >> 1).length;
  return bar;
}

const close = (bar, at) => {
  if (bar && bar.to === null) bar.to = at;
};

const LIFE = { ready: 'up', held: 'held' };

function life(history, member, state, why, at) {
  const bars = barsOf(history, member);
  const last = bars.findLast(({ kind, to }) => to === null && (kind === 'up' || kind === 'held'));
  const kind = LIFE[state];
  if (last?.kind === kind && last) return;
  close(last, at);
  if (kind) open(history, member, { kind, from: at, to: null, text: kind === 'held' ? why ?? '' : '' });
}

/** Applies the fields of one task that an event changes together. */
function task(history, id, fields, at) {
  const known = history.tasks.get(id) ?? { title: '', steps: [], bar: null };
  if (fields.title) known.title = fields.title;
  history.tasks.set(id, known);
  const { state, owner } = fields;
  if (!state) return;
  known.steps.push({ at, state, owner: owner === undefined ? known.steps.at(-1)?.owner : owner });
  close(known.bar, at);
  known.bar = null;
  if (state === 'in_progress' && owner) {
    known.bar = open(history, owner, { kind: 'task', from: at, to: null, task: id, text: known.title });
  }
}

const WORDS = {
  in_progress: 'claims', completed: 'completes', failed: 'fails', cancelled: 'cancelled:', pending: 'pending again:',
};

function delta(history, changes, at) {
  const tasks = new Map();
  const members = new Map();
  const phrases = [];
  for (const { op, path, value } of changes) {
    const [, part, id, field] = path.split('/');
    const all = part === 'tasks' ? tasks : part === 'members' ? members : null;
    if (!all || !id) continue;
    if (!all.has(id)) all.set(id, { isNew: !field && op !== 'remove', isGone: !field && op === 'remove' });
    Object.assign(all.get(id), field ? { [field]: value } : value);
  }
  for (const [id, { isNew, isGone, ...fields }] of tasks) {
    task(history, id, fields, at);
    const { title } = history.tasks.get(id);
    if (isNew) phrases.push(`adds ${id} ${title}`);
    else if (!isGone && fields.state) phrases.push(`${WORDS[fields.state] ?? fields.state} ${id} ${title}`);
  }
  for (const [name, { isNew, isGone, state, why }] of members) {
    if (isGone) life(history, name, 'stopped', null, at);
    else if (state) life(history, name, state, why, at);
    if (isNew) phrases.push('joins the team');
    else if (isGone) phrases.push('leaves the team');
    else if (state) phrases.push(why ? `${state}: ${why}` : state);
  }
  return phrases.join(', ');
}

function custom(history, { name, value }, member, at) {
  const { requests } = history;
  if (name === 'permission') {
    if (value.state === 'pending') {
      if (member) requests.set(value.request, open(history, member, { kind: 'wait', from: at, to: null, text: value.request }));
      return `asks for permission, ${value.request}`;
    }
    close(requests.get(value.request), at);
    requests.delete(value.request);
    return `${value.request} ${value.state}${value.by ? ` by ${value.by}` : ''}${value.reason ? `: ${value.reason}` : ''}`;
  }
  if (name === 'message') return `to ${[value.to].flat().join(', ')}: ${value.summary ?? String(value.text).slice(0, 120)}`;
  if (name === 'files_changed') return `changes ${value.files.join(', ')}`;
  if (name === 'mode') return `mode ${value.mode}`;
  if (name === 'task_refused') return `${value.task} refused: ${value.reason}`;
  return '';
}

export function add(history, { agent_id, event, revision }) {
  if (!revision) return;
  const at = event.timestamp ?? history.to;
  const member = agent_id?.split('@')[0] ?? null;
  history.revision = Math.max(history.revision, revision);
  if (!history.from) history.from = at;
  history.to = Math.max(history.to, at);
  let text = '';
  switch (event.type) {
    case 'STATE_DELTA': text = delta(history, event.delta, at); break;
    case 'CUSTOM': text = custom(history, event, member, at); break;
    case 'RUN_STARTED': text = 'a goal begins'; break;
    case 'RUN_FINISHED': text = 'the goal is answered'; break;
    case 'RUN_ERROR': text = `the goal ends: ${event.message}`; break;
    case 'STEP_STARTED': text = event.stepName ?? ''; break;
    default:
  }
  history.version += 1;
  if (!text) return;
  history.entries.push({ number: history.dropped + history.entries.length, at, member, text });
  if (history.entries.length > ENTRIES_MAX + CUT) {
    history.entries.splice(0, CUT);
    history.dropped += CUT;
  }
}

/** The bars of a member that cover this time: at most one task, one request and one launch each. */
export function moment(history, member, at) {
  return (history.members.get(member) ?? []).filter(({ from, to }) => from <= at && (to === null || to > at));
}

/** The tasks of the board at this time. */
export function boardAt(history, at) {
  const tasks = [];
  for (const [id, { title, steps }] of history.tasks) {
    const step = steps.findLast((one) => one.at <= at);
    if (step) tasks.push({ id, title, state: step.state, owner: step.owner, changed_at: step.at });
  }
  return tasks;
}

/** The time of the next event after this time, or with `back` the time of the last event before this time. */
export function nextEvent(entries, at, back) {
  return back ? entries.findLast((entry) => entry.at < at)?.at : entries.find((entry) => entry.at > at)?.at;
}

/** The time of a member in each kind of bar, up to `now`. */
export function totals(bars, from, now) {
  const sum = { task: 0, wait: 0, held: 0, up: 0 };
  for (const bar of bars) {
    const length = Math.min(bar.to ?? now, now) - Math.max(bar.from, from);
    if (length > 0) sum[bar.kind] += length;
  }
  return sum;
}
