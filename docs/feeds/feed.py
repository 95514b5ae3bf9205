"""What the three feeds share: the lines of metrics.jsonl as dictionaries, with the step apart."""
import json
import os
import pathlib
import sys


def run_name():
    return pathlib.Path(os.environ["MUSTER_RUN_DIR"]).name


def config_file():
    """config.yaml as the run resolved it."""
    return pathlib.Path(os.environ["MUSTER_RUN_DIR"]) / "config.yaml"


def rows():
    """(step, {name: number}) of every line. What was not measured is left out: null, and -1 in evaluations."""
    for line in sys.stdin:
        row = json.loads(line)
        step = int(row.pop("step"))
        measured = {name: value for name, value in row.items()
                    if value is not None and not (name.startswith("eval.") and value < 0)}
        if measured:
            yield step, measured
