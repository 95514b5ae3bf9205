// A run's curves, kept here and read on from where the last answer ended; and the charts of them.
import {askJson, runPath} from '/dom.js';
import {Chart} from '/chart.js';

export class Curves {
  constructor(id) {
    this.id = id;
    this.series = new Map();
    this.generation = '';
    this.after = -1;
    this.read = 0;
    this.complete = false;
  }

  async update() {
    const query = this.generation === '' ? '' : `?generation=${this.generation}&after=${this.after}`;
    const answer = await askJson(runPath(this.id, '/metrics' + query));
    if (answer.after < 0) this.series.clear();
    for (const [name, points] of Object.entries(answer.series)) {
      const old = (this.series.get(name) ?? []).filter((point) => point[0] <= answer.after);
      this.series.set(name, old.concat(points));
    }
    this.generation = answer.generation;
    this.after = answer.next_after;
    this.read = answer.read;
    this.complete = answer.complete;
    return !answer.complete;
  }

  get(name) {
    return this.series.get(name) ?? [];
  }
  family(prefix) {
    return [...this.series.keys()].filter((name) => name.startsWith(prefix)).sort()
      .map((name) => ({name: name.slice(prefix.length), points: this.get(name)}))
      .filter((one) => one.points.some((point) => point[1] !== 0));
  }
}

const one = (key, name) => (curves) => [{name, points: curves.get(key)}];
const MAIN_EVALS = ['AP', 'AP50', 'AP75', 'class_agnostic_AP50'];

// title, how it is drawn, and what of a run goes in.
export const CHARTS = [
  ['Loss', {log: true}, one('loss', 'total')],
  ['Evaluation', {}, (curves) => curves.family('eval.').filter((s) => MAIN_EVALS.includes(s.name))],
  ['Samples per second', {}, one('images_per_s', 'all ranks')],
  ['Loss terms, unweighted', {log: true}, (curves) => curves.family('loss.')],
  ['Throughput', {unit: 'tokens/s'}, one('tokens_per_s', 'all ranks')],
  ['Memory per rank', {unit: 'MiB', scale: 1 / 2 ** 20}, one('memory_bytes', 'largest')],
  ['Gradient norm', {log: true}, one('grad_norm', 'before clipping')],
  ['Learning rate by group', {}, (curves) => curves.family('lr.')],
  ['Step time by phase', {unit: 's'}, (curves) => curves.family('seconds.')],
];

export function makeCharts(which = CHARTS) {
  return which.map(([title, options, pick]) => ({chart: new Chart(title, options), pick}));
}
