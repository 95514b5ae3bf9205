
'use strict';
// The filters, and the enlarged picture. Every box is a <g class="b"> with data-c (class), data-z
// (side of a square of its area), data-s (score), data-v (tp, fp, truth), data-l, data-p.
(() => {
  const one = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);
  const valueOf = (id) => (byId(id) ? byId(id).value : '');
  const ticked = (id) => !byId(id) || byId(id).checked;

  // A truth is missed when no prediction that found it has the score that is asked for.
  function verdict(box, least) {
    const kind = box.dataset.v || '';
    if (kind !== 'truth') return kind;
    const found = box.dataset.s !== undefined && Number(box.dataset.s) >= least;
    box.classList.toggle('hit', found);
    return found ? 'truth' : 'fn';
  }

  function wanted() {
    const size = valueOf('size');
    return {
      name: valueOf('name').trim().toLowerCase(),
      category: valueOf('class'),
      tag: valueOf('tag'),
      size: size ? size.split(',').map(Number) : null,
      least: byId('score') ? Number(valueOf('score')) : 0,
    };
  }

  function boxIsWanted(box, want) {
    const kind = verdict(box, want.least);
    if (want.category && box.dataset.c !== want.category) return false;
    const side = Number(box.dataset.z);
    if (want.size && (side < want.size[0] || side >= want.size[1])) return false;
    if ((kind === 'tp' || kind === 'fp') && Number(box.dataset.s) < want.least) return false;
    return !kind || ticked(kind);
  }

  function cardIsWanted(card, want, boxesShown) {
    if (want.name && !one('h3', card).textContent.toLowerCase().includes(want.name)) return false;
    if (want.tag && !all('.tags li', card).some((tag) => tag.textContent === want.tag)) return false;
    return boxesShown > 0 || !(want.category || want.size);
  }

  function filter() {
    const want = wanted();
    if (byId('atleast')) byId('atleast').textContent = want.least.toFixed(2);
    document.body.classList.toggle('nolabels', !ticked('labels'));
    let cards = 0, cardsShown = 0, boxes = 0, boxesShown = 0;
    for (const card of all('.card')) {
      const inCard = all('.b', card);
      let shown = 0;
      for (const box of inCard) {
        const keep = boxIsWanted(box, want);
        box.toggleAttribute('hidden', !keep);
        box.style.display = keep ? '' : 'none';
        shown += keep ? 1 : 0;
      }
      card.hidden = !cardIsWanted(card, want, shown);
      cards += 1;
      boxes += inCard.length;
      cardsShown += card.hidden ? 0 : 1;
      boxesShown += card.hidden ? 0 : shown;
    }
    for (const section of all('section.cards')) section.hidden = !one('.card:not([hidden])', section);
    byId('count').textContent =
        `${cardsShown} of ${cards} samples, ${boxesShown} of ${boxes} boxes`;
  }

  // Labels keep their size on the screen, however large the picture is drawn.
  function fitLabels(picture) {
    const matrix = picture.getScreenCTM();
    if (matrix && matrix.a > 0) picture.style.fontSize = `${12 / matrix.a}px`;
  }
  const watcher = new ResizeObserver((seen) => seen.forEach((entry) => fitLabels(entry.target)));

  const big = byId('big');
  let opened = null;
  const views = () => all('.card:not([hidden]) .view');

  function light(box, row, on) {
    box.classList.toggle('on', on);
    row.classList.toggle('on', on);
  }

  function cell(row, kind, text) {
    const made = document.createElement(kind);
    made.textContent = text;
    made.dir = 'auto';
    row.append(made);
  }

  function listBoxes(picture) {
    const table = one('table', big);
    table.replaceChildren();
    const shown = all('.b', picture).filter((box) => !box.hasAttribute('hidden'));
    if (shown.length === 0) return;
    const scored = shown.some((box) => box.dataset.s !== undefined);
    const names = ['label', 'box in pixels', 'side'].concat(scored ? ['score', 'is'] : []);
    const head = table.createTHead().insertRow();
    names.forEach((name) => cell(head, 'th', name));
    const body = table.createTBody();
    for (const box of shown) {
      const row = body.insertRow();
      const data = box.dataset;
      const missed = data.v === 'truth' && !box.classList.contains('hit');
      const is = {tp: 'found', fp: 'false', truth: missed ? 'missed' : 'truth of found'}[data.v] || '';
      const score = data.s === undefined || data.v === 'truth' ? '' : Number(data.s).toFixed(2);
      const cells = [data.l, data.p, data.z].concat(scored ? [score, is] : []);
      cells.forEach((text) => cell(row, 'td', text));
      row.addEventListener('mouseenter', () => light(box, row, true));
      row.addEventListener('mouseleave', () => light(box, row, false));
      box.addEventListener('mouseenter', () => light(box, row, true));
      box.addEventListener('mouseleave', () => light(box, row, false));
    }
  }

  function show(view) {
    opened = view;
    const picture = one('.pic', view).cloneNode(true);
    one('.bigview', big).replaceChildren(picture);
    one('h2', big).textContent = one('h3', view.closest('.card')).textContent;
    listBoxes(picture);
    if (!big.open) big.showModal();
    watcher.observe(picture);
    fitLabels(picture);
  }

  function step(by) {
    const list = views();
    const at = list.indexOf(opened);
    if (list.length > 0) show(list[(at + by + list.length) % list.length]);
  }

  document.addEventListener('click', (event) => {
    const view = event.target.closest('.view');
    if (view) show(view);
    const category = event.target.closest('.classes button');
    if (category && byId('class')) {
      byId('class').value = category.dataset.c;
      filter();
    }
    if (event.target === big) big.close();
  });
  byId('before').addEventListener('click', () => step(-1));
  byId('after').addEventListener('click', () => step(1));
  byId('close').addEventListener('click', () => big.close());
  big.addEventListener('close', () => opened && opened.focus());
  document.addEventListener('keydown', (event) => {
    if (big.open && event.key === 'ArrowLeft') step(-1);
    if (big.open && event.key === 'ArrowRight') step(1);
    if (big.open || event.key !== '/' || event.target.matches('input, select')) return;
    event.preventDefault();
    byId('name').focus();
  });

  const form = byId('filters');
  form.addEventListener('input', filter);
  form.addEventListener('submit', (event) => event.preventDefault());
  form.addEventListener('reset', () => setTimeout(filter));
  for (const picture of all('.pic')) watcher.observe(picture);
  filter();
})();
