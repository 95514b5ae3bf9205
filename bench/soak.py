"""A long run with random kills, beside the same run undisturbed; see bench/soak.sh."""
import argparse
import json
import os
import pathlib
import random
import signal
import statistics
import sys
import tempfile
import time

import faults

CHECKPOINT_EVERY = 100
SAMPLE_S = 0.25
SHARED_MEMORY = pathlib.Path('/dev/shm')


def processes():
    """(pid, parent, words) of every process that can be seen."""
    found = []
    for folder in pathlib.Path('/proc').glob('[0-9]*'):
        try:
            words = (folder / 'cmdline').read_bytes().decode(errors='replace').split('\0')
            parent = int((folder / 'stat').read_text().rsplit(')', 1)[1].split()[1])
            found.append((int(folder.name), parent, words))
        except (OSError, IndexError, ValueError):
            continue  # it ended meanwhile
    return found


def below(root):
    """What `root` started, and what that started."""
    family, grown = {root}, True
    everyone = processes()
    while grown:
        more = {pid for pid, parent, _ in everyone if parent in family} - family
        family |= more
        grown = bool(more)
    return [(pid, words) for pid, _, words in everyone if pid in family - {root}]


def is_rank(words):
    return len(words) > 1 and 'muster' in os.path.basename(words[0]) and words[1] == 'train'


def is_starter(words):
    return os.path.basename(words[0]) in ('mpirun', 'mpiexec', 'prterun')


