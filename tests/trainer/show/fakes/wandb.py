"""Stands for Weights & Biases in a test: what it is told goes to $TOLD."""
import json
import os


class _Run:
    def save(self, path, policy):
        _tell("save", path, policy)

    def log(self, values, step):
        _tell("log", values, step)

    def finish(self):
        _tell("finish")


def _tell(*what):
    with open(os.environ["TOLD"], "a") as told:
        told.write(json.dumps(what, sort_keys=True) + "\n")


def init(**settings):
    _tell("init", settings["project"], settings["name"], settings["resume"])
    return _Run()
