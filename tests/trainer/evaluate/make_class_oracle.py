"""Writes class_oracle.json: pycocotools' twelve numbers of each class of the golden cases, and from its matches the
threshold at which F1 is highest (IoU 0.5). Run with pycocotools 2.0: make_class_oracle.py GOLDEN/coco_eval."""
import contextlib
import io
import json
import pathlib
import sys

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

NAMES = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]


def best_f1(evaluation, category):
    """The highest F1 of any threshold, from COCOeval's own matches at IoU 0.5, all areas, 100 detections."""
    scores, right, truths = [], [], 0
    for image in evaluation.evalImgs:
        if image is None or image["category_id"] != category or image["aRng"] != evaluation.params.areaRng[0]:
            continue
        truths += int(np.sum(np.array(image["gtIgnore"]) == 0))
        for score, match, ignored in zip(image["dtScores"], image["dtMatches"][0], image["dtIgnore"][0]):
            if not ignored:
                scores.append(score)
                right.append(match > 0)
    best, threshold = 0.0, 1.0
    for score in sorted(set(scores), reverse=True):
        kept = [r for s, r in zip(scores, right) if s >= score]
        hits = sum(kept)
        f1 = 2 * hits / (len(kept) + truths) if truths else 0.0
        if f1 > best + 1e-12:
            best, threshold = f1, score
    return truths, best, threshold


def classes_of(truth_file, detections_file):
    truth = COCO(truth_file)
    detections = truth.loadRes(detections_file)
    classes = {}
    for category in truth.getCatIds():
        evaluation = COCOeval(truth, detections, "bbox")
        evaluation.params.catIds = [category]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        truths, f1, threshold = best_f1(evaluation, category)
        classes[truth.loadCats(category)[0]["name"]] = {
            "metrics": dict(zip(NAMES, map(float, evaluation.stats))),
            "truths": truths, "best_f1": f1, "best_threshold": threshold}
    return classes


folder = pathlib.Path(sys.argv[1])
oracle = {}
for truth_file in sorted(folder.glob("*.gt.json")):
    name = truth_file.name.removesuffix(".gt.json")
    with contextlib.redirect_stdout(io.StringIO()):
        oracle[name] = classes_of(str(truth_file), str(folder / f"{name}.dets.json"))
target = pathlib.Path(__file__).with_name("class_oracle.json")
target.write_text(json.dumps(oracle, indent=1) + "\n")
