"""export_check.py HF_DIR CASE.safetensors: transformers loads HF_DIR strictly and reproduces the logits of the case.

A model that is younger than this transformers is passed over, and said to be.
"""
import json
import os
import sys

import torch
import transformers
from safetensors.torch import load_file
from transformers import CONFIG_MAPPING, AutoModelForImageTextToText

TOLERANCE = 2e-4  # of the largest logit


def model_type(folder):
    with open(os.path.join(folder, "config.json")) as file:
        return json.load(file)["model_type"]


def main(folder, case_file):
    name = f"transformers {transformers.__version__}, {model_type(folder)}"
    if model_type(folder) not in CONFIG_MAPPING:
        return print(f"{name}: not in this version")
    model, info = AutoModelForImageTextToText.from_pretrained(
        folder, output_loading_info=True, torch_dtype=torch.float32, attn_implementation="eager")
    wrong = {kind: sorted(map(str, keys)) for kind, keys in info.items() if keys}
    if wrong:
        sys.exit(f"{folder}: {wrong}")
    case = load_file(case_file)
    ids = case["input_ids"]
    images = {"pixel_values": case["pixel_values"], "image_grid_thw": case["image_grid_thw"]}
    if int(transformers.__version__.split(".")[0]) >= 5:  # without: plain-text positions
        images["mm_token_type_ids"] = (ids == model.config.image_token_id).int()
    with torch.no_grad():
        got = model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids), **images).logits[0]
    error = ((got - case["logits"]).abs().max() / case["logits"].abs().max()).item()
    print(f"{name}: {len(list(model.parameters()))} parameters, logits differ by {error:.1e} of the largest")
    if not error <= TOLERANCE:
        sys.exit(1)


main(*sys.argv[1:])
