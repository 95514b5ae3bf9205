// A picture in, boxes and captions out. The answer holds every box; the slider only chooses.
import {el, svg, ask, askJson, problem, say} from '/dom.js';

const COLORS = 8, LETTERS = 13;   // pixels of the screen, however large the picture

function save(name, type, text) {
  const link = el('a', {href: URL.createObjectURL(new Blob([text], {type})), download: name});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

const quoted = (text) => `"${String(text).replaceAll('"', '""')}"`;
// A caption that a spreadsheet would run as a formula is made a text.
const cell = (text) => quoted(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text);
export function asCsv(entry, kept) {
  const lines = kept.map((d) => [cell(entry.image), cell(d.caption), d.score, ...d.box, d.category_id].join(','));
  return ['image,caption,score,x1,y1,x2,y2,category_id', ...lines].join('\r\n') + '\r\n';
}

class Trial {
  constructor(detector) {
    this.detector = detector;
    this.file = null;
    this.entry = null;
    this.colors = new Map();
    this.prompt = el('input', {id: 'prompt', maxlength: '2000', placeholder: detector.prompt || 'what to look for', autocomplete: 'off'});
    this.slider = el('input', {id: 'threshold', type: 'range', min: '0', max: '1', step: '0.01', value: String(detector.threshold ?? 0.5), oninput: () => this.draw()});
    this.shownThreshold = el('output', {for: 'threshold'});
    this.labels = el('input', {type: 'checkbox', id: 'labels', checked: true, onchange: () => this.draw()});
    this.again = el('button', {type: 'button', disabled: true, onclick: () => this.send()}, 'Ask again');
    this.json = el('button', {type: 'button', disabled: true, onclick: () => this.saveJson()}, 'JSON');
    this.csv = el('button', {type: 'button', disabled: true, onclick: () => save(this.stem() + '.csv', 'text/csv', asCsv(this.entry, this.kept()))}, 'CSV');
    this.image = el('img', {alt: '', onload: () => this.fit()});
    this.boxes = svg('svg', {class: 'boxes', role: 'img'});
    this.stage = el('div', {class: 'stage', hidden: true}, this.image, this.boxes);
    new ResizeObserver(() => this.draw()).observe(this.stage);
    this.rows = el('tbody');
    this.table = el('div', {class: 'card wide', hidden: true}, el('table', {}, el('caption', {class: 'hidden'}, 'Boxes'), el('thead', {}, el('tr', {},
      ...['Caption', 'Score', 'Box'].map((name) => el('th', {scope: 'col', class: name === 'Caption' ? null : 'n'}, name)))), this.rows));
    this.status = el('p', {class: 'note', id: 'answer'});
    this.prompt.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && this.file) this.send();
    });
  }

  stem() {
    return this.entry.image.replace(/\.[^.]*$/, '') || 'picture';
  }
  kept() {
    return this.entry.detections.filter((one) => one.score >= Number(this.slider.value));
  }
  saveJson() {
    save(this.stem() + '.json', 'application/json', JSON.stringify([{...this.entry, detections: this.kept()}], null, 1));
  }

  take(files) {
    const file = [...(files ?? [])].find((one) => one.type.startsWith('image/') || /\.(tiff?|bmp)$/i.test(one.name));
    if (!file) {
      this.status.replaceChildren(problem(new Error('That is no picture: JPEG, PNG, WebP, BMP and TIFF are read')));
      return;
    }
    this.file = file;
    this.entry = null;
    if (this.image.src) URL.revokeObjectURL(this.image.src);
    this.image.src = URL.createObjectURL(file);
    this.boxes.replaceChildren();
    this.stage.hidden = false;
    this.send();
  }

  // As large as the window allows, a small picture enlarged.
  fit() {
    const {naturalWidth: width, naturalHeight: height} = this.image;
    this.stage.style.width = `min(100%, ${Math.max(width, 560)}px, calc(75vh * ${width / height}))`;
  }

  async send() {
    const query = new URLSearchParams({threshold: '0', upright: '1', name: this.file.name || 'picture'});
    if (this.prompt.value.trim()) query.set('prompt', this.prompt.value.trim());
    this.again.disabled = true;
    this.stage.setAttribute('aria-busy', 'true');
    this.status.textContent = this.detector.open ? 'asking ...' : 'asking; the first question opens the checkpoint ...';
    const began = performance.now();
    try {
      const answer = await ask('/v1/detect?' + query, {method: 'POST', body: this.file, headers: {'Content-Type': this.file.type || 'application/octet-stream'}});
      [this.entry] = await answer.json();
      this.detector.open = true;
      this.seconds = (performance.now() - began) / 1000;
      this.draw();
      say(this.status.textContent);
    } catch (error) {
      this.status.replaceChildren(problem(error));
    }
    this.stage.removeAttribute('aria-busy');
    this.again.disabled = false;
    this.json.disabled = this.csv.disabled = this.entry === null;
  }

  color(caption) {
    if (!this.colors.has(caption)) this.colors.set(caption, this.colors.size % COLORS);
    return this.colors.get(caption);
  }

  draw() {
    this.shownThreshold.textContent = Number(this.slider.value).toFixed(2);
    if (!this.entry) return;
    const {width, height} = this.entry, kept = this.kept();
    this.boxes.setAttribute('viewBox', `0 0 ${width} ${height}`);
    this.boxes.setAttribute('aria-label', `${kept.length} boxes; the table below has them`);
    const size = LETTERS * width / (this.stage.clientWidth || width);
    this.boxes.replaceChildren(...[...kept].reverse().map((one) => this.box(one, size, width)));
    this.rows.replaceChildren(...kept.map((one) => this.row(one)));
    this.table.hidden = false;
    const best = this.entry.detections[0]?.score;
    this.status.textContent = `${kept.length} of ${this.entry.detections.length} boxes, ${this.seconds.toFixed(2)} s` +
      (kept.length === 0 && best !== undefined ? `; the best score is ${best.toFixed(3)}` : '');
  }

  // size: of its letters, in pixels of the picture.
  box(one, size, width) {
    const [x1, y1, x2, y2] = one.box;
    const group = svg('g', {class: `c${this.color(one.caption)}`}, svg('rect', {class: 'box', x: x1, y: y1, width: Math.max(0, x2 - x1), height: Math.max(0, y2 - y1)}));
    one.node = group;
    if (!this.labels.checked) return group;
    const text = `${one.caption} ${one.score.toFixed(2)}`, room = (text.length * 0.56 + 0.6) * size;
    const x = Math.max(0, Math.min(x1, width - room)), y = y1 > size * 1.4 ? y1 - size * 1.4 : y1;
    group.append(svg('rect', {class: 'plate', x, y, width: room, height: size * 1.4}),
      svg('text', {class: 'label', x: x + 0.3 * size, y: y + size * 1.05, 'font-size': size}, text));
    return group;
  }

  row(one) {
    const mark = (on) => () => one.node?.classList.toggle('chosen', on);
    return el('tr', {tabindex: '0', onfocus: mark(true), onblur: mark(false), onpointerenter: mark(true), onpointerleave: mark(false)},
      el('th', {scope: 'row'}, el('i', {class: `key c${this.color(one.caption)}`, 'aria-hidden': 'true'}), one.caption),
      el('td', {class: 'n'}, one.score.toFixed(3)), el('td', {class: 'n'}, one.box.map((edge) => Math.round(edge)).join(', ')));
  }
}

