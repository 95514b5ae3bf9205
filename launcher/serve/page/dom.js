// Elements, numbers for people, and questions to the server. Text from outside only ever becomes a
// text node or an attribute.
export const SVG = 'http://www.w3.org/2000/svg';

function put(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

export const el = (tag, attributes = {}, ...children) =>
  put(document.createElement(tag), attributes, children);
export const svg = (tag, attributes = {}, ...children) =>
  put(document.createElementNS(SVG, tag), attributes, children);

// Says a sentence to who listens instead of looking.
export function say(text) {
  document.getElementById('said').textContent = text;
}

export class Refusal extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function reason(answer) {
  try {
    return (await answer.json()).error || `status ${answer.status}`;
  } catch {
    return `status ${answer.status}`;
  }
}

export async function ask(path, options = {}) {
  const answer = await fetch(path, {credentials: 'same-origin', ...options});
  if (!answer.ok) throw new Refusal(answer.status, await reason(answer));
  return answer;
}
export const askJson = async (path, options) => (await ask(path, options)).json();
export const askText = async (path) => (await ask(path)).text();
export const runPath = (id, rest = '') => `/v1/runs/${encodeURIComponent(id)}${rest}`;

export function number(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  if (size >= 1e9) return `${trim(value / 1e9)}G`;
  if (size >= 1e6) return `${trim(value / 1e6)}M`;
  if (size >= 1e4) return `${trim(value / 1e3)}k`;
  if (size !== 0 && size < 1e-3) return value.toExponential(1);
  return trim(value);
}
const trim = (value) => String(Number(value.toPrecision(4)));

export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return '–';
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, '0')} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${String(Math.floor(s / 60) % 60).padStart(2, '0')} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

export function ago(unixSeconds) {
  if (!unixSeconds) return '–';
  return `${duration(Date.now() / 1000 - unixSeconds)} ago`;
}

export const bytes = (value) => (value >= 2 ** 30 ? `${trim(value / 2 ** 30)} GiB` : `${trim(value / 2 ** 20)} MiB`);

// Good, moving, bad or still: a word and a shape, never a colour alone.
export function stateKind(run) {
  if (run.error) return 'bad';
  if (run.state === 'running') return 'moving';
  if (run.exit_code === 0) return 'good';
  if (run.exit_code === 75 || !run.state || run.state === 'not started') return 'still';
  return run.exit_code || run.state === 'lost' ? 'bad' : 'still';
}
export function stateBadge(run) {
  const kind = stateKind(run);
  const sign = {good: '✓', moving: '▶', bad: '✕', still: '•'}[kind];
  return el('span', {class: `badge ${kind}`}, el('i', {'aria-hidden': 'true'}, sign), run.error ? 'unreadable' : run.state);
}
export const failed = (run) => stateKind(run) === 'bad' && !run.error;

export function progressOf(run) {
  if (!run.max_steps) return el('span', {}, `${run.step ?? '–'}`);
  return el('span', {class: 'progress'},
    el('progress', {max: run.max_steps, value: Math.min(run.step, run.max_steps), 'aria-label': `step ${run.step} of ${run.max_steps}`}),
    el('span', {}, `${run.step} / ${run.max_steps}`));
}

export function problem(error) {
  const hint = error.status === 401 ? ' Open the address that `muster serve` printed.' : '';
  return el('p', {class: 'problem', role: 'alert'}, `${error.message}.${hint}`);
}

// Calls `work` again and again while its page is shown: soon while it says true, seldom else.
export function repeat(work, life) {
  const turn = async () => {
    if (life.ended) return;
    let soon = false;
    if (!document.hidden) {
      try {
        soon = await work();
        life.trouble?.replaceChildren();
      } catch (error) {
        if (life.ended) return;
        life.trouble?.replaceChildren(problem(error));
      }
    }
    life.timer = setTimeout(turn, soon ? 2000 : 8000);
  };
  return turn();
}
