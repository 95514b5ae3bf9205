// A line chart that is drawn again as its points grow. The pointer, or the arrow keys, read values.
import {el, svg, number} from '/dom.js';

// About as wide as a column is, so that letters keep their size.
const W = 420, H = 190, LEFT = 48, RIGHT = 12, TOP = 10, BOTTOM = 26, COLORS = 8;

function roundStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  for (const factor of [1, 2, 5]) if (rough / power <= factor) return factor * power;
  return 10 * power;
}
function ticks(low, high, count) {
  const step = roundStep((high - low) / count), at = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; ++k) at.push(k * step);
  return at;
}

// 1, 3, 10, 30 ..., or decades alone where there are many; low and high are logarithms.
function logTicks(low, high) {
  const at = [];
  for (let k = Math.floor(low); k <= high; ++k)
    for (const t of high - low > 4 ? [k] : [k, k + Math.log10(3)]) if (t >= low && t <= high) at.push(t);
  return at;
}

// series: [{name, points: [[x, y], ...]}]. Options: unit, log (may be drawn in decades), scale.
export class Chart {
  constructor(title, options = {}) {
    this.title = title;
    this.options = options;
    this.series = [];
    this.at = null;
    this.plot = svg('svg', {viewBox: `0 0 ${W} ${H}`, role: 'img', tabindex: '0'});
    this.legend = el('ul', {class: 'legend'});
    this.readout = el('output', {class: 'readout'});
    this.node = el('figure', {class: 'card chart', hidden: true},
      el('figcaption', {}, title, options.unit ? el('small', {}, ` ${options.unit}`) : null),
      this.legend, this.plot, this.readout);
    this.plot.addEventListener('pointermove', (event) => this.point(event));
    this.plot.addEventListener('pointerleave', () => this.read(null));
    this.plot.addEventListener('keydown', (event) => this.key(event));
    this.plot.addEventListener('blur', () => this.read(null));
  }

  draw(series) {
    const scale = this.options.scale ?? 1;
    // A series keeps its colour where others have no points.
    this.series = series.map((one, i) => ({name: one.name, color: `c${i % COLORS}`, points: one.points.map(([x, y]) => [x, y * scale])}))
      .filter((one) => one.points.length > 0);
    this.node.hidden = this.series.length === 0;
    if (this.node.hidden) return;
    this.measure();
    this.plot.replaceChildren(...this.grid(), ...this.series.map((one) => this.line(one)), this.cursor());
    this.legend.replaceChildren(...this.series.map((one) => el('li', {}, el('i', {class: one.color}), one.name, ' ', el('b', {}, number(one.points.at(-1)[1])))));
    this.plot.setAttribute('aria-label', this.sentence());
  }

  sentence() {
    const parts = this.series.slice(0, 4).map((one) => {
      const values = one.points.map((point) => point[1]);
      const low = values.reduce((a, b) => Math.min(a, b)), high = values.reduce((a, b) => Math.max(a, b));
      return `${one.name} ${number(values.at(-1))} at step ${one.points.at(-1)[0]}, between ${number(low)} and ${number(high)}`;
    });
    return `${this.title}: ${parts.join('; ')}. Arrow keys read values.`;
  }

  measure() {
    let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
    for (const {points} of this.series)
      for (const [x, y] of points) {
        x0 = Math.min(x0, x); x1 = Math.max(x1, x); y0 = Math.min(y0, y); y1 = Math.max(y1, y);
      }
    this.log = Boolean(this.options.log) && y0 > 0 && y1 / y0 > 100;
    if (this.log) [y0, y1] = [Math.log10(y0), Math.log10(y1)];
    else y0 = Math.min(y0, 0);   // a flat curve looks flat
    if (x0 === x1) { x0 -= 1; x1 += 1; }
    const margin = y0 === y1 ? Math.max(Math.abs(y1) * 0.1, 1e-9) : (y1 - y0) * 0.06;
    y1 += margin;
    if (y0 !== 0) y0 -= margin;
    this.px = (x) => LEFT + (x - x0) / (x1 - x0) * (W - LEFT - RIGHT);
    this.py = (y) => H - BOTTOM - ((this.log ? Math.log10(y) : y) - y0) / (y1 - y0) * (H - TOP - BOTTOM);
    this.range = {x0, x1, y0, y1};
  }

  grid() {
    const {x0, x1, y0, y1} = this.range, nodes = [];
    for (const t of this.log ? logTicks(y0, y1) : ticks(y0, y1, 5)) {
      const value = this.log ? 10 ** t : t, y = this.py(value).toFixed(1);
      nodes.push(svg('line', {class: 'grid', x1: LEFT, x2: W - RIGHT, y1: y, y2: y}),
        svg('text', {x: LEFT - 7, y: Number(y) + 4, 'text-anchor': 'end'}, number(value)));
    }
    for (const t of ticks(x0, x1, 5))
      nodes.push(svg('text', {x: this.px(t).toFixed(1), y: H - 8, 'text-anchor': 'middle'}, number(t)));
    return nodes;
  }

  line(one) {
    const d = one.points.map(([x, y], k) => `${k ? 'L' : 'M'}${this.px(x).toFixed(1)} ${this.py(y).toFixed(1)}`).join('');
    const group = svg('g', {class: one.color}, svg('path', {class: 'line', d}));
    if (one.points.length <= 24)
      for (const [x, y] of one.points) group.append(svg('circle', {class: 'dot', cx: this.px(x), cy: this.py(y), r: 2.4}));
    return group;
  }

  cursor() {
    this.mark = svg('g', {class: 'mark'});
    if (this.at !== null) this.read(this.at);
    return this.mark;
  }

  steps() {
    return [...new Set(this.series.flatMap((one) => one.points.map((point) => point[0])))].sort((a, b) => a - b);
  }

  point(event) {
    const box = this.plot.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * W;
    let best = null;
    for (const step of this.steps()) if (best === null || Math.abs(this.px(step) - x) < Math.abs(this.px(best) - x)) best = step;
    this.read(best);
  }

  key(event) {
    const way = {ArrowLeft: -1, ArrowRight: 1, Home: -1e9, End: 1e9}[event.key];
    if (way === undefined) return;
    event.preventDefault();
    const steps = this.steps();
    const from = this.at === null ? (way > 0 ? -1 : steps.length) : steps.indexOf(this.at);
    this.read(steps[Math.min(steps.length - 1, Math.max(0, from + way))]);
  }

  read(step) {
    this.at = step;
    if (!this.mark) return;
    this.mark.replaceChildren();
    this.readout.textContent = '';
    if (step === null || step === undefined) return;
    const x = this.px(step), words = [];
    this.mark.append(svg('line', {x1: x, x2: x, y1: TOP, y2: H - BOTTOM}));
    this.series.forEach((one) => {
      const found = one.points.find((point) => point[0] === step);
      if (!found) return;
      this.mark.append(svg('circle', {class: `dot ${one.color}`, cx: x, cy: this.py(found[1]), r: 3.4}));
      words.push(`${one.name} ${number(found[1])}`);
    });
    this.readout.textContent = `step ${step}: ${words.join(', ')}`;
  }
}
