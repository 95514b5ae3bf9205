"""The other side of ./run bench accuracy: a small YOLO from random weights on the pictures that muster packs."""
import argparse
import json
import os
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

NAMES = ["RBC", "WBC", "Platelets"]


def objects(voc, name):
    """Width, height and [class, x1, y1, x2, y2] of a picture; None where a box is empty: pack --skip-bad leaves it out."""
    root = ElementTree.parse(voc / "Annotations" / f"{name}.xml").getroot()
    boxes = []
    for thing in root.iter("object"):
        box = [float(thing.find("bndbox").find(key).text) for key in ("xmin", "ymin", "xmax", "ymax")]
        if box[2] <= box[0] or box[3] <= box[1]:
            return None
        boxes.append([NAMES.index(thing.find("name").text), *box])
    size = root.find("size")
    return float(size.find("width").text), float(size.find("height").text), boxes


def pictures(voc, split):
    names = (voc / "ImageSets" / "Main" / f"{split}.txt").read_text().split()
    found = {name: objects(voc, name) for name in names if (voc / "JPEGImages" / f"{name}.jpg").exists()}
    return {name: seen for name, seen in found.items() if seen}


def write_yolo(voc, folder):
    """The folders of pictures and labels that the trainer reads, and data.yaml."""
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for name, (width, height, boxes) in pictures(voc, split).items():
            os.symlink((voc / "JPEGImages" / f"{name}.jpg").resolve(), folder / "images" / split / f"{name}.jpg")
            lines = [f"{c} {(x1 + x2) / 2 / width} {(y1 + y2) / 2 / height} {(x2 - x1) / width} {(y2 - y1) / height}"
                     for c, x1, y1, x2, y2 in boxes]
            (folder / "labels" / split / f"{name}.txt").write_text("\n".join(lines) + "\n")
    (folder / "data.yaml").write_text(
        f"path: {folder}\ntrain: images/train\nval: images/val\nnames: {json.dumps(NAMES)}\n")


def truth(voc):
    """The validation pictures as COCO has them, and the id of each picture."""
    ids, images, annotations = {}, [], []
    for name, (width, height, boxes) in pictures(voc, "val").items():
        ids[name] = len(ids) + 1
        images.append({"id": ids[name], "width": width, "height": height, "file_name": f"{name}.jpg"})
        for c, x1, y1, x2, y2 in boxes:
            annotations.append({"id": len(annotations) + 1, "image_id": ids[name], "category_id": c + 1, "iscrowd": 0,
                                "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)})
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(NAMES)]
    return {"images": images, "annotations": annotations, "categories": categories}, ids


def average_precision(dataset, detections):
    """AP and AP50 as pycocotools says them."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    coco = COCO()
    coco.dataset = dataset
    coco.createIndex()
    evaluation = COCOeval(coco, coco.loadRes(detections), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return float(evaluation.stats[0]), float(evaluation.stats[1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("voc", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--model", default="yolov8n.yaml")
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    out = sys.stdout
    sys.stdout = sys.stderr   # what the trainer prints is not the answer
    import torch
    from ultralytics import YOLO
    torch.set_num_threads(options.threads)
    folder = options.work / "yolo"
    write_yolo(options.voc, folder)
    model = YOLO(options.model)
    start = time.time()
    model.train(data=str(folder / "data.yaml"), imgsz=options.size, time=options.minutes / 60, device="cpu", val=False,
                pretrained=False, workers=0, seed=options.seed, plots=False, project=str(options.work), name="peer", epochs=1000)
    seconds = time.time() - start
    dataset, ids = truth(options.voc)
    detections = []
    for name, number in ids.items():
        found = model.predict(str(options.voc / "JPEGImages" / f"{name}.jpg"), imgsz=options.size, conf=0.001, verbose=False,
                              device="cpu")[0].boxes
        for box, score, c in zip(found.xyxy.tolist(), found.conf.tolist(), found.cls.tolist()):
            detections.append({"image_id": number, "category_id": int(c) + 1, "score": score,
                               "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]]})
    ap, ap50 = average_precision(dataset, detections)
    print(json.dumps({"model": options.model, "ap": ap, "ap50": ap50, "seconds": seconds,
                      "epochs": model.trainer.epoch + 1}), file=out)


main()
