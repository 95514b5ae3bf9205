#!/usr/bin/env python3
"""Trains the same steps with two builds of muster and compares every number to the last digit.

    scripts/compare_bits.py OLD_MUSTER NEW_MUSTER [--steps 20] [--keep DIR]

Each build makes its own demo data (as `muster demo` does, smaller) and trains configs/demo.yaml on two
ranks; where $MUSTER_SHARED/data holds BCCD (default ../shared), it also packs that and trains
configs/bccd_small.yaml. Compared is metrics.jsonl, line by line: every number but times and memory.
Exit code: 0 equal, 1 a number differs, 2 the comparison could not be made.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
# A fresh process measures these anew each time; all others follow from the micro-batches alone.
MEASURED = ("seconds", "memory", "tokens_per_s", "tflops", "mfu")

# The machine may be busy with other work: a slow step is no hang here.
PATIENCE = {f"launch.{what}_timeout_s": 7200 for what in ("start", "step", "checkpoint")} | {
    "sharding.timeout_s": 7200}


def is_measured(name):
    return any(name == prefix or name.startswith((prefix + ".", prefix + "_")) for prefix in MEASURED)


def run(*words):
    """Output is shown only when the command fails."""
    words = [str(word) for word in words]
    environment = dict(os.environ)
    if os.geteuid() == 0:
        environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    done = subprocess.run(words, cwd=REPOSITORY, env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        print(done.stdout, file=sys.stderr)
        print(f"failed with {done.returncode}: {' '.join(words)}", file=sys.stderr)
        sys.exit(2)


def train(muster, config, folder, steps, settings):
    """Trains on two ranks and returns the lines of metrics.jsonl."""
    settings = {"run.dir": folder / "run", "schedule.max_steps": steps, "schedule.warmup_steps": 4,
                "eval.max_samples": 8, "launch.max_restarts": 0} | PATIENCE | settings
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    run(muster, "launch", config, "-n", 2, *words)
    return [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]


def train_demo(muster, folder, steps, _shared):
    for name, images, seed in (("train", 200, 1), ("val", 20, 2)):
        run(muster, "synth", folder / name, "--images", images, "--size", 168, "--seed", seed)
        run(muster, "pack", folder / name / "annotations.json", "-o", folder / f"{name}.h5")
    return train(muster, "configs/demo.yaml", folder, steps, {
        "data.train": folder / "train.h5", "data.val": folder / "val.h5",
        "tokens.tokenizer": folder / "train"})


def train_bccd(muster, folder, steps, shared):
    for name in ("train", "val"):
        run(muster, "pack", shared / "data/bccd", "--split", name, "--skip-bad", "-o", folder / f"{name}.h5")
    return train(muster, "configs/bccd_small.yaml", folder, steps, {
        "data.train": folder / "train.h5", "data.val": folder / "val.h5",
        "tokens.tokenizer": shared / "data/qwen_tokenizer"})


def compare(old, new):
    """name -> [values, values that differ, first difference in words]."""
    table = {}
    for number, (left, right) in enumerate(zip(old, new), start=1):
        for name in sorted(set(left) | set(right)):
            if is_measured(name):
                continue
            row = table.setdefault(name, [0, 0, ""])
            row[0] += 1
            values = (left.get(name, "absent"), right.get(name, "absent"))
            if values[0] != values[1]:
                row[1] += 1
                row[2] = row[2] or f"line {number}: {values[0]!r} and {values[1]!r}"
    return table


def show(title, old, new):
    """Prints the table of one config; True when nothing differs."""
    table = compare(old, new)
    print(f"{title}: {len(old)} and {len(new)} lines of metrics.jsonl")
    for name, (values, different, first) in table.items():
        print(f"  {name:<28} {values:>5} values  {different:>5} differ  {first}")
    return len(old) == len(new) and len(old) > 0 and not any(row[1] for row in table.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", metavar="OLD_MUSTER", type=pathlib.Path)
    parser.add_argument("new", metavar="NEW_MUSTER", type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--keep", metavar="DIR", type=pathlib.Path, help="work here and leave everything there")
    arguments = parser.parse_args()

    shared = pathlib.Path(os.environ.get("MUSTER_SHARED", REPOSITORY.parent / "shared")).resolve()
    runs = {"configs/demo.yaml": train_demo}
    if (shared / "data/bccd").is_dir():
        runs["configs/bccd_small.yaml"] = train_bccd
    else:
        print(f"no {shared}/data/bccd: configs/bccd_small.yaml is not compared", file=sys.stderr)

    equal = True
    with tempfile.TemporaryDirectory(prefix="muster-bits") as scratch:
        root = (arguments.keep or pathlib.Path(scratch)).resolve()
        for title, trained in runs.items():
            lines = []
            for side, muster in (("old", arguments.old), ("new", arguments.new)):
                folder = root / pathlib.Path(title).stem / side
                folder.mkdir(parents=True, exist_ok=True)
                lines.append(trained(muster.resolve(), folder, arguments.steps, shared))
            equal = show(title, *lines) and equal
    print("equal to the last digit" if equal else "DIFFERENT")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
