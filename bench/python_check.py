"""python_check.py HF_DIR CASE: the detector that export wrote, run by transformers, beside `muster predict`; and transformers' own
processor of the folder beside what the detector does with a picture and a prompt.

Fifty pictures of many sizes, colours and shapes, drawn here; every query of every one (threshold 0). $MUSTER names the program.
Prints one JSON object and exits 1 where boxes differ by more than 1e-3 of the picture, scores by more than 1e-4, or captions at all,
ids, or pixels by more than a rounded step of a byte (transformers 5 resizes with torchvision).
"""
import json
import os
import random
import sys
import tempfile

import transformers
from PIL import Image, ImageDraw
from transformers import AutoModel, AutoProcessor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../packaging/python"))
import muster  # noqa: E402

PICTURES, BOX_TOLERANCE, SCORE_TOLERANCE = 50, 1e-3, 1e-4


def draw(path, rng):
    size = rng.randint(30, 260), rng.randint(30, 260)
    image = Image.new("RGB", size, tuple(rng.randrange(256) for _ in range(3)))
    pen = ImageDraw.Draw(image)
    for _ in range(rng.randint(1, 6)):
        x, y = rng.randint(0, size[0] - 12), rng.randint(0, size[1] - 12)
        box = x, y, x + rng.randint(8, 80), y + rng.randint(8, 80)
        shape = pen.rectangle if rng.random() < 0.5 else pen.ellipse
        shape(box, fill=tuple(rng.choice([0, 40, 200, 255]) for _ in range(3)))
    image.convert(rng.choice(["RGB", "RGB", "L"])).save(path)


def nearest(one, others, image):
    """The detection of `others` with the caption of `one` that lies nearest, how far, in sides of the picture; or None."""
    sides = (image["width"], image["height"]) * 2
    distance = lambda other: max(abs(a - b) / side for a, b, side in zip(one["box"], other["box"], sides))  # noqa: E731
    same = [(distance(o), abs(o["score"] - one["score"]), i) for i, o in enumerate(others) if o["caption"] == one["caption"]]
    return min(same, default=None)


def compare(ours, theirs):
    """The largest differences of one picture; every detection of ours has its own partner."""
    result = {"box": 0.0, "score": 0.0, "score_relative": 0.0, "captions": 0, "categories": 0}
    rest = list(theirs)
    result["captions"] += abs(len(ours["detections"]) - len(theirs))
    for one in ours["detections"]:
        found = nearest(one, rest, ours)
        if found is None:
            result["captions"] += 1
            continue
        partner = rest.pop(found[2])
        result["box"] = max(result["box"], found[0])
        result["score"] = max(result["score"], found[1])
        result["score_relative"] = max(result["score_relative"], found[1] / max(one["score"], 1e-12))
        result["categories"] += one["category_id"] != partner["category_id"]
    return result


def beside_processor(folder, detector, path):
    """Whether AutoProcessor gives the detector's ids, and the largest difference of pixel values, in steps of a byte."""
    processor = AutoProcessor.from_pretrained(folder)
    image, prompt = Image.open(path).convert("RGB"), "Detect all shapes."
    text = ("<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>" + prompt +
            "<|im_end|>\n<|im_start|>assistant\n")
    theirs = processor(text=[text], images=[image], return_tensors="pt")
    pixels, grid = detector.pictures.patches(image)
    if theirs["image_grid_thw"].tolist() != [list(grid)]:
        return False, float("inf")
    ids = detector.words.question("", prompt, grid[1] * grid[2] // detector.pictures.merge**2)
    apart = (pixels - theirs["pixel_values"].float()).abs().max().item()
    return ids == theirs["input_ids"][0].tolist(), apart * 255 * float(min(detector.pictures.std))


def main(folder, case):
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as work:
        pictures = [os.path.join(work, f"{i}.png") for i in range(PICTURES)]
        for path in pictures:
            draw(path, rng)
        ours = muster.Detector(folder).predict(pictures, threshold=0)
        detector = AutoModel.from_pretrained(folder, trust_remote_code=True)
        theirs = detector.detect(pictures, threshold=0)
        ids_equal, pixel_steps = beside_processor(folder, detector, pictures[0])
    worst = {}
    for mine, other in zip(ours, theirs):
        for key, value in compare(mine, other).items():
            worst[key] = worst.get(key, 0) + value if isinstance(value, int) else max(worst.get(key, 0), value)
    detections = [d for picture in ours for d in picture["detections"]]
    result = {"case": case, "transformers": transformers.__version__, "model_type": detector.config.model_type, "pictures": len(pictures),
              "detections": len(detections), "different_captions": len({d["caption"] for d in detections}),
              "best_score": max(d["score"] for d in detections), "box_max": worst["box"], "score_max": worst["score"],
              "score_max_relative": worst["score_relative"], "captions_unequal": worst["captions"],
              "categories_unequal": worst["categories"], "ids_equal": ids_equal, "pixel_steps": pixel_steps}
    result["equal"] = (result["box_max"] <= BOX_TOLERANCE and result["score_max"] <= SCORE_TOLERANCE
                       and not worst["captions"] and not worst["categories"] and ids_equal and pixel_steps < 1.1)
    print(json.dumps(result))
    sys.exit(not result["equal"])


main(*sys.argv[1:])
