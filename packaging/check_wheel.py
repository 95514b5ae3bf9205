#!/usr/bin/env -S python3 -B
"""check_wheel.py WHEEL: does the wheel's tag keep its word?

Every symbol of glibc and libstdc++ that a file in the wheel asks for must be in the oldest system that the tag names, and
docs/install.md must name the same tag. Asks objdump for each symbol; make_wheel.py, which chose the tag, reads tables of
versions.
"""

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from make_wheel import HERE, LIBSTDCXX_OF_GLIBC, version_of


def limits_of(tag):
    """The newest GLIBC_ and GLIBCXX_ that a system of this tag has."""
    found = re.search(r"manylinux_(\d+)_(\d+)_x86_64", tag)
    if not found:
        sys.exit(f"check_wheel: {tag} has no tag manylinux_X_Y_x86_64")
    glibc = (int(found[1]), int(found[2]))
    libstdcxx = max((cxx for g, cxx in LIBSTDCXX_OF_GLIBC if g <= glibc), default=(3, 4, 19))
    return {"GLIBC": glibc, "GLIBCXX": libstdcxx}


def too_new(file, limits):
    """Lines for the symbols of one ELF file that a system within the limits lacks."""
    listed = subprocess.run(["objdump", "-T", file], capture_output=True, text=True, check=True).stdout
    for library, version, symbol in re.findall(r"\*UND\*.*\((GLIBC|GLIBCXX)_([0-9.]+)\)\s+(\S+)", listed):
        if version_of(version) > limits[library]:
            yield f"{file.name} asks for {symbol} of {library}_{version}"


def main():
    wheel = Path(sys.argv[1])
    faults, looked_at = [], 0
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(wheel).extractall(folder)
        for file in sorted(Path(folder).rglob("*")):
            if file.is_file() and file.read_bytes()[:4] == b"\x7fELF":
                faults += too_new(file, limits_of(wheel.name))
                looked_at += 1
    if looked_at == 0:
        faults.append("no program in it")
    tag = re.search(r"manylinux_\d+_\d+", wheel.name)[0]
    if f"`{tag}`" not in (HERE.parent / "docs" / "install.md").read_text(encoding="utf-8"):
        faults.append(f"docs/install.md does not say `{tag}`")
    for fault in faults:
        print(f"check_wheel: {wheel.name}: {fault}", file=sys.stderr)
    if not faults:
        print(f"{wheel.name}: {looked_at} ELF files keep to {tag}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
