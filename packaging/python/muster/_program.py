"""The program `muster` that this package brings along."""

import os
import sys
from pathlib import Path


def path() -> Path:
    """The executable, with its libraries and files in the tree around it."""
    return Path(__file__).resolve().parent / "program" / "bin" / "muster"


def main() -> None:
    """What the command `muster` of an environment does: it becomes the program."""
    os.execv(path(), ["muster", *sys.argv[1:]])
