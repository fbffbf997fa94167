// The tasks and their dependencies as a graph: from left to right, each task after the tasks that it waits for.

import { html, useMemo } from './vendor/htm-preact.js';
import { signOf } from './parts.js';
import { follow, link, route } from './route.js';
import { state } from './store.js';
import { visible } from './text.js';

const NODES_MAX = 150;
const WIDTH = 190;
const HEIGHT = 40;
const STEP_X = WIDTH + 50;
const STEP_Y = HEIGHT + 14;

const OPEN = new Set(['in_progress', 'pending', 'failed']);

/** The tasks that wait for each task. */
function dependents(tasks) {
  const all = new Map();
  for (const { id, after } of tasks.values()) {
    for (const before of after) {
      if (!all.has(before)) all.set(before, []);
      all.get(before).push(id);
    }
  }
  return all;
}

/** The tasks of the graph: those that depend on the chosen task and on which it depends, or else the open tasks first. */
function select(tasks, next, chosen) {
  const seen = new Set();
  const reach = (start, edges) => {
    const queue = [start];
    for (let id; (id = queue.shift()) !== undefined && seen.size < NODES_MAX;) {
      seen.add(id);
      for (const other of edges(id)) if (tasks.has(other) && !seen.has(other)) queue.push(other);
    }
  };
  if (chosen) {
    reach(chosen, (id) => tasks.get(id).after);
    reach(chosen, (id) => next.get(id) ?? []);
    return { ids: seen, all: seen.size };
  }
  const linked = [...tasks.values()].filter(({ id, after }) => after.length > 0 || next.has(id));
  linked.sort((one, other) => OPEN.has(other.state) - OPEN.has(one.state));
  return { ids: new Set(linked.slice(0, NODES_MAX).map(({ id }) => id)), all: linked.length };
}

/** The place of each task: its column is one more than the last column of the tasks that it waits for. */
function arrange(tasks, ids, next) {
  const before = new Map();
  for (const id of ids) before.set(id, tasks.get(id).after.filter((other) => ids.has(other)));
  const open = new Map([...before].map(([id, all]) => [id, all.length]));
  const column = new Map([...ids].map((id) => [id, 0]));
  const queue = [...ids].filter((id) => open.get(id) === 0);
  for (let id; (id = queue.shift()) !== undefined;) {
    for (const other of next.get(id) ?? []) {
      if (!ids.has(other)) continue;
      column.set(other, Math.max(column.get(other), column.get(id) + 1));
      open.set(other, open.get(other) - 1);
      if (open.get(other) === 0) queue.push(other);
    }
  }
  const columns = [];
  for (const [id, at] of column) (columns[at] ??= []).push(id);
  const rows = new Map();
  for (const all of columns) {
    // A task is near the tasks that it waits for, so that fewer lines cross.
    const near = (id) => {
      const known = before.get(id).map((other) => rows.get(other) ?? 0);
      return known.length ? known.reduce((sum, row) => sum + row, 0) / known.length : 0;
    };
    all.map((id) => [id, near(id)]).sort(([, one], [, other]) => one - other).forEach(([id], row) => rows.set(id, row));
  }
  const places = new Map([...ids].map((id) => [id, { x: column.get(id) * STEP_X + 2, y: rows.get(id) * STEP_Y + 2 }]));
  return { places, before, width: columns.length * STEP_X, height: Math.max(0, ...columns.map(({ length }) => length)) * STEP_Y };
}

const short = (text) => (text.length > 22 ? `${text.slice(0, 21)}…` : text);

export function Graph() {
  const chosen = state.tasks.has(route.task) ? route.task : null;
  const drawn = useMemo(() => {
    const { tasks } = state;
    const next = dependents(tasks);
    const { ids, all } = select(tasks, next, chosen);
    return { ...arrange(tasks, ids, next), all };
  }, [state.tasks_version, chosen]);
  const { places, before, all } = drawn;
  return html`<section aria-labelledby="graph">
    <h2 id="graph">${chosen ? `Dependencies of ${chosen}` : 'Dependencies'} <span class="count">${places.size.toLocaleString('en')}</span>
      ${chosen && html`<a href=${link({ task: null })} onClick=${follow({ task: null })}>All tasks</a>
        <a href=${link({ view: 'now' })} onClick=${follow({ view: 'now' })}>On the board</a>`}</h2>
    ${places.size === 0 && html`<p class="quiet">No task depends on another task.</p>`}
    ${all > places.size && html`<p class="quiet">The graph shows ${places.size} of ${all.toLocaleString('en')} tasks, open ones first. Select a task to see what it depends on.</p>`}
    ${chosen && places.size >= NODES_MAX && html`<p class="quiet">The graph shows the nearest ${NODES_MAX} tasks.</p>`}
    ${places.size > 0 && html`<div class="scroll" tabindex="0" role="group" aria-label="Graph of the tasks">
      <svg class="graph" width=${drawn.width} height=${drawn.height} aria-label="Tasks, each after the tasks that it depends on">
        ${[...before].flatMap(([id, others]) => others.map((other) => html`<${Edge} key=${`${other}-${id}`} from=${places.get(other)} to=${places.get(id)} />`))}
        ${[...places].map(([id, place]) => html`<${Node} key=${id} task=${state.tasks.get(id)} place=${place} chosen=${id === chosen} />`)}
      </svg></div>`}
  </section>`;
}

function Edge({ from, to }) {
  const [x1, y1, x2, y2] = [from.x + WIDTH, from.y + HEIGHT / 2, to.x, to.y + HEIGHT / 2];
  const middle = (x1 + x2) / 2;
  return html`<path class="edge" d=${`M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`} />`;
}

function Node({ task, place, chosen }) {
  const { id, title, owner, after } = task;
  const words = `${id} ${title}, ${task.state.replace('_', ' ')}${owner ? `, ${owner}` : ''}${after.length ? `, after ${after.join(', ')}` : ''}`;
  return html`<a href=${link({ task: id })} onClick=${follow({ task: id })} aria-current=${chosen ? 'true' : undefined}
    class=${`node ${task.state}`} transform=${`translate(${place.x} ${place.y})`}>
    <title>${visible(words)}</title>
    <rect width=${WIDTH} height=${HEIGHT} rx="7" />
    <text x="9" y="17"><tspan class="sign">${signOf(task.state)}</tspan> <tspan class="id">${id}</tspan> ${owner && visible(owner)}</text>
    <text x="9" y="32" class="quiet">${short(visible(title))}</text>
  </a>`;
}
