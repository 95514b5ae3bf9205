"""muster from Python: a thin layer over the installed `muster` program. Standard library only.

    import muster
    detector = muster.Detector("runs/demo")
    for found in detector.predict(["a.jpg", "b.jpg"], threshold=0.3):
        print(found["image"], [(d["caption"], d["score"], d["box"]) for d in found["detections"]])

    muster.run(["launch", "config.yaml", "-n", "2"])
    losses = [step["loss"] for step in muster.read_metrics("runs/demo") if "loss" in step]

Everything is computed by the program; nothing here holds a model between two calls.
"""
import json
import os
import subprocess
import tempfile

from ._pictures import store_picture
from ._program import find_program

__all__ = ["Detector", "MusterError", "read_metrics", "run"]


class MusterError(RuntimeError):
    """The program ended with a code other than 0. `code` is that of docs: 64 usage, 65 data, 70 a
    rank failed, 75 stopped on request ...; negative: ended by that signal."""

    def __init__(self, arguments, code, message):
        command = " ".join(["muster", *arguments[:1]])
        super().__init__(f"{command} ended with {code}" + (f": {message}" if message else ""))
        self.code = code
        self.message = message


def run(arguments, *, capture_errors=False, check=True, cwd=None, env=None):
    """Runs `muster ARGUMENTS`; returns subprocess.CompletedProcess with stdout as text.

    stderr (progress, log lines) goes where this process's goes, or with capture_errors into the
    result. Raises MusterError for a code other than 0, unless check is false.
    """
    arguments = [os.fspath(a) for a in arguments]
    done = subprocess.run(
        [find_program(), *arguments], stdout=subprocess.PIPE, check=False, cwd=cwd, env=env,
        stderr=subprocess.PIPE if capture_errors else None, encoding="utf-8", errors="replace")
    if check and done.returncode != 0:
        raise MusterError(arguments, done.returncode, (done.stderr or "").strip()[-2000:])
    return done


def read_metrics(run_dir):
    """The objects of a run's metrics.jsonl, in order: steps have "loss", evaluations "eval.*" keys.

    A last line that is still being written is left out. Any other damaged line is a ValueError.
    """
    path = os.path.join(os.fspath(run_dir), "metrics.jsonl")
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = file.read().split("\n")
    whole, rest = lines[:-1], lines[-1]
    metrics = []
    for number, line in enumerate(whole, 1):
        try:
            metrics.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}:{number}: not JSON: {error}") from None
    if rest:
        try:
            metrics.append(json.loads(rest))
        except json.JSONDecodeError:
            pass
    return metrics


class Detector:
    """A checkpoint: a run folder, one of its step-* folders, or a folder that `export` wrote."""

    def __init__(self, checkpoint, *, device=None, batch=8):
        """device: "cpu" or "cuda"; none: the config's. batch: pictures in the model at a time."""
        self.checkpoint = os.path.abspath(os.fspath(checkpoint))
        if not os.path.exists(self.checkpoint):
            raise FileNotFoundError(f"no checkpoint: {self.checkpoint}")
        self.device = device
        self.batch = batch

    def predict(self, images, *, prompt=None, threshold=None, skip_bad=False, upright=False):
        """What is on each of `images`: paths, PIL pictures, or uint8 arrays [height, width, 3].

        Returns a plain dict per picture, in order: "image" (the path, or None), "width", "height",
        "detections": [{"box": [x1, y1, x2, y2] in pixels, "score", "caption", "category_id"}], best
        first. threshold, prompt: the config's where none is given. upright turns pictures as EXIF
        says. A picture that cannot be used raises MusterError, or with skip_bad stands as None.
        One call loads the checkpoint once: give it all pictures that there are.
        """
        if isinstance(images, (str, bytes, os.PathLike)) or hasattr(images, "__array_interface__"):
            images = [images]   # one picture is a list of one
        images = list(images)
        if not images:
            return []
        with tempfile.TemporaryDirectory(prefix="muster-") as work:
            names = [store_picture(image, work, i) for i, image in enumerate(images)]
            found = self._found(work, names, prompt, threshold, skip_bad, upright)
        results = [found.get(name) for name in names]
        for image, result in zip(images, results):
            if result is not None:
                result["image"] = os.fspath(image) if _is_path(image) else None
        return results

    def _found(self, work, names, prompt, threshold, skip_bad, upright):
        """What the program says of the stored pictures, by their stored names."""
        listed = os.path.join(work, "pictures.txt")
        with open(listed, "w", encoding="utf-8") as file:
            file.writelines(f"{name}\n" for name in names)
        out = os.path.join(work, "found")
        arguments = ["predict", self.checkpoint, listed, "-o", out, "--no-overlay",
                     "--batch", str(self.batch)]
        for option, value in (("--prompt", prompt), ("--threshold", threshold),
                              ("--device", self.device)):
            if value is not None:
                arguments += [option, str(value)]
        arguments += ["--skip-bad"] * skip_bad + ["--upright"] * upright
        run(arguments, capture_errors=True)
        with open(os.path.join(out, "detections.json"), encoding="utf-8") as file:
            return {entry["image"]: entry for entry in json.load(file)}


def _is_path(image):
    return isinstance(image, (str, os.PathLike))
