// One run, as it happens: what it is at, curves that move, ranks, log, pictures.
import {el, askJson, askText, ask, runPath, stateBadge, progressOf, number, duration, bytes, failed, repeat, say} from '/dom.js';
import {Curves, makeCharts} from '/curves.js';

const tile = (name, value) => el('div', {class: 'tile'}, el('dt', {}, name), el('dd', {}, value));
const last = (curves, key) => curves.get(key).at(-1)?.[1];

function tiles(run, curves) {
  const memory = last(curves, 'memory_bytes');
  return [
    tile('step', progressOf(run)),
    tile('loss', number(run.loss)),
    tile(run.best_ap ? `best AP, step ${run.best_ap.step}` : 'best AP', run.best_ap ? run.best_ap.value.toFixed(3) : '–'),
    tile('to go', run.state === 'running' ? duration(run.eta_s) : '–'),
    tile('samples per second', run.images_per_s ? number(run.images_per_s) : '–'),
    tile('memory per rank', memory ? bytes(memory) : '–'),
    tile('restarts', String(run.restarts ?? 0)),
  ];
}

function rankRow(rank) {
  return el('tr', {}, el('th', {scope: 'row'}, String(rank.rank)), el('td', {class: 'wide-only'}, rank.host || '–'), el('td', {}, rank.phase || '–'),
    el('td', {class: 'n'}, rank.step >= 0 ? String(rank.step) : '–'),
    el('td', {class: 'n'}, rank.end ? rank.end : `${duration(rank.silent_s)} ago`));
}

function table(caption, heads, rows) {
  return el('div', {class: 'card wide'}, el('table', {}, el('caption', {class: 'hidden'}, caption),
    el('thead', {}, el('tr', {}, ...heads.map(([name, kind]) => el('th', {class: kind, scope: 'col'}, name)))), el('tbody', {}, ...rows)));
}

function ranks(run) {
  if (!run.ranks?.length) return [];
  return [el('h2', {}, 'Ranks'),
    table('Ranks', [['Rank', ''], ['Host', 'wide-only'], ['Phase', ''], ['Step', 'n'], ['Newest beat', 'n']], run.ranks.map(rankRow))];
}

function attempts(run) {
  if (!run.attempts?.length) return [];
  return [el('h2', {}, 'Attempts'),
    table('Attempts', [['Attempt', ''], ['Ended', ''], ['After', 'n wide-only'], ['What', '']], run.attempts.map((one) =>
      el('tr', {}, el('th', {scope: 'row'}, String(one.attempt)), el('td', {}, one.ending), el('td', {class: 'n wide-only'}, duration(one.seconds)), el('td', {}, one.what)))),
    ...(run.changes ?? []).map((what) => el('p', {class: 'note'}, `changed: ${what}`))];
}

function notices(run, href) {
  const shown = [];
  if (failed(run)) {
    const what = run.first?.what || run.what || run.state;
    shown.push(el('p', {class: 'problem'}, `${what} `, el('a', {href: `${href}/triage`}, 'Why, and what to change')));
  }
  for (const file of run.damaged ?? []) shown.push(el('p', {class: 'problem'}, `${file} is damaged and left out (R-029)`));
  return shown;
}

// The end of one log; which one is chosen by name.
class LogTail {
  constructor(id) {
    this.id = id;
    this.choice = el('select', {id: 'log', onchange: () => this.update()});
    this.text = el('pre', {class: 'log', tabindex: '0', 'aria-label': 'end of the log'});
    this.node = el('section', {hidden: true}, el('div', {class: 'title'}, el('h2', {}, 'Log'), el('label', {for: 'log'}, el('span', {}, 'File'), this.choice)), this.text);
    this.names = '';
  }
  async update(names) {
    if (names && names.join() !== this.names) {
      this.names = names.join();
      const kept = this.choice.value || (names.includes('launcher.log') ? 'launcher.log' : names[0]);
      this.choice.replaceChildren(...names.map((name) => el('option', {value: name}, name)));
      if (names.includes(kept)) this.choice.value = kept;
      this.node.hidden = names.length === 0;
    }
    if (!this.choice.value) return;
    const text = await askText(runPath(this.id, `/logs/${encodeURIComponent(this.choice.value)}`));
    const atEnd = this.text.scrollHeight - this.text.scrollTop - this.text.clientHeight < 40;
    if (this.text.textContent !== text) this.text.textContent = text;
    if (atEnd) this.text.scrollTop = this.text.scrollHeight;
  }
}

