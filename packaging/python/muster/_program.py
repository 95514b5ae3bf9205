"""Where the program `muster` is."""
import os
import shutil
import sysconfig


def find_packaged_program():
    """The program that the wheel brings along, with its libraries and files in the tree around it."""
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "program", "bin", "muster")


def find_program():
    """$MUSTER, else the one of this package, of this environment, of PATH: the path of `muster`."""
    named = os.environ.get("MUSTER")
    if named:
        if os.access(named, os.X_OK) and os.path.isfile(named):
            return named
        raise FileNotFoundError(f"$MUSTER is {named}, which is no program that can be run")
    for candidate in (find_packaged_program(),
                      os.path.join(sysconfig.get_path("scripts"), "muster"),
                      shutil.which("muster")):
        if candidate and os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    raise FileNotFoundError(
        "no program `muster` in this package, this environment or PATH: install the wheel, or set "
        "MUSTER to the program's path")