function dropZone(trial) {
  const choose = el('input', {type: 'file', id: 'file', accept: 'image/*,.tif,.tiff', class: 'hidden', onchange: (event) => trial.take(event.target.files)});
  const camera = el('input', {type: 'file', id: 'camera', accept: 'image/*', capture: 'environment', class: 'hidden', onchange: (event) => trial.take(event.target.files)});
  const zone = el('div', {class: 'drop', id: 'drop'}, el('p', {}, 'Drop a picture here, paste one, or'),
    el('p', {}, choose, el('label', {class: 'button', for: 'file'}, 'Choose a picture'), ' ', camera, el('label', {class: 'button', for: 'camera'}, 'Take a picture')));
  const over = (on) => (event) => {
    event.preventDefault();
    zone.classList.toggle('over', on);
  };
  zone.addEventListener('dragenter', over(true));
  zone.addEventListener('dragover', over(true));
  zone.addEventListener('dragleave', over(false));
  zone.addEventListener('drop', (event) => {
    over(false)(event);
    trial.take(event.dataTransfer.files);
  });
  return zone;
}

export async function showTry(view, life) {
  view.replaceChildren(el('h1', {}, 'Try it'));
  let server;
  try {
    server = await askJson('/v1/server');
  } catch (error) {
    view.append(problem(error));
    return;
  }
  if (!server.detector) {
    view.append(el('p', {class: 'card pad'}, 'No checkpoint is served. Start ', el('code', {}, 'muster serve RUNS_DIR --try RUN_DIR'), ', or name a step-* folder.'));
    return;
  }
  const trial = new Trial(server.detector);
  const paste = (event) => event.clipboardData?.files.length && trial.take(event.clipboardData.files);
  document.addEventListener('paste', paste);
  life.end = () => document.removeEventListener('paste', paste);
  view.append(
    el('p', {class: 'note'}, server.detector.checkpoint, server.detector.classes?.length ? `: ${server.detector.classes.slice(0, 20).join(', ')}` : ''),
    dropZone(trial),
    el('div', {class: 'controls card'},
      el('label', {for: 'prompt', class: 'grow'}, el('span', {}, 'Prompt'), trial.prompt),
      el('label', {for: 'threshold'}, el('span', {}, 'Score at least ', trial.shownThreshold), trial.slider),
      el('label', {class: 'check'}, trial.labels, 'captions'), trial.again,
      el('span', {class: 'group', role: 'group', 'aria-label': 'take the boxes away as'}, trial.json, trial.csv)),
    trial.status, el('div', {class: 'answer'}, trial.stage, trial.table));
  trial.draw();
}
