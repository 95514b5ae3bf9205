"""Runs of a tiny detector with one fault each (MUSTER_FAULT); see bench/faults.sh."""
import argparse
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

STEPS, EVERY, AT = 8, 2, 5  # steps of a run, steps between checkpoints, the step that fails
PHASES = ['init', 'load', 'data', 'forward', 'backward', 'reduce', 'consensus', 'optimizer', 'gather', 'checkpoint',
          'shutdown']
KINDS = ['sigkill', 'exit', 'throw', 'sigstop', 'nan', 'oom', 'slow', 'enospc', 'eio', 'estale', 'bitflip', 'clock']
# Phases that a step's number does not select: they come once, before or after the steps.
ONCE = {'init', 'load', 'shutdown'}
# Where another end than the same bits is right: a step with NaN is skipped by all ranks, or ends the run when too many were.
OTHER_ENDS = {'nan': {0, 77}}
QUICK = [('sigkill', 'backward'), ('throw', 'optimizer'), ('sigstop', 'gather'), ('nan', 'forward'), ('eio', 'checkpoint'),
         ('bitflip', 'data'), ('clock', 'consensus')]
DOC = pathlib.Path('docs/reliability.md')
TABLE = re.compile(r'(<!-- bench faults -->\n).*?(<!-- end -->)', re.S)


