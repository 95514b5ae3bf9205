"""Runs of a tiny detector with one fault each (MUSTER_FAULT); see bench/faults.sh."""
import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

STEPS, EVERY, AT = 8, 2, 5  # steps of a run, steps between checkpoints, the step that fails
PHASES = ['init', 'load', 'data', 'forward', 'backward', 'reduce', 'consensus', 'optimizer', 'gather', 'checkpoint',
          'shutdown']
KINDS = ['sigkill', 'exit', 'throw', 'sigstop', 'nan', 'oom', 'slow', 'enospc', 'eio', 'estale', 'bitflip', 'clock']
# Phases that a step's number does not select: they come once, before or after the steps.
ONCE = {'init', 'load', 'shutdown'}
# A step's number counts the steps that are done, and checkpoints come after every second; the third finds two on the disk.
CHECKPOINT_AT = 6
# Where another end than the same bits is right: a step with NaN is skipped by all ranks, or ends the run when too many were.
OTHER_ENDS = {'nan': {0, 77}}
# These wait for the next loss or file, and behind the last there is none.
WAITING = {'nan', 'enospc', 'eio', 'estale'}
HAPPENED = b'MUSTER_FAULT: it happens now'
QUICK = [('sigkill', 'backward'), ('throw', 'optimizer'), ('sigstop', 'gather'), ('nan', 'forward'), ('eio', 'checkpoint'),
         ('bitflip', 'data'), ('clock', 'consensus')]
DOC = pathlib.Path('docs/reliability.md')


def put_table(name, text, document=DOC):
    """Into the document, between the marks of that name."""
    marked = re.compile(rf'(<!-- bench {name} -->\n).*?(<!-- end -->)', re.S)
    document.write_text(marked.sub(lambda m: m[1] + text + m[2], document.read_text()))


class Bed:
    """A data set, a pack and a config that all runs share."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.muster = str(pathlib.Path('build/muster').resolve())
        pack = self.folder / 'train.h5'
        self.call('synth', str(self.folder / 'data'), '--images', '16', '--size', '56', '--seed', '3')
        self.call('pack', str(self.folder / 'data' / 'annotations.json'), '-o', str(pack))
        self.settings = [
            f'data.train={pack}', f'data.val={pack}', f'tokens.tokenizer={self.folder / "data"}',
            f'schedule.max_steps={STEPS}', f'checkpoint.every_steps={EVERY}',
            'eval.every_steps=0', 'eval.max_samples=1', 'sharding.backend=mpi', 'batch.micro_batches_per_step=4',
            'launch.step_timeout_s=4', 'launch.start_timeout_s=60', 'launch.checkpoint_timeout_s=30', 'launch.max_restarts=2',
            'logging.tensorboard=false']

    def call(self, *words):
        done = subprocess.run([self.muster, *words], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f'muster {" ".join(words)}: {done.stderr[-2000:]}')

    def start(self, ranks, name, fault=None, more=()):
        """(the process, its run folder). What it says goes into a file, which no pipe's end can block."""
        run_dir = self.folder / f'run-{ranks}-{name}'
        words = [self.muster, 'launch', 'configs/demo.yaml', '-n', str(ranks), '--set', f'run.dir={run_dir}']
        for setting in [*self.settings, *more]:
            words += ['--set', setting]
        log = open(self.folder / f'run-{ranks}-{name}.log', 'w+', encoding='utf-8', errors='replace')
        environment = dict(os.environ, MUSTER_FAULT=fault or '')
        launch = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        return launch, run_dir, log

    def run(self, ranks, fault):
        start = time.monotonic()
        launch, run_dir, log = self.start(ranks, re.sub(r'[^a-z0-9]+', '-', fault or 'undisturbed'), fault)
        code = launch.wait()
        return Outcome(run_dir, code, words_in(log), time.monotonic() - start)


def words_in(log):
    with log:
        log.seek(0)
        return log.read()


class Outcome:
    def __init__(self, run_dir, code, words, seconds, steps=STEPS):
        self.code = code
        self.run_dir = run_dir
        self.seconds = seconds
        self.words = words
        record = json.loads((run_dir / 'launch.json').read_text()) if (run_dir / 'launch.json').exists() else {}
        self.attempts = record.get('attempts', [])
        self.bits = weights_of(run_dir / 'checkpoints' / f'step-{steps:06d}')
        self.losses = losses_of(run_dir / 'metrics.jsonl')
        self.happened = any(HAPPENED in file.read_bytes() for file in (run_dir / 'logs').glob('*') if file.is_file())

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
    if phase == 'checkpoint':
        at = CHECKPOINT_AT
    step = '' if phase in ONCE else f'step={at},'
    return f'rank={ranks - 1},{step}phase={phase},what={kind}'


