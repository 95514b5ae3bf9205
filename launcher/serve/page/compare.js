// Some runs beside each other: their numbers, the keys of their configs that differ, their curves.
import {el, askJson, askText, runPath, stateBadge, number, repeat} from '/dom.js';
import {Curves, makeCharts} from '/curves.js';

const METRICS = [
  ['Loss', {log: true}, 'loss'], ['AP', {}, 'eval.AP'], ['AP50', {}, 'eval.AP50'],
  ['Samples per second', {}, 'images_per_s'], ['Gradient norm', {log: true}, 'grad_norm'],
  ['Memory per rank', {unit: 'MiB', scale: 1 / 2 ** 20}, 'memory_bytes'],
];

// "a:\n  b: 1" becomes {"a.b": "1"}; enough for the YAML that muster writes.
export function flatten(yaml) {
  const flat = new Map(), path = [];
  for (const line of yaml.split('\n')) {
    const found = /^( *)("[^"]*"|[^\s#:][^:]*):\s*(.*)$/.exec(line);
    if (!found) {
      const item = /^\s*- (.*)$/.exec(line);
      if (item && path.length) flat.set(path.map((p) => p[1]).join('.'), `${flat.get(path.map((p) => p[1]).join('.')) ?? ''} ${item[1]}`.trim());
      continue;
    }
    const depth = found[1].length;
    while (path.length && path.at(-1)[0] >= depth) path.pop();
    path.push([depth, found[2]]);
    if (found[3] !== '') flat.set(path.map((p) => p[1]).join('.'), found[3]);
  }
  return flat;
}

async function differences(ids, place) {
  const configs = await Promise.all(ids.map((id) => askText(runPath(id, '/config')).then(flatten, () => new Map())));
  const keys = [...new Set(configs.flatMap((config) => [...config.keys()]))].sort();
  const differing = keys.filter((key) => new Set(configs.map((config) => config.get(key))).size > 1);
  place.replaceChildren(el('h2', {}, 'Configs'), differing.length === 0 ? el('p', {class: 'note'}, 'No key differs.')
    : el('div', {class: 'card wide'}, el('table', {}, el('caption', {class: 'hidden'}, 'Keys that differ'),
      el('thead', {}, el('tr', {}, el('th', {scope: 'col'}, 'Key'), ...ids.map((id) => el('th', {scope: 'col'}, id)))),
      el('tbody', {}, ...differing.map((key) => el('tr', {}, el('th', {scope: 'row'}, key), ...configs.map((config) => el('td', {}, config.get(key) ?? '–'))))))));
}

export function showComparison(view, life, ids) {
  const all = ids.slice(0, 8).map((id) => new Curves(id));
  const charts = makeCharts(METRICS.map(([title, options, key]) =>
    [title, options, () => all.map((curves) => ({name: curves.id, points: curves.get(key)}))]));
  const numbers = el('tbody'), configs = el('section');
  life.trouble = el('div');
  view.replaceChildren(el('p', {class: 'crumbs'}, el('a', {href: '#/'}, 'Runs')), el('h1', {}, `${ids.length} runs compared`), life.trouble,
    el('div', {class: 'card wide'}, el('table', {}, el('caption', {class: 'hidden'}, 'Runs'), el('thead', {}, el('tr', {},
      ...['Run', 'State', 'Step', 'Best AP', 'Loss', 'Samples/s'].map((name, i) => el('th', {scope: 'col', class: ['', '', 'n', 'n', 'n wide-only', 'n wide-only'][i]}, name)))), numbers)),
    el('section', {class: 'charts', 'aria-label': 'curves'}, ...charts.map(({chart}) => chart.node)), configs);
  differences(ids, configs).catch(() => configs.replaceChildren());
  repeat(async () => {
    const runs = await Promise.all(ids.map((id) => askJson(runPath(id))));
    const more = await Promise.all(all.map((curves) => curves.update()));
    if (life.ended) return false;
    numbers.replaceChildren(...runs.map((run, i) => el('tr', {},
      el('th', {scope: 'row'}, el('i', {class: `key c${i % 8}`, 'aria-hidden': 'true'}), el('a', {href: `#/run/${encodeURIComponent(run.id)}`}, run.id)), el('td', {}, stateBadge(run)),
      el('td', {class: 'n'}, String(run.step)), el('td', {class: 'n'}, run.best_ap ? run.best_ap.value.toFixed(3) : '–'),
      el('td', {class: 'n wide-only'}, number(run.loss)), el('td', {class: 'n wide-only'}, run.images_per_s ? number(run.images_per_s) : '–'))));
    for (const {chart, pick} of charts) chart.draw(pick());
    return more.some(Boolean) || runs.some((run) => run.state === 'running');
  }, life);
}
