// The history of decisions: each permission request and plan that was decided or withdrawn.

import { html, useState } from './vendor/htm-preact.js';
import { Rows, State, Text } from './parts.js';
import { state } from './store.js';
import { clock, visible, visibleCall } from './text.js';
import { fields } from './waiting.js';

export function Decisions() {
  const all = state.decided;
  return html`<section aria-labelledby="decisions">
    <h2 id="decisions">Decisions ${all && html`<span class="count">${all.length.toLocaleString('en')}</span>`}</h2>
    ${!all && html`<p class="quiet">Reading the decisions…</p>`}
    ${all?.length === 0 && html`<p class="quiet">No request was decided.</p>`}
    ${all && html`<${Rows} of=${all} class="decisions" row=${(request) => html`<${Decision} key=${request.id} request=${request} />`} />`}
  </section>`;
}

const summary = ({ plan, tool, input }) => (plan ? `plan ${plan}` : `${tool} ${input?.command ?? input?.path ?? input?.url ?? ''}`);

function Decision({ request }) {
  const [open, setOpen] = useState(false);
  const { id, member, decided_by: by, scope, reason } = request;
  return html`<li class="task"><details onToggle=${(event) => setOpen(event.target.open)}>
    <summary><b>${id}</b> <${State} of=${request.state} /> ${visible(member)}: ${visible(summary(request).slice(0, 160))}
      <span class="quiet"> ${[by && `by ${by}`, scope && `scope ${scope}`, `asked ${clock(request.asked_at)}`].filter(Boolean).map(visible).join(' · ')}</span></summary>
    ${open && html`<dl>${reason && html`<dt>reason</dt><dd>${visible(reason)}</dd>`}
      <dt>directory</dt><dd>${visible(request.directory)}</dd>
      ${fields(request).map(([name, value]) => html`<dt key=${name}>${visibleCall(name)}</dt>
        <dd><${Text} text=${value} show=${visibleCall} diff=${name === 'diff' && !request.tool.startsWith('mcp__')} /></dd>`)}</dl>`}
  </details></li>`;
}
