// What failed first, which row of the diary explains it, and what to change.
import {el, askJson, runPath, problem} from '/dom.js';

// Words between backticks are code.
const prose = (text) => el('p', {}, ...text.split('`').map((part, i) => (i % 2 ? el('code', {}, part) : part)));

function first(culprit) {
  if (!culprit) return el('p', {}, 'Nothing failed: every rank ended with code 0, or still runs.');
  const facts = [['rank', culprit.rank], ['host', culprit.host], ['phase', culprit.phase], ['step', culprit.step], ['micro-step', culprit.micro_step],
    ['collective', culprit.collective], ['bucket', culprit.bucket], ['signal', culprit.signal || null], ['exit code', culprit.exit_code],
    ['samples', culprit.samples?.length ? culprit.samples.join(', ') : null]];
  return el('div', {}, el('h2', {}, culprit.rank === null ? 'No single rank failed first' : `Rank ${culprit.rank} failed first`),
    el('dl', {class: 'tiles'}, ...facts.filter(([, value]) => value !== null && value !== undefined)
      .map(([name, value]) => el('div', {class: 'tile'}, el('dt', {}, name), el('dd', {}, String(value))))),
    culprit.error ? el('pre', {class: 'log', tabindex: '0'}, culprit.error) : null);
}

// What the value should be is not always known.
const changed = ({key, old, new: better, file, line}) => `${key}: ${old}${better ? ` -> ${better}` : ''}${file ? `   (${file}:${line})` : ''}`;

function row(match) {
  const changes = match.config?.length ? el('div', {}, el('h4', {}, 'In the config'), el('pre', {class: 'log', tabindex: '0'},
    match.config.map(changed).join('\n'))) : null;
  return el('article', {class: 'card diary'}, el('h3', {}, `${match.id} `, el('small', {}, match.role)), prose(match.symptom),
    el('h4', {}, 'Cause'), prose(match.cause), el('h4', {}, 'What to do'), prose(match.fix), changes,
    el('p', {class: 'note'}, `Try again: ${match.retry}`), el('h4', {}, 'Evidence'), el('pre', {class: 'log', tabindex: '0'}, match.evidence));
}

export async function showTriage(view, life, id) {
  const place = el('div', {'aria-busy': 'true'}, el('p', {class: 'note'}, 'reading what the run left behind ...'));
  view.replaceChildren(el('p', {class: 'crumbs'}, el('a', {href: '#/'}, 'Runs'), ' / ', el('a', {href: `#/run/${encodeURIComponent(id)}`}, id)),
    el('h1', {}, 'Triage'), place);
  try {
    const verdict = await askJson(runPath(id, '/triage'));
    if (life.ended) return;
    const unexplained = verdict.first && verdict.matches.length === 0
      ? el('p', {class: 'problem'}, 'No row of the diary explains this; `muster triage --append` drafts one.') : null;
    place.replaceChildren(...[first(verdict.first), unexplained, ...verdict.matches.map(row), ...(verdict.notes ?? []).map(row)].filter(Boolean));
  } catch (error) {
    place.replaceChildren(problem(error));
  }
  place.removeAttribute('aria-busy');
}
