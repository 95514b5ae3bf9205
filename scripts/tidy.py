#!/usr/bin/env python3
"""Runs clang-tidy over many files at once. `./run lint` calls it.

    scripts/tidy.py [--minutes N] BUILD_DIR [FILE...]

BUILD_DIR holds a compile_commands.json made without unity builds and without a precompiled header. Without FILEs every
source in it that git tracks is checked.

Nearly all the time of a file goes into LibTorch's headers: 4.2 s of processor time for a file of 200 lines. So files
with equal flags are checked together, a batch of them included by one source: 1.0 s a file over the whole tree. A batch
that does not compile (two files may name two things alike) is checked again as two halves. Batches with what changed
last come first, and with --minutes none is begun after so many: on a slow machine what is left out is said.

Files of rooms that see LibTorch expect <ATen/ATen.h> to be there, as it is in the build: it comes as a header
precompiled by clang.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

BATCH = 12
FINDING = re.compile(r"^(?P<file>/[^:]+):(?P<line>\d+):(?P<column>\d+): (?:warning|error): .*\[(?P<check>[\w.,-]+)\]$")
COMPILE_ERROR = "clang-diagnostic-error"


@dataclass(frozen=True)
class Unit:
    file: Path
    flags: tuple[str, ...]  # without the compiler, -c, the file and its output


@dataclass(frozen=True)
class Tools:
    tidy: str
    precompiled: tuple[str, ...]  # flags that bring <ATen/ATen.h>
    folder: Path  # where batches are written


def newest_clang_tidy() -> str:
    """Version 22 and later leave system headers alone, which takes a fifth of the time."""
    versions = [f"clang-tidy-{version}" for version in range(40, 13, -1)]
    found = next((name for name in [*versions, "clang-tidy"] if shutil.which(name)), None)
    return found or sys.exit("tidy.py: clang-tidy is not installed")


def flags_of(entry: dict[str, str]) -> tuple[str, ...]:
    words = shlex.split(entry["command"])
    start = next(i for i, word in enumerate(words) if word.startswith("-"))  # a compiler, perhaps behind ccache
    kept = []
    skip = False
    for word in words[start:]:
        if not skip and word not in ("-o", "-c", entry["file"], "-fpch-preprocess", "-Werror"):
            kept.append(word)
        skip = word == "-o"
    return tuple(kept)


def read_units(build: Path, tracked: set[Path]) -> list[Unit]:
    units: dict[Path, Unit] = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        file = Path(entry["directory"], entry["file"]).resolve()
        if file in tracked and "command" in entry:
            units.setdefault(file, Unit(file, flags_of(entry)))
    return list(units.values())


def tracked_files() -> set[Path]:
    command = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
    listing = subprocess.run(command, check=True, capture_output=True, text=True)
    return {Path(name).resolve() for name in listing.stdout.split("\0") if name}


def wanted(units: list[Unit], names: list[str]) -> list[Unit]:
    """Those of the named files; a header stands for the source beside it."""
    stems = {Path(name).resolve().with_suffix("") for name in names}
    return units if not names else [unit for unit in units if unit.file.with_suffix("") in stems]


def change_times() -> dict[Path, int]:
    """When each file was last committed; a file that is not there is older."""
    command = ["git", "log", "-n", "1000", "--name-only", "--format=%x00%ct"]
    times: dict[Path, int] = {}
    listing = subprocess.run(command, check=True, capture_output=True, text=True)
    for commit in listing.stdout.split("\0")[1:]:
        when, *names = commit.split("\n")
        for name in filter(None, names):
            times.setdefault(Path(name).resolve(), int(when))
    return times


def batches(units: list[Unit]) -> list[list[Unit]]:
    """The latest changes first, then the largest, so that the processors finish together."""
    times = change_times()

    def changed(unit: Unit) -> int:
        return max(times.get(unit.file, 0), times.get(unit.file.with_suffix(".h"), 0))

    made = []
    for _, group in groupby(sorted(units, key=lambda unit: (unit.flags, unit.file)), key=lambda unit: unit.flags):
        members = list(group)
        made += [members[i : i + BATCH] for i in range(0, len(members), BATCH)]
    return sorted(made, key=lambda batch: (max(map(changed, batch)), len(batch)), reverse=True)


def precompile(tidy: str, unit: Unit, folder: Path) -> tuple[str, ...]:
    clang = shutil.which(tidy.replace("clang-tidy", "clang++"))
    if clang is None:
        return ("-include", "ATen/ATen.h")
    header, made = folder / "aten.h", folder / "aten.pch"
    header.write_text("#include <ATen/ATen.h>\n")
    subprocess.run([clang, *unit.flags, "-w", "-x", "c++-header", str(header), "-o", str(made)], check=True)
    return ("-include-pch", str(made))


def sees_libtorch(unit: Unit) -> bool:
    return any("torch" in flag for flag in unit.flags)


def run_tidy(tools: Tools, batch: list[Unit]) -> str:
    source = batch[0].file
    if len(batch) > 1:
        source = tools.folder / f"{len(batch)}_{'_'.join(batch[0].file.relative_to(Path.cwd()).parts)}"
        source.write_text("".join(f'#include "{unit.file}"\n' for unit in batch))
    brings = tools.precompiled if sees_libtorch(batch[0]) else ()
    command = [tools.tidy, "--quiet", "--config-file=.clang-tidy", str(source), "--", *batch[0].flags, *brings]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def check(tools: Tools, batch: list[Unit]) -> str:
    output = run_tidy(tools, batch)
    if len(batch) > 1 and COMPILE_ERROR in output:
        print(f"apart: {len(batch)} files from {batch[0].file.name} on do not compile together", file=sys.stderr)
        half = len(batch) // 2
        return check(tools, batch[:half]) + check(tools, batch[half:])
    return output


def findings(output: str, repo: Path) -> dict[tuple[str, str, str], str]:
    """The text of each finding by place and check, its file named as in the tree: rooms see each other through links."""
    found: dict[tuple[str, str, str], str] = {}
    key = None
    for line in output.splitlines():
        if match := FINDING.match(line):
            file = os.path.relpath(os.path.realpath(match["file"]), repo)
            key = (file, f"{match['line']}:{match['column']}", match["check"])
            if key in found:
                key = None
                continue
            found[key] = ""
            line = file + line[len(match["file"]) :]
        if key is not None:
            found[key] += line + "\n"
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("files", nargs="*")
    parser.add_argument("--minutes", type=int, default=0, help="begin no batch later; 0: no limit")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    repo = Path(__file__).resolve().parent.parent
    os.chdir(repo)

    units = wanted(read_units(arguments.build.resolve(), tracked_files()), arguments.files)
    if not units:
        return 0
    folder = arguments.build.resolve() / "tidy"
    folder.mkdir(exist_ok=True)
    tidy = newest_clang_tidy()
    torch = [unit for unit in units if sees_libtorch(unit)]
    tools = Tools(tidy, precompile(tidy, torch[0], folder) if torch else (), folder)

    start = time.monotonic()

    def check_in_time(batch: list[Unit]) -> str | None:
        late = arguments.minutes > 0 and time.monotonic() - start > 60 * arguments.minutes
        return None if late else check(tools, batch)

    with ThreadPoolExecutor(arguments.jobs) as pool:
        found: dict[tuple[str, str, str], str] = {}
        done, told, left_out = 0, 0, []
        futures = {pool.submit(check_in_time, batch): batch for batch in batches(units)}
        for future in as_completed(futures):
            output = future.result()
            if output is None:
                left_out += futures[future]
                continue
            found |= findings(output, repo)
            done += len(futures[future])
            if done - told >= len(units) / 10:
                seconds = time.monotonic() - start
                print(f"tidy: {done} of {len(units)} files, {seconds:.0f} s", file=sys.stderr, flush=True)
                told = done
    if left_out:
        what = f"{len(left_out)} files, of those that changed longest ago"
        print(f"NOT CHECKED within {arguments.minutes} minutes: {what}", file=sys.stderr)
    print("".join(found[key] for key in sorted(found)), end="")
    print(f"{tidy}: {done} files, {len(found)} findings", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
