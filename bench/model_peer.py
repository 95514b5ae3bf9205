"""The peer of ./run bench model: Hugging Face transformers on the same weights and the same batch.

  make DIR                         a random Qwen2.5-VL of platform size and a padded batch of unequal lengths
  shape DIR                        config.json of the 3B, a weight file of holes, and a batch of equal lengths
  run DIR --dtype D --threads N --steps K [--gradients FILE] [--device cuda] [--recompute] [--redraw]
                                   one JSON object, as bench_model prints it
  compare DIR --dtype D            do losses and gradients agree? one JSON object
"""
import argparse
import json
import os

import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from peer_steps import memory, timed_steps

IMAGE, START, END, VOCAB = 151655, 151652, 151653, 151936
ANSWERS = (40, 240, 90, 180)  # tokens of the four samples' answers


def config(text, vision):
    return Qwen2_5_VLConfig(
        text_config=dict(vocab_size=VOCAB, num_key_value_heads=2, rms_norm_eps=1e-6, tie_word_embeddings=True, **text),
        vision_config=dict(patch_size=14, spatial_merge_size=2, temporal_patch_size=2, window_size=112, **vision),
        image_token_id=IMAGE, vision_start_token_id=START, vision_end_token_id=END, video_token_id=151656,
        tie_word_embeddings=True)


def rope(*sections):
    return dict(rope_type="default", rope_theta=1e6, mrope_section=list(sections))


def config_small():
    return config(
        dict(hidden_size=512, intermediate_size=1536, num_hidden_layers=4, num_attention_heads=8, max_position_embeddings=4096,
             rope_parameters=rope(8, 12, 12)),
        dict(depth=4, hidden_size=256, intermediate_size=768, num_heads=8, out_hidden_size=512, fullatt_block_indexes=[3]))


def config_3b():
    """Qwen/Qwen2.5-VL-3B-Instruct's sizes."""
    return config(
        dict(hidden_size=2048, intermediate_size=11008, num_hidden_layers=36, num_attention_heads=16,
             max_position_embeddings=128000, rope_parameters=rope(16, 24, 24)),
        dict(depth=32, hidden_size=1280, intermediate_size=3420, num_heads=16, out_hidden_size=2048,
             fullatt_block_indexes=[7, 15, 23, 31]))


def make_batch(folder, rows, columns, answers):
    """20 words around an image of rows x columns patches, then the answer, which alone is labelled."""
    samples = []
    for answer in answers:
        image = [START] + [IMAGE] * (rows * columns // 4) + [END]
        prompt = torch.randint(0, 150000, (10,)).tolist() + image + torch.randint(0, 150000, (10,)).tolist()
        samples.append((prompt, torch.randint(0, 150000, (answer,)).tolist()))
    length = max(len(p) + len(a) for p, a in samples)
    pad = lambda row, value: row + [value] * (length - len(row))
    save_file({
        "input_ids": torch.tensor([pad(p + a, 151643) for p, a in samples]),
        "attention_mask": torch.tensor([pad([1] * len(p + a), 0) for p, a in samples]),
        "labels": torch.tensor([pad([-100] * len(p) + a, -100) for p, a in samples]),
        "pixel_values": torch.randn(len(samples) * rows * columns, 1176),
        "image_grid_thw": torch.tensor([[1, rows, columns]] * len(samples)),
    }, os.path.join(folder, "batch.safetensors"))


def make(folder):
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(config_small())
    model.save_pretrained(folder)
    make_batch(folder, 16, 16, ANSWERS)


def shape(folder):
    """7.5 GB that take no disk: bench_model --redraw wants the shapes alone."""
    torch.manual_seed(0)
    os.makedirs(folder, exist_ok=True)
    config_3b().save_pretrained(folder)
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config_3b())
    header, end = {}, 0
    for name, p in model.named_parameters():
        header[published(name)] = dict(dtype="BF16", shape=list(p.shape), data_offsets=[end, end + 2 * p.numel()])
        end += 2 * p.numel()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    make_batch(folder, 24, 32, [200] * 8)


def run(a):
    torch.set_num_threads(a.threads)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[a.dtype]
    gpu = a.device == "cuda"
    if a.redraw:      # no weight file is read
        torch.set_default_dtype(dtype)
        with torch.device(a.device):
            model = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig.from_pretrained(a.folder)).train()
        torch.set_default_dtype(torch.float32)
        with torch.no_grad():
            for p in model.parameters():
                p.fill_(1) if p.dim() == 1 else p.normal_(0, 0.02)
    else:
        model = Qwen2_5_VLForConditionalGeneration.from_pretrained(a.folder, dtype=dtype).to(a.device).train()
    if a.attention:
        model.set_attn_implementation(a.attention)
    if a.recompute:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=dict(use_reentrant=False))
    batch = {name: t.to(a.device) for name, t in load_file(os.path.join(a.folder, "batch.safetensors")).items()}
    batch["pixel_values"] = batch["pixel_values"].to(dtype)
    batch["mm_token_type_ids"] = (batch["input_ids"] == IMAGE).long()  # without it 5.17 takes the positions of plain text
    loaded = memory("VmRSS")
    value, seconds, cpu_seconds = timed_steps(model, batch, a.steps)
    peak = torch.cuda.max_memory_allocated() if gpu else memory("VmHWM")
    if a.gradients:
        save_file({name: p.grad.float().cpu().contiguous() for name, p in model.named_parameters() if p.grad is not None}, a.gradients)
    print(json.dumps(dict(tokens=int(batch["attention_mask"].sum()), padded_tokens=batch["input_ids"].numel(),
                          labels=int((batch["labels"] != -100).sum()), loss=value, seconds=seconds, cpu_seconds=cpu_seconds,
                          loaded_bytes=loaded,
                          peak_bytes=peak)))


def published(name):
    for new, old in (("model.visual.", "visual."), ("model.language_model.", "model.")):
        if name.startswith(new):
            return old + name[len(new):]
    return name


def gradient_errors(ours, theirs):
    """Worst distance over all tensors, relative to the peer's: |a - b| / |b|."""
    if set(ours) != set(theirs):
        raise SystemExit(f"gradients of different parameters: {sorted(set(ours) ^ set(theirs))}")
    errors = {n: ((ours[n] - theirs[n]).norm() / theirs[n].norm().clamp_min(1e-12)).item() for n in ours}
    worst = max(errors, key=errors.get)
    return worst, errors[worst]


def compare(a):
    read = lambda who: load_file(os.path.join(a.folder, f"{who}.{a.dtype}.safetensors"))
    worst, error = gradient_errors(read("ours"), {published(n): t for n, t in read("peer").items()})
    print(json.dumps(dict(worst_gradient=worst, gradient_error=error)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=("make", "shape", "run", "compare"))
    parser.add_argument("folder")
    parser.add_argument("--dtype", choices=("fp32", "bf16"))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--gradients")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--attention", help="sdpa when not given")
    parser.add_argument("--recompute", action="store_true")
    parser.add_argument("--redraw", action="store_true")
    a = parser.parse_args()
    if a.verb in ("make", "shape"):
        {"make": make, "shape": shape}[a.verb](a.folder)
    else:
        run(a) if a.verb == "run" else compare(a)


main()
