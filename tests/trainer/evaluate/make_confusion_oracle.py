"""Writes confusion_oracle.json: random boxes, and the confusion matrices of a slow plain reading of the rule. Python's
standard library alone: make_confusion_oracle.py > confusion_oracle.json

Per image, detections below the score threshold are dropped. Then, again and again, of all pairs of a detection and a true
box that are both still free, the one of the highest IoU is taken, as long as that is at least 0.5. A true box that stays
free is missed (row of its class, column background); a detection that stays free is made up (row background), unless it
lies in a crowd. IoU is exact: boxes are integers and the quotient is a fraction.

Ultralytics' ConfusionMatrix (process_batch) lets each detection keep the truth that it overlaps most, then each truth the
detection: a detection that loses its best truth gets no other. In images without crowds and without such a loser both
rules must give the same pairs, which is asserted here; "images_as_ultralytics" counts them."""
import fractions
import json
import random

IOU = fractions.Fraction(1, 2)


def common(a, b):
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)


def iou(a, b):
    both = common(a, b)
    return fractions.Fraction(both, a[2] * a[3] + b[2] * b[3] - both)


def in_crowd(box, crowd):
    return fractions.Fraction(common(box, crowd), box[2] * box[3]) >= IOU


def pairs_of(truths, found):
    """The best free pair, until there is none."""
    pairs = []
    free_truths, free_found = list(range(len(truths))), list(range(len(found)))
    while True:
        best = None
        for d in free_found:
            for t in free_truths:
                overlap = iou(found[d]["box"], truths[t]["box"])
                if overlap >= IOU and (best is None or overlap > best[0]):
                    best = (overlap, d, t)
        if best is None:
            return pairs, free_truths, free_found
        pairs.append(best[1:])
        free_found.remove(best[1])
        free_truths.remove(best[2])


def ultralytics(truths, found):
    """None where a detection is left without its best truth, or two overlaps are the same."""
    wishes = {}
    for d, detection in enumerate(found):
        overlaps = sorted(((iou(detection["box"], t["box"]), i) for i, t in enumerate(truths)), reverse=True)
        overlaps = [o for o in overlaps if o[0] >= IOU]
        if len(overlaps) > 1 and overlaps[0][0] == overlaps[1][0]:
            return None
        if overlaps:
            wishes.setdefault(overlaps[0][1], []).append((overlaps[0][0], d, len(overlaps)))
    pairs = []
    for truth, suitors in wishes.items():
        suitors.sort(reverse=True)
        if len(suitors) > 1 and suitors[0][0] == suitors[1][0]:
            return None
        if any(others > 1 for _, _, others in suitors[1:]):
            return None  # the greedy rule would give it the next best
        pairs.append((suitors[0][1], truth))
    return sorted(pairs)


def box_near(rng, box):
    moved = [box[0] + rng.randint(-4, 4), box[1] + rng.randint(-4, 4)]
    return moved + [max(2, box[2] + rng.randint(-3, 3)), max(2, box[3] + rng.randint(-3, 3))]


def random_image(rng, number, classes, crowds, unnamed):
    truths, found = [], []
    for _ in range(rng.randint(0, 8)):
        box = [rng.randint(0, 30), rng.randint(0, 30), rng.randint(4, 20), rng.randint(4, 20)]
        truths.append({"image": number, "category": rng.choice(classes), "box": box,
                       "crowd": crowds and rng.random() < 0.2})
        for _ in range(rng.randint(0, 3)):
            category = -1 if unnamed and rng.random() < 0.2 else rng.choice(classes)
            found.append({"image": number, "category": category, "box": box_near(rng, box),
                          "score": rng.randint(1, 20) / 20})
    rng.shuffle(found)
    return truths, found


def add_image(matrix, rows, truths, found, threshold):
    background = len(matrix) - 1
    row = lambda box: rows.get(box["category"], len(rows))
    crowds = [t for t in truths if t["crowd"]]
    truths = [t for t in truths if not t["crowd"]]
    found = [d for d in found if d["score"] >= threshold]
    pairs, missed, made_up = pairs_of(truths, found)
    for d, t in pairs:
        matrix[row(truths[t])][row(found[d])] += 1
    for t in missed:
        matrix[row(truths[t])][background] += 1
    for d in made_up:
        if not any(in_crowd(found[d]["box"], crowd["box"]) for crowd in crowds):
            matrix[background][row(found[d])] += 1
    theirs = ultralytics(truths, found)
    return not crowds and theirs is not None, theirs == sorted(pairs)


def make_case(rng, images, crowds, unnamed, threshold):
    classes = sorted(rng.sample(range(1, 50), rng.randint(1, 4)))
    rows = {category: i for i, category in enumerate(classes)}
    case = {"threshold": threshold, "classes": classes, "truths": [], "detections": []}
    size = len(classes) + 1
    pictures = [random_image(rng, number, classes, crowds, unnamed) for number in range(images)]
    size += any(d["category"] < 0 for _, found in pictures for d in found)
    matrix = [[0] * size for _ in range(size)]
    comparable = 0
    for truths, found in pictures:
        case["truths"] += truths
        case["detections"] += found
        same_rule, same_pairs = add_image(matrix, rows, truths, found, threshold)
        comparable += same_rule
        assert same_pairs or not same_rule
    case["images_as_ultralytics"] = comparable
    case["counts"] = matrix
    return case


def main():
    rng = random.Random(12)
    cases = [make_case(rng, images=rng.randint(1, 12), crowds=i % 2 == 1, unnamed=i % 3 == 2,
                       threshold=rng.choice([0.25, 0.5, 0.75])) for i in range(16)]
    print(json.dumps({"cases": cases}, separators=(",", ":")))


main()
