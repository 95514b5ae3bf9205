#!/usr/bin/env python3
"""Measures how a C++ source tree is kept: sizes, functions, density, width, comments, mutual includes.

    scripts/house.py [REPO] [--json]

Only files that git tracks are read. Sources are C, C++ and CUDA files. A room is a folder that directly holds sources;
folders below `tests/` and `bench/` (and `cmake/`, whose sources only serve the build) are counted apart.

Rules:
- A comment line holds a comment and no code. The width counts every line that is not empty, in characters.
- A line holds several statements when one of these is true, outside strings, comments and `for (...)` headers:
  two `;` (kinds: a lambda of one statement inside another statement, an initialiser in `if (x = f(); x)`, plain
  statements side by side); a comma operator (`a = 1, b = 2;`); a `?:` inside a branch of another `?:`.
- A function is what universal-ctags calls one; its length is the lines from its name to its closing brace.
- A unit is the files of one folder and stem (`x.h` and `x.cpp`). Two units include each other when a file of each
  includes a file of the other.
Percentiles are nearest-rank. Lines are counted as `wc -l` counts them, and all of them are the base of "per 1,000".

At commit 04731a5 files, functions, width, comments and mutual includes are those of the survey of 2026-11. It counted
9.9 lines with several statements per 1,000, here it is 7.0: its own script was not kept and its rule was wider (38 comma
operators here, 35 there, and 12 lines with nested conditionals here, 20 there, so the difference lies in lines with two
`;`). Compare only numbers of this script with each other.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Iterable, Sequence

SUFFIXES = {".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp"}
APART = {"bench", "cmake", "tests"}
WIDE = 100  # columns

TOKEN = re.compile(
    r"""(?P<raw>R"(?P<mark>[^\s()\\]*)\(.*?\)(?P=mark)")
      | (?P<text>"(?:\\.|[^"\\\n])*")
      | (?P<char>(?<![0-9A-Fa-f])'(?:\\.|[^'\\\n])+')
      | (?P<comment>//[^\n]*|/\*.*?\*/)""",
    re.DOTALL | re.VERBOSE,
)
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
CONTROL = re.compile(r"(?:if|while|for|switch)\s*(?:constexpr\s*)?\(|else\b\s*|do\b\s*")
# An assignment, an increment or a call, and no declaration: no space between two names before the operator.
EFFECT = re.compile(r"(?:\+\+|--|\*|\()*[\w.:\[\]()>-]+?\s*(?:(?:[-+*/|&^%]|<<|>>)?=(?!=)|\+\+$|--$|\(.*\)$)|(?:\+\+|--)[\w.>-]+$")
ONE_LINE_LAMBDA = re.compile(r"\[[^\[\]]*\]\s*(?:\([^()]*\))?[^{};()]*\{[^;]*;\s*\}")


@dataclass(frozen=True)
class Source:
    path: str
    text: str  # as stored
    code: str  # the same lines, comments removed and literals emptied

    @property
    def lines(self) -> int:
        return self.text.count("\n")

    @property
    def room(self) -> str:
        return str(PurePosixPath(self.path).parent)


@dataclass(frozen=True)
class Function:
    name: str
    path: str
    line: int
    length: int


def tracked_files(repo: Path) -> list[str]:
    listing = subprocess.run(["git", "-C", str(repo), "ls-files", "-z"], check=True, capture_output=True, text=True)
    return [path for path in listing.stdout.split("\0") if path and (repo / path).is_file()]


def without_comments(text: str) -> str:
    def emptied(match: re.Match[str]) -> str:
        newlines = "\n" * match.group().count("\n")
        return newlines if match["comment"] else '""' + newlines

    return TOKEN.sub(emptied, text)


def read_sources(repo: Path, paths: Iterable[str]) -> list[Source]:
    sources = []
    for path in paths:
        if PurePosixPath(path).suffix in SUFFIXES:
            text = (repo / path).read_text(encoding="utf-8", errors="replace")
            sources.append(Source(path, text, without_comments(text)))
    return sources


