"""What each choice of the detection head brings; see bench/head.sh."""
import argparse
import concurrent.futures
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

import faults

DOC = pathlib.Path('docs/recipes.md')
PROBE_STEPS, PROBE_FIRST = 30, 11  # of a run that tells the seconds of a step; those before it warm up
SHAPES = ['--size', '336', '--small']
SETS = {
    'small': [*SHAPES, '--min-shapes', '8', '--max-shapes', '16'],
    'crowded': [*SHAPES, '--min-shapes', '50', '--max-shapes', '80'],
    'bccd': None,
}
PICTURES = {'train': 1600, 'val': 100}
# What a set needs beside the config: shapes are square, 144 vision tokens each, two pictures a micro-batch as of BCCD.
OF_SHAPES = ['data.prompt=Find every shape.', 'data.max_pixels=112896', 'batch.max_vision_tokens=300']
OF_SET = {
    'small': OF_SHAPES,
    'crowded': [*OF_SHAPES, 'detection.num_queries=128'],
    'bccd': [],
}
CHOICES = {
    'patches': ['detection.memory=vision'],
    'neck': ['detection.neck_layers=0'],
    'boxes': ['detection.cross_attention=memory'],
    'one_to_many': ['detection.one_to_many=0', 'loss.one_to_many=0'],
    'iou': ['loss.objectness_target=one'],
}
LEFT_OUT = {f'without {name}': settings for name, settings in CHOICES.items()}
MADE_MORE = {
    'denoising': ['detection.denoising_groups=2'],
    # One-to-many matching trains the tokens that are proposals.
    'learned queries': ['detection.queries=learned', *CHOICES['one_to_many']],
}
HEADS = {'before': sum(CHOICES.values(), []), 'all': [], **LEFT_OUT, **MADE_MORE}


def run_muster(*words):
    done = subprocess.run(['build/muster', *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f'muster {" ".join(words)}: {done.stderr[-2000:]}')


class Bed:
    """The packs of all sets, and runs on them."""

    def __init__(self, folder, shared, sets):
        self.folder = pathlib.Path(folder)
        self.tokenizer = shared / 'data' / 'qwen_tokenizer'
        for name in sets:
            for seed, split in enumerate(PICTURES, start=1):
                self.pack(name, split, seed, shared)

    def pack(self, name, split, seed, shared):
        out = str(self.folder / f'{name}-{split}.h5')
        if SETS[name] is None:
            run_muster('pack', str(shared / 'data' / 'bccd'), '--split', split, '--skip-bad', '-o', out)
            return
        drawn = self.folder / f'{name}-{split}'
        run_muster('synth', str(drawn), '--images', str(PICTURES[split]), '--seed', str(seed), *SETS[name])
        run_muster('pack', str(drawn / 'annotations.json'), '-o', out)
        shutil.rmtree(drawn)

    def train(self, name, head, seed, steps):
        """The rows of its metrics."""
        run_dir = self.folder / f'{name}-{head}-{seed}-{steps}'.replace(' ', '_')
        settings = [
            f'run.dir={run_dir}', f'run.seed={seed}', f'tokens.tokenizer={self.tokenizer}',
            f'data.train={self.folder / name}-train.h5', f'data.val={self.folder / name}-val.h5',
            f'schedule.max_steps={steps}', 'schedule.epochs=null', 'eval.every_steps=0', 'eval.max_samples=0',
            f'checkpoint.every_steps={steps}', 'logging.tensorboard=false', 'sharding.backend=self',
            *OF_SET[name], *HEADS[head]]
        words = ['build/muster', 'train', 'configs/bccd_small.yaml']
        for setting in settings:
            words += ['--set', setting]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=dict(os.environ, OMP_NUM_THREADS='1'))
        if done.returncode != 0:
            raise RuntimeError(f'{name}, {head}, seed {seed}: {done.stderr[-2000:]}')
        rows = [json.loads(line) for line in (run_dir / 'metrics.jsonl').read_text().splitlines()]
        shutil.rmtree(run_dir)
        return rows

    def steps_of(self, name, head, minutes):
        """As many as the minutes hold, at the speed of the first ones."""
        probe = self.train(name, head, 0, PROBE_STEPS)
        step_s = statistics.median(r['seconds'] for r in probe if 'seconds' in r and r['step'] >= PROBE_FIRST)
        return max(PROBE_STEPS, int(minutes * 60 / step_s))

    def measure(self, name, head, seed, steps):
        rows = self.train(name, head, seed, steps)
        evaluation = [r for r in rows if 'eval.AP50' in r][-1]
        took = sum(r['seconds'] for r in rows if 'seconds' in r)
        return {'set': name, 'head': head, 'seed': seed, 'minutes': took / 60, 'steps': steps,
                'ap': evaluation['eval.AP'], 'ap50': evaluation['eval.AP50']}