def judge(outcome, undisturbed, kind, phase, ranks):
    """('same bits' or the code, whether that is right). A fault that did not happen proves nothing."""
    if not outcome.happened:
        return 'nothing left to disturb', kind in WAITING and phase == 'shutdown'
    same = outcome.code == 0 and outcome.bits == undisturbed.bits and outcome.losses == undisturbed.losses
    named = outcome.first.get('rank', ranks - 1) == ranks - 1
    if same:
        return 'same bits', named
    return f'code {outcome.code}', named and outcome.code in OTHER_ENDS.get(kind, set())


def cases(quick):
    if quick:
        return QUICK
    return [(kind, phase) for kind in KINDS for phase in PHASES]


class Rows:
    """What was measured, one JSON object a line: an interrupted matrix goes on where it was."""

    def __init__(self, file):
        self.file = file and pathlib.Path(file)
        kept = self.file.read_text().splitlines() if self.file and self.file.exists() else []
        self.all = [json.loads(line) for line in kept]
        self.lock = threading.Lock()

    def has(self, ranks, kind, phase):
        return any((r['ranks'], r['what'], r['phase']) == (ranks, kind, phase) for r in self.all)

    def add(self, row):
        with self.lock:
            self.all.append(row)
            if self.file:
                with self.file.open('a') as file:
                    file.write(json.dumps(row) + '\n')


def measure_one(bed, ranks, case, undisturbed, rows):
    kind, phase = case
    outcome = bed.run(ranks, fault_text(kind, phase, ranks))
    end, right = judge(outcome, undisturbed, kind, phase, ranks)
    rows.add({'ranks': ranks, 'what': kind, 'phase': phase, 'end': end, 'right': right,
              'named': outcome.first.get('phase'), 'attempts': len(outcome.attempts), 'noticed_s': outcome.noticed_s,
              'cost_s': max(0.0, outcome.seconds - undisturbed.seconds)})
    said = f'{ranks} ranks, {kind:8} in {phase:10}: {end}{"" if right else "  WRONG"} ' \
           f'({len(outcome.attempts)} attempts, {outcome.seconds:.1f} s)'
    print(said if right else f'{said}\n{outcome.words[-1500:]}', file=sys.stderr, flush=True)
    shutil.rmtree(outcome.run_dir)


def measure(bed, ranks, options, rows):
    wanted = [case for case in cases(options.quick) if not rows.has(ranks, *case)]
    if not wanted:
        return
    undisturbed = bed.run(ranks, None)
    if undisturbed.code != 0:
        sys.exit(f'the undisturbed run failed: {undisturbed.words[-2000:]}')
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for _ in pool.map(lambda case: measure_one(bed, ranks, case, undisturbed, rows), wanted):
            pass  # so that an error of one of them is raised here


def seconds(value):
    return '' if value is None else f'{value:.1f}'


def table(rows):
    lines = ['| ranks | fault | in phase | end | attempts | named phase | noticed after, s | cost, s |',
             '|---|---|---|---|---|---|---|---|']
    for r in sorted(rows, key=lambda r: (r['ranks'], KINDS.index(r['what']), PHASES.index(r['phase']))):
        end = r['end'] if r['right'] else f'**{r["end"]}**'
        lines.append(f'| {r["ranks"]} | {r["what"]} | {r["phase"]} | {end} | {r["attempts"]} | {r["named"] or ""} | '
                     f'{seconds(r["noticed_s"])} | {seconds(r["cost_s"])} |')
    return '\n'.join(lines) + '\n'


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument('--quick', action='store_true')
    arguments.add_argument('--json', action='store_true')
    arguments.add_argument('--rows', metavar='FILE')
    arguments.add_argument('--jobs', type=int, default=2)
    options = arguments.parse_args()
    worlds = [2] if options.quick else [int(n) for n in os.environ.get('MUSTER_BENCH_RANKS', '2 4').split()]
    rows = Rows(options.rows)
    with tempfile.TemporaryDirectory(prefix='muster-faults-') as folder:
        bed = Bed(folder)
        for ranks in worlds:
            measure(bed, ranks, options, rows)
    wrong = [r for r in rows.all if not r['right']]
    if not options.quick:
        put_table('faults', table(rows.all))
    print(f'{len(rows.all)} faults, {len(wrong)} ended wrongly', file=sys.stderr)
    if options.json:
        print(json.dumps({'faults': len(rows.all), 'wrong': len(wrong), 'rows': rows.all}))
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