def percentile(values: Sequence[int], percent: int) -> int:
    """The smallest value that at least `percent` % of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else 0


def is_comment(line: str, code: str) -> bool:
    return bool(line.strip()) and not code.strip()


def without_for_headers(code: str) -> str:
    """Blanks what stands between the parentheses of `for (...)`, over several lines too."""
    kept = list(code)
    for match in re.finditer(r"\bfor\s*\(", code):
        depth = 1
        position = match.end()
        while position < len(code) and depth > 0:
            depth += {"(": 1, ")": -1}.get(code[position], 0)
            if code[position] != "\n" and depth > 0:
                kept[position] = " "
            position += 1
    return "".join(kept)


def top_level_parts(statement: str) -> list[str]:
    parts = [""]
    depth = 0
    for letter in statement:
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def after_control_head(statement: str) -> str:
    """What `if (...)`, `while (...)` or `else` govern on this line."""
    while head := CONTROL.match(statement):
        depth = 1 if head.group().endswith("(") else 0
        end = head.end()
        while end < len(statement) and depth > 0:
            depth += {"(": 1, ")": -1}.get(statement[end], 0)
            end += 1
        statement = statement[end:].lstrip()
    return statement


def has_comma_operator(line: str, begins: bool) -> bool:
    """`begins` says whether the line begins a statement; statements after `{`, `}` or `;` on the line always do."""
    pieces = re.split(r"([;{}])", line)
    for index in range(0, len(pieces) - 1, 2):
        if pieces[index + 1] != ";" or (index == 0 and not begins):
            continue
        parts = top_level_parts(after_control_head(pieces[index].strip()))
        if len(parts) > 1 and all(EFFECT.match(part) for part in parts):
            return True
    return False


def has_nested_ternary(line: str) -> bool:
    """A `?` while another `?` of the same or a surrounding parenthesis is still open."""
    depth = 0
    open_at: list[int] = []
    for letter in line:
        if letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
            open_at = [opened for opened in open_at if opened <= depth]
        elif letter in ",;":
            open_at = [opened for opened in open_at if opened < depth]
        elif letter == "?":
            if open_at:
                return True
            open_at.append(depth)
    return False


def begins_statement(before: str) -> bool:
    return not before or before[-1] in ";{}:)" or before.endswith("else")


def dense_kind(line: str, begins: bool) -> str | None:
    """Which rule of the docstring makes this line hold several statements."""
    if has_comma_operator(line, begins):
        return "comma_operator"
    if has_nested_ternary(line):
        return "nested_conditional"
    if line.count(";") < 2:
        return None
    if ONE_LINE_LAMBDA.sub("[]", line).count(";") < 2:
        return "lambda_in_a_statement"
    return "initialiser_in_a_condition" if re.search(r"\b(?:if|switch)\s*\([^()]*.*?;", line) else "statements"


def dense_lines(source: Source) -> list[tuple[int, str]]:
    found = []
    before = ""
    for number, line in enumerate(without_for_headers(source.code).split("\n"), 1):
        code = line.strip()
        if not code or code.startswith("#"):
            continue
        if kind := dense_kind(code, begins_statement(before)):
            found.append((number, kind))
        before = code
    return found


def ctags_program() -> str | None:
    for name in ("ctags-universal", "ctags"):
        program = shutil.which(name)
        if program is None:
            continue
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
        if "Universal Ctags" in version:
            return program
    return None


def functions_of(repo: Path, sources: Sequence[Source]) -> list[Function] | None:
    """None without universal-ctags."""
    program = ctags_program()
    if program is None:
        return None
    command = [program, "--map-C++=+.cuh", "--langmap=C++:+.cu", "--languages=C,C++", "--kinds-C++=f", "--kinds-C=f",
               "--fields=+ne", "--excmd=number", "-f", "-", "-L", "-"]
    listing = "\n".join(source.path for source in sources)
    tags = subprocess.run(command, input=listing, cwd=repo, check=True, capture_output=True, text=True).stdout
    found = []
    for tag in tags.splitlines():
        line, end = re.search(r"\tline:(\d+)", tag), re.search(r"\tend:(\d+)", tag)
        if line and end:
            name, path = tag.split("\t")[:2]
            found.append(Function(name, path, int(line[1]), int(end[1]) - int(line[1]) + 1))
    return found


def mutual_includes(sources: Sequence[Source]) -> list[tuple[str, str]]:
    units = {str(PurePosixPath(source.path).with_suffix("")) for source in sources}
    includes: defaultdict[str, set[str]] = defaultdict(set)
    for source in sources:
        own = str(PurePosixPath(source.path).with_suffix(""))
        for name in INCLUDE.findall(source.text):
            for base in (PurePosixPath(), PurePosixPath(source.path).parent):
                unit = os.path.normpath(str((base / name).with_suffix("")))
                if unit in units and unit != own:
                    includes[own].add(unit)
    return sorted((a, b) for a in includes for b in includes[a] if a < b and a in includes.get(b, set()))


def per_thousand(count: int, total: int) -> float:
    return round(1000 * count / max(1, total), 1)


def measure_lines(sources: Sequence[Source]) -> dict[str, Any]:
    widths: list[int] = []
    comments = 0
    for source in sources:
        for line, code in zip(source.text.split("\n"), source.code.split("\n")):
            widths += [len(line)] if line.strip() else []
            comments += is_comment(line, code)
    lines = sum(source.lines for source in sources)
    dense = [(f"{source.path}:{number}", kind) for source in sources for number, kind in dense_lines(source)]
    return {
        "files": len(sources),
        "lines": lines,
        "file_lines": {"median": percentile([s.lines for s in sources], 50),
                       "p90": percentile([s.lines for s in sources], 90),
                       "longest": max((s.lines for s in sources), default=0)},
        "comment_percent": round(100 * comments / max(1, lines), 1),
        "width_p90": percentile(widths, 90),
        "lines_over_100": sum(width > WIDE for width in widths),
        "several_statements": len(dense),
        "several_statements_per_1000": per_thousand(len(dense), lines),
        "several_statements_by_kind": dict(Counter(kind for _, kind in dense).most_common()),
        "several_statements_at": dense,
    }


def measure_functions(functions: Sequence[Function]) -> dict[str, Any]:
    lengths = [function.length for function in functions]
    longest = sorted(functions, key=lambda function: (-function.length, function.path, function.line))[:20]
    return {
        "count": len(lengths),
        "median": percentile(lengths, 50),
        "p90": percentile(lengths, 90),
        "p99": percentile(lengths, 99),
        "longest": max(lengths, default=0),
        "longest_20": [{"lines": f.length, "at": f"{f.path}:{f.line}", "name": f.name} for f in longest],
    }


def measure_rooms(sources: Sequence[Source]) -> dict[str, dict[str, Any]]:
    files = Counter(source.room for source in sources)
    lines: Counter[str] = Counter()
    dense: Counter[str] = Counter()
    for source in sources:
        lines[source.room] += source.lines
        dense[source.room] += len(dense_lines(source))
    return {room: {"files": files[room], "lines": lines[room],
                   "several_statements_per_1000": per_thousand(dense[room], lines[room])} for room in sorted(files)}


def measure(repo: Path) -> dict[str, Any]:
    paths = tracked_files(repo)
    sources = read_sources(repo, paths)
    own = [source for source in sources if PurePosixPath(source.path).parts[0] not in APART]
    apart = [source for source in sources if PurePosixPath(source.path).parts[0] in APART]
    functions = functions_of(repo, own)
    return {
        "tracked_files": len(paths),
        **measure_lines(own),
        "functions": None if functions is None else measure_functions(functions),
        "mutual_includes": mutual_includes(own),
        "rooms": measure_rooms(own),
        "apart": measure_rooms(apart),
    }


def print_rooms(title: str, rooms: dict[str, dict[str, Any]]) -> None:
    print(f"\n{title:<32} {'files':>6} {'lines':>7}  several statements per 1,000 lines")
    for room, row in rooms.items():
        print(f"{room:<32} {row['files']:>6} {row['lines']:>7}  {row['several_statements_per_1000']:>6}")


def print_functions(functions: dict[str, Any] | None) -> None:
    if functions is None:
        print("functions: universal-ctags is missing (Debian: universal-ctags), so none was measured")
        return
    print("functions: {count}; lines: median {median}, p90 {p90}, p99 {p99}, longest {longest}".format(**functions))


def print_report(report: dict[str, Any]) -> None:
    sizes = report["file_lines"]
    print(f"tracked files: {report['tracked_files']}")
    print(f"sources: {report['files']} files, {report['lines']} lines (without {', '.join(sorted(APART))})")
    print(f"file lines: median {sizes['median']}, p90 {sizes['p90']}, longest {sizes['longest']}")
    print_functions(report["functions"])
    print(f"comment lines: {report['comment_percent']} %")
    print(f"line width: p90 {report['width_p90']}; {report['lines_over_100']} lines over {WIDE}")
    print(f"lines with several statements: {report['several_statements']}, "
          f"{report['several_statements_per_1000']} per 1,000")
    for kind, count in report["several_statements_by_kind"].items():
        print(f"  {count:>4} {kind.replace('_', ' ')}")
    print(f"units that include each other: {len(report['mutual_includes'])}")
    for first, second in report["mutual_includes"]:
        print(f"  {first} <-> {second}")
    for function in (report["functions"] or {"longest_20": []})["longest_20"]:
        print(f"  {function['lines']:>4} lines  {function['at']}  {function['name']}")
    print_rooms("room", report["rooms"])
    print_rooms("apart", report["apart"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repo", nargs="?", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    report = measure(arguments.repo)
    if arguments.json:
        json.dump(report, sys.stdout)
        print()
    else:
        print_report(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