class Rows(faults.Rows):
    def of(self, name, head, minutes):
        return [r for r in self.all if (r['set'], r['head'], r['asked_minutes']) == (name, head, minutes)]

    def has(self, name, head, seed, minutes):
        return any(r['seed'] == seed for r in self.of(name, head, minutes))


def with_spread(values):
    text = f'{statistics.mean(values):.3f}'
    return text if len(values) == 1 else f'{text} ({min(values):.3f} to {max(values):.3f})'


def summary(rows):
    """One entry per set and head, in the order of the tables above."""
    found = []
    for name in SETS:
        for head in HEADS:
            of = [r for r in rows if (r['set'], r['head']) == (name, head)]
            if of:
                found.append({'set': name, 'head': head, 'seeds': len(of), 'steps': round(statistics.mean(r['steps'] for r in of)),
                              'ap': [r['ap'] for r in of], 'ap50': [r['ap50'] for r in of]})
    return found


def table(rows):
    lines = ['| data | head | seeds | steps | AP | AP50 |', '|---|---|---|---|---|---|']
    for s in summary(rows):
        lines.append(f'| {s["set"]} | {s["head"]} | {s["seeds"]} | {s["steps"]} | {with_spread(s["ap"])} | {with_spread(s["ap50"])} |')
    return '\n'.join(lines) + '\n'


def ratios(rows):
    """AP of all choices over AP of none, by set."""
    ap = {(s['set'], s['head']): statistics.mean(s['ap']) for s in summary(rows)}
    both = [name for name in SETS if ap.get((name, 'before')) and (name, 'all') in ap]
    return {name: ap[name, 'all'] / ap[name, 'before'] for name in both}


def parsed():
    arguments = argparse.ArgumentParser(prog='./run bench head')
    arguments.add_argument('--json', action='store_true')
    arguments.add_argument('--write', action='store_true')
    arguments.add_argument('--rows', metavar='FILE')
    arguments.add_argument('--minutes', type=float, default=10)
    arguments.add_argument('--seeds', type=int, default=3)
    arguments.add_argument('--sets', nargs='+', choices=SETS, default=list(SETS))
    arguments.add_argument('--only', nargs='+', choices=HEADS, default=list(HEADS), metavar='CHOICE')
    arguments.add_argument('--jobs', type=int, default=2)
    return arguments.parse_args()


def main():
    options = parsed()
    shared = pathlib.Path(os.environ.get('MUSTER_SHARED', '../shared')).resolve()
    if not (shared / 'data' / 'qwen_tokenizer').is_dir():
        sys.exit(f'bench head: needs {shared}/data/qwen_tokenizer (set MUSTER_SHARED)')
    subprocess.run(['cmake', '--build', 'build', '--target', 'muster', 'muster-torch'], check=True, stdout=sys.stderr)
    rows = Rows(options.rows)
    # The seed varies slowest, so that an interrupted comparison has all heads of the first ones.
    wanted = [(name, head, seed) for seed in range(options.seeds) for name in options.sets for head in options.only
              if not rows.has(name, head, seed, options.minutes)]
    with tempfile.TemporaryDirectory(prefix='muster-head-') as folder:
        bed = Bed(folder, shared, options.sets)

        def probe(kind):
            known = rows.of(*kind, options.minutes)
            return known[0]['steps'] if known else bed.steps_of(*kind, options.minutes)

        def measure(case):
            row = {**bed.measure(*case, steps[case[:2]]), 'asked_minutes': options.minutes}
            rows.add(row)
            print('{set}, {head}, seed {seed}: AP {ap:.3f}, AP50 {ap50:.3f} after {steps} steps'.format(**row),
                  file=sys.stderr, flush=True)

        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            # All are told how many steps they get before the first trains: what slows the machine later changes no row.
            kinds = sorted({case[:2] for case in wanted})
            steps = dict(zip(kinds, pool.map(probe, kinds)))
            print('the steps of each are known', file=sys.stderr, flush=True)
            for _ in pool.map(measure, wanted):
                pass  # so that an error of one of them is raised here
    print(table(rows.all), file=sys.stderr)
    if options.write:
        faults.put_table('head', table(rows.all), DOC)
    if options.json:
        print(json.dumps({'ap_ratio': ratios(rows.all), 'runs': rows.all}))


if __name__ == '__main__':
    main()
