// The table of runs.
import {el, askJson, stateBadge, progressOf, number, duration, ago, failed, repeat, say} from '/dom.js';

const COLUMNS = [
  ['Run', ''], ['State', ''], ['Step', ''], ['Best AP', 'n'], ['Loss', 'n wide-only'],
  ['Samples/s', 'n wide-only'], ['To go', 'n'], ['Changed', 'n wide-only'],
];

function cells(run) {
  const href = `#/run/${encodeURIComponent(run.id)}`;
  return [
    el('th', {scope: 'row', role: 'rowheader'}, el('a', {href}, run.id), run.error ? el('small', {}, run.error) : null),
    el('td', {role: 'cell'}, stateBadge(run), failed(run) ? el('a', {class: 'why', href: href + '/triage'}, 'why?') : null),
    el('td', {role: 'cell'}, run.error ? '–' : progressOf(run)),
    el('td', {class: 'n', role: 'cell', 'data-label': 'best AP'}, run.best_ap ? el('span', {title: `at step ${run.best_ap.step}`}, run.best_ap.value.toFixed(3)) : '–'),
    el('td', {class: 'n wide-only', role: 'cell'}, number(run.loss)),
    el('td', {class: 'n wide-only', role: 'cell'}, run.images_per_s ? number(run.images_per_s) : '–'),
    el('td', {class: 'n', role: 'cell', 'data-label': 'to go'}, run.state === 'running' ? duration(run.eta_s) : '–'),
    el('td', {class: 'n wide-only', role: 'cell'}, ago(run.changed)),
  ];
}

export function showRuns(view, life) {
  const ticked = new Set();
  const rows = el('tbody', {role: 'rowgroup'});   // roles: on a telephone the style sheet makes no table of it
  const compare = el('button', {type: 'button', disabled: true, onclick: () => {
    location.hash = '#/compare/' + [...ticked].map(encodeURIComponent).join(',');
  }}, 'Compare');
  const filter = el('input', {type: 'search', id: 'filter', placeholder: 'part of a name', autocomplete: 'off'});
  const empty = el('p', {class: 'note', hidden: true}, 'No run is here yet. `muster launch CONFIG -n 2` starts one; it appears by itself.');
  life.trouble = el('div');
  let known = [];

  const count = () => {
    compare.disabled = ticked.size < 2;
    compare.textContent = ticked.size < 2 ? 'Compare' : `Compare ${ticked.size} runs`;
  };
  const tick = (run) => el('td', {class: 'tick', role: 'cell'}, el('input', {type: 'checkbox', checked: ticked.has(run.id), 'aria-label': `compare ${run.id}`, onchange: (event) => {
    if (event.target.checked) ticked.add(run.id);
    else ticked.delete(run.id);
    count();
  }}));
  const draw = () => {
    const word = filter.value.toLowerCase();
    const shown = known.filter((run) => run.id.toLowerCase().includes(word));
    const focused = document.activeElement?.closest('tr')?.dataset.run;
    const focusedTag = document.activeElement?.tagName;
    rows.replaceChildren(...shown.map((run) => el('tr', {'data-run': run.id, role: 'row'}, tick(run), ...cells(run))));
    if (focused !== undefined)   // who goes through the table by keyboard stays where he is
      [...rows.children].find((row) => row.dataset.run === focused)?.querySelector(focusedTag === 'INPUT' ? 'input' : 'a')?.focus();
    empty.hidden = known.length > 0;
  };
  filter.addEventListener('input', draw);

  view.replaceChildren(
    el('div', {class: 'title'}, el('h1', {}, 'Runs'), el('label', {for: 'filter'}, el('span', {}, 'Name'), filter), compare),
    life.trouble, empty,
    el('div', {class: 'card wide'}, el('table', {class: 'runs', role: 'table'},
      el('caption', {class: 'hidden'}, 'Runs, the newest first'),
      el('thead', {role: 'rowgroup'}, el('tr', {role: 'row'}, el('th', {class: 'tick', scope: 'col', role: 'columnheader'}, el('span', {class: 'hidden'}, 'Compare')),
        ...COLUMNS.map(([name, kind]) => el('th', {class: kind, scope: 'col', role: 'columnheader'}, name)))), rows)));

  repeat(async () => {
    const before = new Map(known.map((run) => [run.id, run.state]));
    known = await askJson('/v1/runs');
    draw();
    for (const run of known)
      if (before.has(run.id) && before.get(run.id) !== run.state) say(`${run.id}: ${run.state}`);
    return known.some((run) => run.state === 'running' || run.metrics_read < 1);
  }, life);
}
