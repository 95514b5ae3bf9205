// Which page is shown: the part of the address after #.
import {el} from '/dom.js';
import {showRuns} from '/runs.js';
import {showRun} from '/run.js';
import {showComparison} from '/compare.js';
import {showTriage} from '/triage.js';
import {showTry} from '/try.js';

const view = document.getElementById('view');
let life = {ended: true};
let first = true;

function route(parts) {
  const [page, what, more] = parts;
  if (page === 'try') return ['try', 'Try it', () => showTry(view, life)];
  if (page === 'run' && what && more === 'triage') return ['runs', `Triage of ${decodeURIComponent(what)}`, () => showTriage(view, life, decodeURIComponent(what))];
  if (page === 'run' && what) return ['runs', decodeURIComponent(what), () => showRun(view, life, decodeURIComponent(what))];
  if (page === 'compare' && what) return ['runs', 'Comparison', () => showComparison(view, life, what.split(',').map(decodeURIComponent))];
  if (!page) return ['runs', 'Runs', () => showRuns(view, life)];
  return ['', 'Not here', () => view.replaceChildren(el('h1', {}, 'There is no such page'), el('a', {href: '#/'}, 'Runs'))];
}

function show() {
  if (location.hash === '#view') return;   // the link that skips to the content
  life.ended = true;
  clearTimeout(life.timer);
  life.end?.();
  life = {ended: false};
  const [page, title, draw] = route(location.hash.replace(/^#\/?/, '').split('/'));
  document.title = `${title} - muster`;
  for (const link of document.querySelectorAll('nav a'))
    if (link.dataset.page === page) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  draw();
  if (!first) {   // who listens hears where he is now
    window.scrollTo(0, 0);
    view.focus({preventScroll: true});
  }
  first = false;
}

window.addEventListener('hashchange', show);
show();
