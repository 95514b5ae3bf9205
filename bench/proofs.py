"""Runs tests one by one and writes down what each showed; see bench/proofs.sh."""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

import faults

BUILD = pathlib.Path('build')
# A section of the table: its title and its tests, each a program and a pattern of Catch2 for names. The names say what is
# expected.
SECTIONS = {
    'clocks': ('Liveness without clocks (R-025)', [
        ('test_launcher', 'clocks: *'),
        ('test_launcher', 'host clocks: *'),
        ('test_launcher', 'preflight: clocks that disagree*'),
        ('test_launcher', 'heartbeat: *')]),
    'beats': ('Beats through the starter', [
        ('test_launcher', 'beats: *'),
        ('test_launcher', 'unseen black boxes: *')]),
    'locks': ('A file system without locks (R-023)', [
        ('test_base', 'HDF5: files open where nothing can be locked')]),
    'owner': ('One owner of a run folder (R-026)', [
        ('test_launcher', 'owner: *')]),
    'resume': ('The resume contract (R-027)', [
        ('test_trainer', 'resume: *')]),
    'checkpoint': ('Checkpoints that are damaged (R-010, R-028)', [
        ('test_trainer', 'manifest: *'),
        ('test_trainer', '*damaged checkpoint*'),
        ('test_trainer', '*every checkpoint is damaged*'),
        ('test_trainer', 'cut at every 4 KiB*'),
        ('test_sharding', 'a flipped bit is an error*'),
        ('test_sharding', '*damaged or foreign set of shards*')]),
    'side files': ('Side files decide nothing (R-029)', [
        ('test_launcher', '*damaged side files*'),
        ('test_launcher', '*damaged status file*'),
        ('test_launcher', 'what is damaged in a run folder*'),
        ('test_trainer', '*torn best.json*'),
        ('test_trainer', '*torn by a crash*'),
        ('test_trainer', 'damaged lines are left out*'),
        ('test_base', '*claims 2^64-1 events*'),
        ('test_base', '*torn newest event*')]),
}


def names_of(program, pattern):
    listed = subprocess.run([str(BUILD / program), pattern, '--list-tests', '-r', 'xml'], capture_output=True, text=True, check=False)
    names = [case.findtext('Name') for case in ElementTree.fromstring(listed.stdout).iter('TestCase')]
    return names or sys.exit(f'proofs: {program} has no test "{pattern}"')


def escaped(name):
    """Catch2 takes commas, brackets and backslashes of a name for its own."""
    return ''.join('\\' + c if c in ',[]\\"*' else c for c in name)


def prove(program, name):
    """{"test", "program", "seen", "time"} of one test."""
    with tempfile.TemporaryDirectory(prefix='muster-proof-') as folder:
        report = pathlib.Path(folder, 'report')
        words = [str(BUILD / program), escaped(name), '--durations', 'yes', '-r', f'xml::out={report}']
        done = subprocess.run(words, capture_output=True, check=False)
        try:
            result = ElementTree.parse(report).find('.//TestCase/OverallResult')
        except (OSError, ElementTree.ParseError):
            result = None  # it did not live to write it
    if result is None:
        return {'test': name, 'program': program, 'seen': f'FAILED: exit {done.returncode}', 'time': None}
    skipped = int(result.get('skips', '0')) > 0
    right = result.get('success') == 'true' and done.returncode == 0
    seen = 'skipped' if skipped else 'so' if right else 'FAILED'
    return {'test': name, 'program': program, 'seen': seen, 'time': float(result.get('durationInSeconds', 'nan'))}


def table(proofs):
    lines = []
    for section, (title, _) in SECTIONS.items():
        rows = [row for row in proofs if row['section'] == section]
        if not rows:
            continue
        lines += [f'**{title}**', '', '| what is done, and what is expected | seen | time |', '|---|---|---|']
        for row in rows:
            seconds = '' if row['time'] is None else f'{row["time"]:.2f} s'
            lines.append(f'| {row["test"].replace("|", "/")} | {row["seen"]} | {seconds} |')
        lines.append('')
    return '\n'.join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('sections', nargs='*', metavar='SECTION', choices=[[], *SECTIONS], default=[])
    parser.add_argument('--json', action='store_true', help='one JSON object on stdout; nothing is written')
    arguments = parser.parse_args()
    proofs = []
    for section in arguments.sections or SECTIONS:
        for program, pattern in SECTIONS[section][1]:
            for name in names_of(program, pattern):
                print(f'{section}: {name}', file=sys.stderr, flush=True)
                proofs.append({'section': section, **prove(program, name)})
    if arguments.json:
        print(json.dumps({'proofs': proofs}))
    else:
        print(table(proofs))
        if not arguments.sections:
            faults.put_table('proofs', table(proofs))
    return 0 if all(row['seen'] in ('so', 'skipped') for row in proofs) else 1


if __name__ == '__main__':
    sys.exit(main())
