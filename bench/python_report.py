"""The numbers of ./run bench python. Arguments: report.jsonl, json|table."""
import json
import sys


def main(path, form):
    with open(path) as lines:
        cases = [json.loads(line) for line in lines]
    out = sys.stderr if form == "json" else sys.stdout
    titles = ("transformers", "case", "boxes", "captions seen", "best score", "box", "score", "captions unequal",
              "processor: ids, pixel steps")
    print(f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|", file=out)
    for c in cases:
        print(f"| {c['transformers']} | {c['case']} | {c['detections']} | {c['different_captions']} | {c['best_score']:.2f} "
              f"| {c['box_max']:.1e} | {c['score_max']:.1e} | {c['captions_unequal']} "
              f"| {'equal' if c['ids_equal'] else 'UNEQUAL'}, {c['pixel_steps']:.1f} |", file=out)
    result = {"cases": len(cases),
              "box_max": max(c["box_max"] for c in cases),
              "score_max": max(c["score_max"] for c in cases),
              "captions_equal": all(c["captions_unequal"] == 0 for c in cases),
              "ids_equal": all(c["ids_equal"] for c in cases),
              "equal": all(c["equal"] for c in cases)}
    if form == "json":
        print(json.dumps(result))


main(*sys.argv[1:])
