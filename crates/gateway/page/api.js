// Requests to the service and its stream of events. The token comes from the fragment of the address and is kept for
// this tab only. Nothing else in the page may read it.

const KEY = 'agent-team-token';
const SILENCE_MS = 40_000; // The service sends a comment every 15 s.
const REPLAY_SILENCE_MS = 1_000;
// A request that gets no answer would otherwise stop the page: the next one waits for it.
const GET_MAX_MS = 20_000;
const POST_MAX_MS = 60_000;
const TOKEN = /^[A-Za-z0-9_-]{32,}$/; // Other fragments, such as a link to a part of the page, are not tokens.

let token = sessionStorage.getItem(KEY);

/** Moves a token from the fragment into the storage of this tab. Returns whether the fragment had one. */
export function takeToken() {
  const given = location.hash.slice(1);
  if (!TOKEN.test(given)) return false;
  token = given;
  sessionStorage.setItem(KEY, given);
  history.replaceState(history.state, '', location.pathname + location.search);
  return true;
}

export const hasToken = () => Boolean(token);

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
  const response = await fetch(address(path, query), {
    headers: { Authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(GET_MAX_MS),
  });
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
  const response = await fetch(address(path), {
    method: 'POST', headers, body: body && JSON.stringify(body), signal: AbortSignal.timeout(POST_MAX_MS),
  });
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
      const opened = () => {
        wait = 500;
        connection('live');
      };
      await read(after, (id) => { after = id; }, receive, opened, new AbortController());
    } catch (error) {
      if (error.status === 401) return connection('refused', error.message);
      if (error.status === 409) after = null;
      connection('lost', error.status ? error.message : 'the service does not answer');
    }
    await pause(wait);
  }
}

/**
 * Reads the stored events up to this revision, the oldest first. Continues after a cut as long as events arrive. Not
 * each revision has an event, so a connection that stays silent from its start also ends it.
 */
export async function replay(until, receive) {
  for (let last = 0; last < until;) {
    const before = last;
    const abort = new AbortController();
    let isSilent = false;
    let silence;
    const wait = () => {
      clearTimeout(silence);
      silence = setTimeout(() => {
        isSilent = true;
        abort.abort();
      }, REPLAY_SILENCE_MS);
    };
    const seen = (id) => {
      last = id;
      wait();
      if (id >= until) abort.abort();
    };
    try {
      await read(last, seen, (envelope) => envelope.revision <= until && receive(envelope), wait, abort);
    } catch (error) {
      if (last !== before) continue;
      if (isSilent) return;
      throw error;
    } finally {
      clearTimeout(silence);
    }
  }
}

async function read(after, seen, receive, opened, abort) {
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