def resident_bytes(pid):
    try:
        return int(pathlib.Path(f'/proc/{pid}/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')
    except (OSError, IndexError):
        return None


def descriptors(pid):
    try:
        return len(os.listdir(f'/proc/{pid}/fd'))
    except OSError:
        return None


def last_step(run_dir):
    try:
        with open(run_dir / 'metrics.jsonl', 'rb') as file:
            file.seek(max(0, os.path.getsize(file.name) - 8192))
            lines = file.read().split(b'\n')[1:-1]
        return json.loads(lines[-1]).get('step', -1) if lines else -1
    except (OSError, ValueError):
        return -1


def listening():
    lines = pathlib.Path('/proc/net/tcp').read_text().splitlines()[1:]
    return {line.split()[1] for line in lines if line.split()[3] == '0A'}


def unmapped_segments():
    """Files of shared memory that no living process has."""
    used = set()
    for folder in pathlib.Path('/proc').glob('[0-9]*'):
        try:
            used |= {line.split()[-1] for line in (folder / 'maps').read_text().splitlines() if '/dev/shm/' in line}
            used |= {os.readlink(fd) for fd in (folder / 'fd').iterdir()}
        except OSError:
            continue
    return {str(file) for file in SHARED_MEMORY.rglob('*') if file.is_file()} - used


def slope(samples):
    """Least squares over (step, value), of all but the first fifth; None without enough of them."""
    late = samples[len(samples) // 5:]
    if len(late) < 10 or late[0][0] == late[-1][0]:
        return None
    return statistics.linear_regression(*zip(*late)).slope


class Watch:
    """Looks at a launch while it runs: memory and descriptors of the launcher and of rank 0's process."""

    def __init__(self, launch, run_dir):
        self.launch, self.run_dir = launch, run_dir
        self.launcher_memory, self.rank_memory = [], []
        self.launcher_fds, self.rank_fds = [], []

    def sample(self):
        step = last_step(self.run_dir)
        ranks = [pid for pid, words in below(self.launch.pid) if is_rank(words)]
        self.keep(step, self.launch.pid, self.launcher_memory, self.launcher_fds)
        if ranks and step > 0:
            self.keep(step, ranks[0], self.rank_memory, self.rank_fds)
        return step

    @staticmethod
    def keep(step, pid, memory, fds):
        if (value := resident_bytes(pid)) is not None:
            memory.append((step, value))
        if (value := descriptors(pid)) is not None:
            fds.append((step, value))


class Killer:
    """Kills a rank, or now and then mpirun, when the run has gone on about `every` steps."""

    def __init__(self, every, seed):
        self.random = random.Random(seed)
        self.every, self.next, self.kills = every, self.distance(every), []

    def distance(self, every):
        return self.random.randint(every // 2, every + every // 2)

    def consider(self, launch, step):
        if step < self.next:
            return
        family = below(launch.pid)
        ranks = [pid for pid, words in family if is_rank(words)]
        starters = [pid for pid, words in family if is_starter(words)]
        victims, kind = (starters, 'mpirun') if starters and self.random.random() < 0.25 else (ranks, 'rank')
        if not victims:
            return
        try:
            os.kill(self.random.choice(sorted(victims)), signal.SIGKILL)
        except ProcessLookupError:
            return
        self.kills.append((kind, step))
        self.next = step + self.distance(self.every)


def smallest_network(folder):
    """Writes the demo's network with one layer and block of 32: steps are what a soak needs many of."""
    config = json.loads(pathlib.Path('configs/models/demo/config.json').read_text())
    config['text_config'].update(hidden_size=32, intermediate_size=32, num_attention_heads=2, num_key_value_heads=1,
                                 num_hidden_layers=1, max_window_layers=1, layer_types=['full_attention'])
    config['text_config']['rope_parameters']['mrope_section'] = [2, 3, 3]
    config['vision_config'].update(depth=1, hidden_size=32, num_heads=2, intermediate_size=32, out_hidden_size=32,
                                   fullatt_block_indexes=[0])
    folder.mkdir(exist_ok=True)
    (folder / 'config.json').write_text(json.dumps(config))
    return folder


def soak(bed, name, options, killer):
    network = smallest_network(bed.folder / 'network')
    launch, run_dir, log = bed.start(options.ranks, name, None, [
        f'schedule.max_steps={options.steps}', f'checkpoint.every_steps={CHECKPOINT_EVERY}', 'launch.max_restarts=4',
        'launch.step_timeout_s=60', 'logging.every_steps=1000', f'model.path={network}',
        f'batch.micro_batches_per_step={options.ranks}', 'batch.max_samples=1', 'detection.hidden_size=32', 'detection.mlp_size=32',
        'detection.num_heads=2', 'detection.num_queries=8', 'detection.neck_layers=0', 'detection.one_to_many=0',
        'loss.one_to_many=0'])
    start, watch = time.monotonic(), Watch(launch, run_dir)
    try:
        while launch.poll() is None:
            step = watch.sample()
            if killer:
                killer.consider(launch, step)
            time.sleep(SAMPLE_S)
    finally:  # an interrupted soak leaves nothing behind, either
        launch.terminate()
        launch.wait()
    return watch, faults.Outcome(run_dir, launch.returncode, faults.words_in(log), time.monotonic() - start, options.steps)


def mib(value):
    return 'too few samples' if value is None else f'{value / 2**20:+.3f} MiB'


def per_thousand(samples):
    found = slope(samples)
    return None if found is None else 1000 * found


def extremes(samples):
    values = [value for _, value in samples[len(samples) // 5:]]
    return f'{min(values)} to {max(values)}' if values else 'none seen'


def checks(options, calm, disturbed, left):
    """Rows of the table: what, expected, seen, is it so, seconds."""
    (calm_watch, calm_end), (watch, end), killer = calm, disturbed, left['killer']
    ranks = sum(kind == 'rank' for kind, _ in killer.kills)
    same = end.code == 0 and end.bits == calm_end.bits and end.losses == calm_end.losses
    rank_slope, launcher_slope = per_thousand(calm_watch.rank_memory), per_thousand(watch.launcher_memory)
    flat = 2**20  # a MiB per 1,000 steps
    return [
        (f'{options.steps:,} steps, {options.ranks} ranks, undisturbed', '0', f'code {calm_end.code}', calm_end.code == 0,
         calm_end.seconds),
        (f'the same with {ranks} ranks and {len(killer.kills) - ranks} times mpirun killed', 'weights and all losses to the bit',
         f'{"the same" if same else f"code {end.code}, other bits"}, {len(end.attempts)} attempts', same, end.seconds),
        ('memory of a rank, undisturbed, per 1,000 steps', 'under 1 MiB', mib(rank_slope),
         rank_slope is not None and rank_slope < flat, None),
        ('memory of the launcher over all kills, per 1,000 steps', 'under 1 MiB', mib(launcher_slope),
         launcher_slope is not None and launcher_slope < flat, None),
        ('descriptors of a rank', 'as many at the end', extremes(calm_watch.rank_fds), steady(calm_watch.rank_fds), None),
        ('descriptors of the launcher over all kills', 'no more than one attempt has', extremes(watch.launcher_fds),
         steady(watch.launcher_fds), None),
        ('processes left', '0', str(left['processes']), left['processes'] == 0, None),
        ('listening ports left', '0', str(left['ports']), left['ports'] == 0, None),
        ('files of shared memory left that nobody has open', '0', str(left['segments']), left['segments'] == 0, None)]


def steady(samples):
    """The median of the last tenth is that of the tenths after the start: a checkpoint that is written has files open, too."""
    values = [value for _, value in samples]
    tenth = max(1, len(values) // 10)
    return bool(values) and statistics.median(values[-tenth:]) <= statistics.median(values[tenth:3 * tenth] or values) + 1


def table(rows):
    lines = ['| what | expected | seen | time, s |', '|---|---|---|---|']
    for what, expected, seen, right, took in rows:
        lines.append(f'| {what} | {expected} | {seen if right else f"**{seen}**"} | {"" if took is None else f"{took:.0f}"} |')
    return '\n'.join(lines) + '\n'


def measure(options):
    ports, segments = listening(), unmapped_segments()
    with tempfile.TemporaryDirectory(prefix='muster-soak-') as folder:
        bed = faults.Bed(folder)
        calm = soak(bed, 'undisturbed', options, None)
        killer = Killer(options.every, options.seed)
        disturbed = soak(bed, 'killed', options, killer)
        time.sleep(1)  # what was told to end has ended
        left = {'killer': killer, 'processes': sum(folder in ' '.join(words) for pid, _, words in processes() if pid != os.getpid()),
                'ports': len(listening() - ports), 'segments': len(unmapped_segments() - segments)}
    for _, end in (calm, disturbed):
        if end.code != 0:
            print(end.words[-2000:], file=sys.stderr)
    return checks(options, calm, disturbed, left)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument('--steps', type=int, default=4000)
    arguments.add_argument('--every', type=int, default=500)
    arguments.add_argument('--ranks', type=int, default=2)
    arguments.add_argument('--seed', type=int, default=1)
    arguments.add_argument('--json', action='store_true')
    options = arguments.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    rows = measure(options)
    text = table(rows)
    faults.put_table('soak', text)
    print(text, file=sys.stderr)
    wrong = [what for what, _, _, right, _ in rows if not right]
    if options.json:
        print(json.dumps({'steps': options.steps, 'wrong': wrong}))
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
