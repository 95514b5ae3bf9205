"""The command `muster` of an environment, and `python3 -m muster`: it becomes the program."""
import os
import sys

from ._program import find_packaged_program


def main():
    os.execv(find_packaged_program(), ["muster", *sys.argv[1:]])


if __name__ == "__main__":
    main()