async function pictures(id, count, place) {
  const all = count > 0 ? (await askJson(runPath(id, '/pictures'))).slice(0, 24) : [];
  place.replaceChildren(el('div', {class: 'title'}, el('h2', {}, 'Predictions'),
    el('a', {class: 'button', href: runPath(id, '/gallery'), target: '_blank', rel: 'noopener'}, 'Truth beside predictions'),
    el('span', {class: 'note'}, 'a page that is made when it is opened')),
    all.length === 0 ? el('p', {class: 'note'}, 'The run has drawn none yet.') : null,
    el('div', {class: 'pictures'}, ...all.map((one) => {
      const many = one.detections?.length ?? 0;
      return el('figure', {class: 'card'}, el('img', {src: runPath(id, `/pictures/${encodeURIComponent(one.picture)}`), loading: 'lazy', alt: `${one.picture}: ${many} detections`}),
        el('figcaption', {}, `${one.picture.replace(/\.png$/, '')}: ${many} ${many === 1 ? 'detection' : 'detections'}`));
    })));
}

function stopButton(id, server, run, life) {
  if (!server.writable || run.state !== 'running') return null;
  return el('button', {type: 'button', onclick: async (event) => {
    if (!confirm(`Stop ${id} after a checkpoint?`)) return;
    event.target.disabled = true;
    try {
      say((await (await ask(runPath(id, '/stop'), {method: 'POST'})).json()).done);
    } catch (error) {
      life.trouble.textContent = error.message;
    }
  }}, 'Checkpoint and stop');
}

export function showRun(view, life, id) {
  const href = `#/run/${encodeURIComponent(id)}`;
  const curves = new Curves(id), charts = makeCharts(), log = new LogTail(id);
  const badge = el('span'), actions = el('span'), top = el('div'), facts = el('dl', {class: 'tiles'}), below = el('div'), shown = el('section'), reading = el('p', {class: 'note'});
  life.trouble = el('div');
  view.replaceChildren(el('p', {class: 'crumbs'}, el('a', {href: '#/'}, 'Runs')),
    el('div', {class: 'title'}, el('h1', {}, id), badge, el('a', {class: 'button', href: `${href}/triage`}, 'Triage'), actions),
    life.trouble, top, facts, reading, el('section', {class: 'charts', 'aria-label': 'curves'}, ...charts.map(({chart}) => chart.node)), below, log.node, shown);
  let state = '', count = -1, server = null;
  repeat(async () => {
    server ??= await askJson('/v1/server');
    const run = await askJson(runPath(id));
    const more = await curves.update();
    if (life.ended) return false;
    if (state && state !== run.state) say(`${id}: ${run.state}`);
    state = run.state;
    badge.replaceChildren(stateBadge(run));
    actions.replaceChildren(...[stopButton(id, server, run, life)].filter(Boolean));
    top.replaceChildren(...notices(run, href));
    facts.replaceChildren(...tiles(run, curves));
    reading.textContent = more ? `reading metrics.jsonl: ${Math.round(curves.read * 100)} %` : '';
    for (const {chart, pick} of charts) chart.draw(pick(curves));
    below.replaceChildren(...ranks(run), ...attempts(run));
    await log.update(run.logs);
    if (run.pictures !== count) {
      count = run.pictures;
      await pictures(id, count, shown);
    }
    return more || run.state === 'running' || run.state.startsWith('running');
  }, life);
}