class Bed:
    """A data set, a pack and a config that all runs share."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.muster = str(pathlib.Path('build/muster').resolve())
        pack = self.folder / 'train.h5'
        self.call('synth', str(self.folder / 'data'), '--images', '16', '--size', '56', '--seed', '3')
        self.call('pack', str(self.folder / 'data' / 'annotations.json'), '-o', str(pack))
        self.settings = [
            f'data.train={pack}', f'data.val={pack}', f'tokens.tokenizer={self.folder / "data"}', f'schedule.max_steps={STEPS}', f'checkpoint.every_steps={EVERY}',
            'eval.every_steps=0', 'eval.max_samples=1', 'sharding.backend=mpi', 'batch.micro_batches_per_step=4',
            'launch.step_timeout_s=4', 'launch.start_timeout_s=60', 'launch.checkpoint_timeout_s=30', 'launch.max_restarts=2',
            'logging.tensorboard=false']

    def call(self, *words):
        done = subprocess.run([self.muster, *words], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f'muster {" ".join(words)}: {done.stderr[-2000:]}')

    def run(self, ranks, fault):
        name = re.sub(r'[^a-z0-9]+', '-', fault or 'undisturbed')
        run_dir = self.folder / f'run-{ranks}-{name}'
        words = [self.muster, 'launch', 'configs/demo.yaml', '-n', str(ranks), '--set', f'run.dir={run_dir}']
        for setting in self.settings:
            words += ['--set', setting]
        environment = dict(os.environ, MUSTER_FAULT=fault or '')
        start = time.monotonic()
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
        return Outcome(run_dir, done, time.monotonic() - start)


class Outcome:
    def __init__(self, run_dir, done, seconds):
        self.code = done.returncode
        self.seconds = seconds
        self.words = done.stderr
        record = json.loads((run_dir / 'launch.json').read_text()) if (run_dir / 'launch.json').exists() else {}
        self.attempts = record.get('attempts', [])
        self.bits = weights_of(run_dir / 'checkpoints' / f'step-{STEPS:06d}')
        self.losses = losses_of(run_dir / 'metrics.jsonl')

    @property
    def first(self):
        return next((a['first'] for a in self.attempts if 'first' in a), {})

    @property
    def noticed_s(self):
        for attempt in self.attempts:
            if 'hang' in attempt:
                return attempt['hang']['silent_s']
            if 'first' in attempt:
                return max(0.0, attempt['noticed_unix'] - attempt['first']['time_unix'])
        return None


def weights_of(folder):
    """One checksum of all weights, by name: how they lie in files may depend on the number of ranks."""
    tensors = {}
    for file in sorted(folder.glob('*.safetensors')):
        raw = file.read_bytes()
        size = int.from_bytes(raw[:8], 'little')
        for name, tensor in json.loads(raw[8:8 + size]).items():
            if name != '__metadata__':
                begin, end = tensor['data_offsets']
                tensors[file.name.split('-')[0] + name] = raw[8 + size + begin:8 + size + end]
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name])
    return digest.hexdigest() if tensors else None


def losses_of(file):
    if not file.exists():
        return None
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return {row['step']: row['loss'] for row in rows if 'loss' in row}


def fault_text(kind, phase, ranks):
    at = STEPS - 1 if kind == 'bitflip' else AT  # with two checkpoints on the disk for sure: one alone damaged is R-028
    step = '' if phase in ONCE else f'step={at},'
    return f'rank={ranks - 1},{step}phase={phase},what={kind}'


def judge(outcome, undisturbed, kind, ranks):
    """('same bits' or the code, whether that is right)."""
    same = outcome.code == 0 and outcome.bits == undisturbed.bits and outcome.losses == undisturbed.losses
    named = outcome.first.get('rank', ranks - 1) == ranks - 1
    if same:
        return 'same bits', named
    return f'code {outcome.code}', named and outcome.code in OTHER_ENDS.get(kind, set())


def cases(ranks, quick):
    if quick:
        return QUICK
    return [(kind, phase) for kind in KINDS for phase in PHASES]


def measure(bed, ranks, quick):
    undisturbed = bed.run(ranks, None)
    if undisturbed.code != 0:
        sys.exit(f'the undisturbed run failed: {undisturbed.words[-2000:]}')
    rows = []
    for kind, phase in cases(ranks, quick):
        outcome = bed.run(ranks, fault_text(kind, phase, ranks))
        end, right = judge(outcome, undisturbed, kind, ranks)
        rows.append({'ranks': ranks, 'what': kind, 'phase': phase, 'end': end, 'right': right,
                     'named': outcome.first.get('phase'), 'attempts': len(outcome.attempts), 'noticed_s': outcome.noticed_s,
                     'cost_s': max(0.0, outcome.seconds - undisturbed.seconds)})
        print(f'{ranks} ranks, {kind:8} in {phase:10}: {end}{"" if right else "  WRONG"} '
              f'({len(outcome.attempts)} attempts, {outcome.seconds:.1f} s)', file=sys.stderr, flush=True)
        if not right:
            print(outcome.words[-1500:], file=sys.stderr)
    return rows


def seconds(value):
    return '' if value is None else f'{value:.1f}'


def table(rows):
    lines = ['| ranks | fault | in phase | end | attempts | named phase | noticed after, s | cost, s |', '|---|---|---|---|---|---|---|---|']
    for r in rows:
        end = r['end'] if r['right'] else f'**{r["end"]}**'
        lines.append(f'| {r["ranks"]} | {r["what"]} | {r["phase"]} | {end} | {r["attempts"]} | {r["named"] or ""} | '
                     f'{seconds(r["noticed_s"])} | {seconds(r["cost_s"])} |')
    return '\n'.join(lines) + '\n'


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument('--quick', action='store_true')
    arguments.add_argument('--json', action='store_true')
    options = arguments.parse_args()
    worlds = [2] if options.quick else [int(n) for n in os.environ.get('MUSTER_BENCH_RANKS', '2 4').split()]
    rows = []
    with tempfile.TemporaryDirectory(prefix='muster-faults-') as folder:
        bed = Bed(folder)
        for ranks in worlds:
            rows += measure(bed, ranks, options.quick)
    wrong = [r for r in rows if not r['right']]
    if not options.quick:
        DOC.write_text(TABLE.sub(lambda m: m[1] + table(rows) + m[2], DOC.read_text()))
    print(f'{len(rows)} faults, {len(wrong)} ended wrongly', file=sys.stderr)
    if options.json:
        print(json.dumps({'faults': len(rows), 'wrong': len(wrong), 'rows': rows}))
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
