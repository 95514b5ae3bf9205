"""The table of bench/checkpoint.sh: checkpoint_report.py FOLDER PARAMETERS json|"" write|"" """
import json
import os
import sys

import faults

MEANINGS = {
    'blocked': 'training thread waits, a computation beside the save',
    'delay': 'the same, and what the computation is slower',
    'blocked_at_once': 'training thread waits, nothing beside the save',
    'write': 'until all ranks have written',
    'verify': 'checksums of all files, shared among the ranks',
    'load': 'until every rank has all weights and its state',
    'load_share': 'until every rank has what it wrote'}
AIMS = {'blocked': 0.5, 'load': 1.0}


def best(folder, name):
    with open(os.path.join(folder, name + '.jsonl'), encoding='utf-8') as file:
        rows = [json.loads(line) for line in file]
    return {key: min(row[key] for row in rows) for key in rows[0]}


def number(values, key):
    return f'{values[key]:.2f}' if key in values else ''


def table(ours, peer, ratio):
    lines = ['| what | muster, s | torch dcp, s | ratio | aim |', '|---|---|---|---|---|']
    for key, meaning in MEANINGS.items():
        aim = f'<= {AIMS[key]}' if key in AIMS else ''
        lines.append(f'| {key}: {meaning} | {number(ours, key)} | {number(peer, key)} | {number(ratio, key)} | {aim} |')
    lines.append(f'| GB on the disk | {ours["bytes"] / 1e9:.2f} | {peer["bytes"] / 1e9:.2f} | | |')
    return '\n'.join(lines) + '\n'


def main():
    folder, parameters, as_json, write = sys.argv[1:]
    ours, peer = best(folder, 'ours'), best(folder, 'peer')
    ratio = {key: ours[key] / peer[key] for key in MEANINGS if key in ours and key in peer}
    ratio['load_share'] = ours['load'] / peer['load_share']  # ours loads everything
    text = f'{float(parameters) / 1e9:g} B parameters:\n\n' + table(ours, peer, ratio)
    print(text, file=sys.stderr)
    if write:
        faults.put_table('checkpoint', text)
    if as_json:
        print(json.dumps({'ours': ours, 'peer': peer, 'ratio': ratio}))


main()
