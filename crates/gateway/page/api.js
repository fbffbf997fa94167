// Requests to the service and its stream of events. The token comes from the fragment of the address and is kept for
// this tab only. Nothing else in the page may read it.

const KEY = 'agent-team-token';
const SILENCE_MS = 40_000; // The service sends a comment every 15 s.

let token = sessionStorage.getItem(KEY);

/** Moves the token from the fragment into the storage of this tab. Returns whether the tab has a token. */
export function takeToken() {
  const given = location.hash.slice(1);
  if (given) {
    token = given;
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, '', location.pathname + location.search);
  }
  return Boolean(token);
}

const team = new URLSearchParams(location.search).get('team');

function address(path, query = {}) {
  const all = new URLSearchParams(query);
  if (team) all.set('team', team);
  const text = all.toString();
  return `/api/v1${path}${text ? `?${text}` : ''}`;
}

async function problem(response) {
  const body = await response.json().catch(() => ({}));
  const text = body.hint ? `${body.detail}. ${body.hint}` : body.detail;
  const error = new Error(text || `the service returned ${response.status}`);
  error.status = response.status;
  return error;
}

export async function get(path, query) {
  const response = await fetch(address(path, query), { headers: { Authorization: `Bearer ${token}` } });
  if (!response.ok) throw await problem(response);
  return response.json();
}

export async function post(path, body) {
  const random = crypto.getRandomValues(new Uint8Array(16));
  const headers = {
    Authorization: `Bearer ${token}`,
    'Idempotency-Key': Array.from(random, (byte) => byte.toString(16).padStart(2, '0')).join(''),
  };
  if (body) headers['Content-Type'] = 'application/json';
  const response = await fetch(address(path), { method: 'POST', headers, body: body && JSON.stringify(body) });
  if (!response.ok) throw await problem(response);
  return response.json();
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Follows the events for as long as the page is open. `load` reads the documents and returns their revision; it is
 * called at the start, and again if the service cannot continue after the last event.
 */
export async function follow({ load, receive, connection }) {
  let after = null;
  for (let wait = 500; ; wait = Math.min(wait * 2, 8_000)) {
    try {
      if (after === null) after = await load();
      await read(after, (id) => { after = id; }, receive, () => {
        wait = 500;
        connection('live');
      });
    } catch (error) {
      if (error.status === 401) return connection('refused', error.message);
      if (error.status === 409) after = null;
      connection('lost', error.status ? error.message : 'the service does not answer');
    }
    await pause(wait);
  }
}

async function read(after, seen, receive, opened) {
  const abort = new AbortController();
  let silence = setTimeout(() => abort.abort(), SILENCE_MS);
  try {
    const headers = { Authorization: `Bearer ${token}`, 'Last-Event-ID': String(after) };
    const response = await fetch(address('/events'), { headers, signal: abort.signal });
    if (!response.ok) throw await problem(response);
    opened();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done) throw new Error('the stream ended');
      clearTimeout(silence);
      silence = setTimeout(() => abort.abort(), SILENCE_MS);
      const blocks = (text + value).split('\n\n');
      text = blocks.pop();
      for (const block of blocks) {
        let id = null;
        let data = '';
        for (const line of block.split('\n')) {
          if (line.startsWith('id: ')) id = Number(line.slice(4));
          if (line.startsWith('data: ')) data += line.slice(6);
        }
        if (data) receive(JSON.parse(data));
        if (id !== null) seen(id);
      }
    }
  } finally {
    clearTimeout(silence);
    abort.abort();
  }
}
