"""export_check.py HF_DIR CASE.safetensors: transformers loads HF_DIR strictly and reproduces the logits of the case."""
import sys

import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

TOLERANCE = 2e-4  # of the largest logit


def main(folder, case_file):
    model, info = AutoModelForImageTextToText.from_pretrained(
        folder, output_loading_info=True, dtype=torch.float32, attn_implementation="eager")
    wrong = {kind: sorted(map(str, keys)) for kind, keys in info.items() if keys}
    if wrong:
        sys.exit(f"{folder}: {wrong}")
    case = load_file(case_file)
    ids = case["input_ids"]
    with torch.no_grad():
        got = model.eval()(
            input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=case["pixel_values"],
            image_grid_thw=case["image_grid_thw"],
            mm_token_type_ids=(ids == model.config.image_token_id).int()).logits[0]  # without: plain-text positions
    error = ((got - case["logits"]).abs().max() / case["logits"].abs().max()).item()
    print(f"{model.config.model_type}: {len(list(model.parameters()))} parameters, "
          f"logits differ by {error:.1e} of the largest")
    if not error <= TOLERANCE:
        sys.exit(1)


main(*sys.argv[1:])
