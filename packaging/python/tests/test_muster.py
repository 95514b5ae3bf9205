"""python3 -m unittest discover packaging/python/tests: the module alone, with a stand-in program.

With MUSTER (the program) and MUSTER_TEST_CHECKPOINT (a trained detector), predict is tried for real.
"""
import json
import os
import stat
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import muster  # noqa: E402
from muster._pictures import write_png  # noqa: E402

# Says what it was asked, finds one box in each picture, and cannot read those named bad*.
STAND_IN = """#!%s
import json, os, sys
args = sys.argv[1:]
if args[0] == "fail":
    print("muster: no such thing", file=sys.stderr)
    sys.exit(64)
if args[0] == "predict":
    out = args[args.index("-o") + 1]
    os.makedirs(out)
    entries = []
    bad = 0
    for line in open(args[2]):
        path = line.strip()
        if os.path.basename(os.path.realpath(path)).startswith("bad"):
            bad += 1
            continue
        entries.append({"image": path, "width": 4, "height": 3, "asked": args, "bytes": os.path.getsize(path),
                        "detections": [{"box": [0, 0, 1, 1], "score": 0.5, "caption": "x", "category_id": 1}]})
    json.dump(entries, open(os.path.join(out, "detections.json"), "w"))
    sys.exit(65 if bad and "--skip-bad" not in args else 0)
print(json.dumps(args))
"""


class Array:
    """As much of numpy's array as the module may ask for."""

    def __init__(self, shape, dtype="uint8"):
        self.shape, self.dtype = shape, dtype

    def tobytes(self):
        size = 1
        for side in self.shape:
            size *= side
        return bytes(i % 256 for i in range(size))


class WithStandIn(unittest.TestCase):
    def setUp(self):
        work = tempfile.TemporaryDirectory()
        self.addCleanup(work.cleanup)
        self.work = work.name
        program = os.path.join(self.work, "program")
        with open(program, "w") as file:
            file.write(STAND_IN % sys.executable)
        os.chmod(program, stat.S_IRWXU)
        before = os.environ.get("MUSTER")
        os.environ["MUSTER"] = program
        self.addCleanup(lambda: os.environ.pop("MUSTER") if before is None else os.environ.update(MUSTER=before))

    def picture(self, name):
        path = os.path.join(self.work, name)
        with open(path, "wb") as file:
            file.write(b"some bytes")
        return path


class Run(WithStandIn):
    def test_stdout_comes_back(self):
        self.assertEqual(json.loads(muster.run(["plan", "a.yaml", "--json"]).stdout), ["plan", "a.yaml", "--json"])

    def test_a_failure_says_code_and_message(self):
        with self.assertRaises(muster.MusterError) as caught:
            muster.run(["fail"], capture_errors=True)
        self.assertEqual(caught.exception.code, 64)
        self.assertIn("no such thing", str(caught.exception))
        self.assertEqual(muster.run(["fail"], capture_errors=True, check=False).returncode, 64)

    def test_a_wrong_MUSTER_is_named(self):
        os.environ["MUSTER"] = "/nowhere/muster"
        with self.assertRaisesRegex(FileNotFoundError, "/nowhere/muster"):
            muster.run(["status"])


class Predict(WithStandIn):
    def setUp(self):
        super().setUp()
        self.detector = muster.Detector(self.work, device="cpu", batch=3)

    def test_a_dict_per_picture_in_order(self):
        pictures = [self.picture("b.jpg"), self.picture("a.png"), self.picture("b.jpg")]
        found = self.detector.predict(pictures, threshold=0.25, prompt="Find it.")
        self.assertEqual([f["image"] for f in found], pictures)
        asked = found[0]["asked"]
        for option, value in (("--threshold", "0.25"), ("--prompt", "Find it."), ("--device", "cpu"), ("--batch", "3")):
            self.assertEqual(asked[asked.index(option) + 1], value)
        self.assertNotIn("--skip-bad", asked)
        self.assertEqual(found[0]["detections"][0]["box"], [0, 0, 1, 1])

    def test_one_picture_and_none(self):
        self.assertEqual(len(self.detector.predict(self.picture("a.jpg"))), 1)
        self.assertEqual(self.detector.predict([]), [])

    def test_arrays_become_png(self):
        found = self.detector.predict([Array((3, 4, 3))])
        self.assertIsNone(found[0]["image"])
        self.assertGreater(found[0]["bytes"], 50)
        for wrong in (Array((3, 4)), Array((3, 4, 3), "float32"), 7):
            with self.assertRaisesRegex(TypeError, "uint8"):
                self.detector.predict([wrong])

    def test_bad_pictures(self):
        pictures = [self.picture("a.jpg"), self.picture("bad.jpg"), self.picture("c.jpg")]
        with self.assertRaises(muster.MusterError) as caught:
            self.detector.predict(pictures)
        self.assertEqual(caught.exception.code, 65)
        found = self.detector.predict(pictures, skip_bad=True)
        self.assertEqual([f and f["image"] for f in found], [pictures[0], None, pictures[2]])

    def test_no_checkpoint(self):
        with self.assertRaisesRegex(FileNotFoundError, "no checkpoint"):
            muster.Detector(os.path.join(self.work, "nothing"))


class Metrics(unittest.TestCase):
    def read(self, text):
        with tempfile.TemporaryDirectory() as run:
            with open(os.path.join(run, "metrics.jsonl"), "w") as file:
                file.write(text)
            return muster.read_metrics(run)

    def test_lines(self):
        self.assertEqual(self.read('{"step": 1, "loss": 0.5}\n{"step": 1, "eval.ap": 0.1}\n'),
                         [{"step": 1, "loss": 0.5}, {"step": 1, "eval.ap": 0.1}])
        self.assertEqual(self.read(""), [])

    def test_a_line_still_being_written_is_left_out(self):
        self.assertEqual(self.read('{"step": 1}\n{"step": 2, "lo'), [{"step": 1}])

    def test_damage_is_named(self):
        with self.assertRaisesRegex(ValueError, "metrics.jsonl:1"):
            self.read('{"st\n{"step": 2}\n')


@unittest.skipUnless(os.environ.get("MUSTER_TEST_CHECKPOINT"), "MUSTER_TEST_CHECKPOINT names no checkpoint")
class Real(unittest.TestCase):
    def test_predict(self):
        with tempfile.TemporaryDirectory() as work:
            path = os.path.join(work, "stored.png")
            write_png(path, Array((168, 168, 3)))
            broken = os.path.join(work, "broken.png")
            with open(broken, "wb") as file:
                file.write(b"\x89PNG")
            detector = muster.Detector(os.environ["MUSTER_TEST_CHECKPOINT"])
            found = detector.predict([path, broken, Array((168, 168, 3))], threshold=0, skip_bad=True)
        self.assertIsNone(found[1])
        self.assertEqual((found[0]["width"], found[0]["height"]), (168, 168))
        self.assertTrue(found[0]["detections"])
        self.assertEqual(len(found[0]["detections"]), len(found[2]["detections"]))
        for one, other in zip(found[0]["detections"], found[2]["detections"]):   # in a batch, sums are of another order
            self.assertEqual(one["caption"], other["caption"])
            self.assertAlmostEqual(one["score"], other["score"], places=5)


if __name__ == "__main__":
    unittest.main()
