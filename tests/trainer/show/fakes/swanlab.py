"""Stands for SwanLab in a test: what it is told goes to $TOLD."""
import json
import os


def _tell(*what):
    with open(os.environ["TOLD"], "a") as told:
        told.write(json.dumps(what, sort_keys=True) + "\n")


def init(project, experiment_name, mode):
    _tell("init", project, experiment_name, mode)


def log(values, step):
    _tell("log", values, step)


def finish():
    _tell("finish")
