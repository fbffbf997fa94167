// The address of the page: which view it shows, of which member or task. A link to a view can be stored and sent; it
// contains no token. The query has the route, because the fragment is for the token.

export const VIEWS = ['now', 'timeline', 'graph', 'changes', 'decisions'];
const NAME = /^[A-Za-z0-9_.-]{1,64}$/;

const named = (query, key) => (NAME.test(query.get(key) ?? '') ? query.get(key) : null);

function read() {
  const query = new URLSearchParams(location.search);
  const view = VIEWS.includes(query.get('view')) ? query.get('view') : 'now';
  return { view, member: named(query, 'member'), task: named(query, 'task') };
}

export const route = read();

let moved = () => {};

/** The address of the same page with these changes. `null` removes a part. */
export function link(changes) {
  const query = new URLSearchParams(location.search);
  for (const [key, value] of Object.entries({ ...route, ...changes })) {
    if (value === null || value === 'now') query.delete(key);
    else query.set(key, value);
  }
  const text = query.toString();
  return location.pathname + (text && `?${text}`);
}

export function go(changes) {
  const target = link(changes);
  if (target !== location.pathname + location.search) history.pushState(null, '', target);
  arrive();
}

/** For links: a click with a modifier opens another tab, as for each link. */
export const follow = (changes) => (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || event.button > 0) return;
  event.preventDefault();
  go(changes);
};

function arrive() {
  Object.assign(route, read());
  moved();
}

/** Calls this now and after each change of the route. */
export function onRoute(action) {
  moved = action;
  addEventListener('popstate', arrive);
  moved();
}
