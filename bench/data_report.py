"""The numbers of ./run bench data. Arguments: folder of the parts, pictures of the YOLO set, json|table."""
import json
import os
import sys


def part(folder, name):
    path = f"{folder}/{name}.json"
    if not os.path.exists(path) or os.path.getsize(path) == 0:
        return None
    with open(path) as file:
        return json.load(file)


def main():
    folder, pictures, form = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    images, images_peer = part(folder, "images"), part(folder, "images.peer")
    tokens, tokens_peer = part(folder, "tokenizer"), part(folder, "tokenizer.peer")
    scan, scan_peer = part(folder, "scan"), part(folder, "scan.peer")
    plan, measure = part(folder, "plan"), part(folder, "measure")
    ratio = lambda ours, peer: ours / peer if peer else None
    result = {
        "pack_pictures_per_s": pictures / part(folder, "pack")["seconds"],
        "fill": plan["fill"],
        "balance": plan["balance"],
        "plan_samples": plan["samples"],
        "plan_seconds": plan["seconds"],
        "check_seconds_cold": part(folder, "cold")["seconds"],
        "check_seconds_warm": part(folder, "warm")["seconds"],
        "measure_seconds_per_million": measure["seconds_per_million"],
        "measure_seconds_per_million_augmented": measure["seconds_per_million_augmented"],
        "images_per_s": images["pictures_per_s"],
        "images_decoded_per_s": images["decoded_per_s"],
        "images_per_s_transformers": images_peer and images_peer["pictures_per_s"],
        "images_ratio": images_peer and ratio(images["pictures_per_s"], images_peer["pictures_per_s"]),
        "tokenizer_mb_per_s": tokens["mb_per_s"],
        "tokenizer_mb_per_s_tokenizers": tokens_peer and tokens_peer["mb_per_s"],
        "tokenizer_ratio": tokens_peer and ratio(tokens["mb_per_s"], tokens_peer["mb_per_s"]),
        "tokenizers_agree": tokens_peer and tokens["tokens"] == tokens_peer["tokens"],
        "scan_pictures_per_s": pictures / scan["seconds"],
        "scan_pictures_per_s_ultralytics": scan_peer and pictures / scan_peer["seconds"],
        "scan_ratio": scan_peer and ratio(scan_peer["seconds"], scan["seconds"]),
    }
    if form == "json":
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:40} {value if not isinstance(value, float) else round(value, 3)}")
    if images_peer is None:
        print("the peers could not be installed")


if __name__ == "__main__":
    main()
