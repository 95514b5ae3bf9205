"""What the other programs of ./run bench peers share, and their start weights.

  peers_common.py make CONFIG_DIR OUT_DIR      draws the weights that all programs start from
"""
import json
import math
import os
import sys

import torch
import torch.distributed as dist
from PIL import Image
from tokenizers import Tokenizer

IMAGE_PAD = "<|image_pad|>"
LABEL_NONE = -100
# As bench/peers.yaml has them for muster.
ADAMW = dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-8)
WEIGHT_DECAY, CLIP_NORM = 0.01, 1.0
WARMUP_STEPS, LEAST_RATE = 4, 0.1


def rate_factor(step, steps):
    """muster's cosine schedule: on the peak rate, of the step that comes after `step` others."""
    if step < WARMUP_STEPS:
        return (step + 1) / WARMUP_STEPS
    t = min((step - WARMUP_STEPS) / max(steps - WARMUP_STEPS, 1), 1)
    return LEAST_RATE + (1 - LEAST_RATE) * 0.5 * (1 + math.cos(math.pi * t))


class Samples(torch.utils.data.Dataset):
    """The samples of the run in the order in which muster takes them: two by two, ranks in turn."""

    def __init__(self, folder):
        with open(os.path.join(folder, "order.json")) as file:
            order = json.load(file)
        self.samples = order["samples"]
        self.pictures = order["pictures"]
        self.tokenizer = Tokenizer.from_file(os.path.join(order["tokenizer"], "tokenizer.json"))
        self.pad = self.tokenizer.token_to_id(IMAGE_PAD)
        self.processor = image_processor()

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        sample = self.samples[i]
        with Image.open(os.path.join(self.pictures, sample["picture"])) as picture:
            vision = self.processor(images=[picture.convert("RGB")], return_tensors="pt")
        grid = vision["image_grid_thw"]
        pads = int(grid[0].prod()) // self.processor.merge_size**2
        ids, labels = [], []
        for learned, text in sample["text"]:
            text = text.replace(IMAGE_PAD, IMAGE_PAD * pads)
            part = self.tokenizer.encode(text, add_special_tokens=False).ids
            ids += part
            labels += part if learned else [LABEL_NONE] * len(part)
        if len(ids) != sample["tokens"]:
            raise SystemExit(f"sample {i} has {len(ids)} tokens here and {sample['tokens']} in muster")
        ids = torch.tensor(ids)
        types = (ids == self.pad).long()  # mm_token_type_ids: without it 5.17 takes the positions of plain text
        return dict(input_ids=ids, labels=torch.tensor(labels), mm_token_type_ids=types,
                    pixel_values=vision["pixel_values"], image_grid_thw=grid)


def image_processor():
    from transformers import Qwen2VLImageProcessorPil
    return Qwen2VLImageProcessorPil(min_pixels=3136, max_pixels=156800)


def load_model(folder, **options):
    from transformers import Qwen2_5_VLForConditionalGeneration
    path = os.path.join(folder, "model")
    return Qwen2_5_VLForConditionalGeneration.from_pretrained(path, dtype=torch.float32, **options).train()


def tell(ends, losses):
    """Rank 0 prints when each step ended (the later rank counts) and its loss, the mean of what the ranks hold."""
    ends = torch.tensor(ends, dtype=torch.float64)
    losses = torch.stack([loss.detach().double().reshape(()) for loss in losses])
    dist.all_reduce(ends, dist.ReduceOp.MAX)
    dist.all_reduce(losses)
    if dist.get_rank() == 0:
        print(json.dumps(dict(ends=ends.tolist(), losses=(losses / dist.get_world_size()).tolist())), flush=True)
    dist.barrier()
    os._exit(0)      # DeepSpeed's and Gloo's exit handlers may wait for each other


def make(config_dir, folder):
    """bf16 holds every weight exactly, so that the masters of all programs start equal in both dtypes."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig.from_pretrained(config_dir))
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.bfloat16().float())
    model.save_pretrained(folder)
    print(sum(p.numel() for p in model.parameters()))


if __name__ == "__main__":
    make(*sys.argv[2:])
