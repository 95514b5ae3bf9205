"""The peer of ./run bench lora: transformers with PEFT, on the same weights, adapters and batch.

  check MODEL CASE --kind K        random adapters of a golden model: CASE/peft, CASE/peer.*: loss, gradients, merged weights;
                                   CASE/exact.*: loss and gradients of the same model in fp64, the oracle of both
  compare MODEL CASE               muster's results and PEFT's beside the oracle: one JSON object
  adapter MODEL OUT                random adapters of rank 16 on every Linear layer of the language model
  run MODEL ADAPTER --dtype D --threads N --steps K
                                   one JSON object, as bench_model prints it
"""
import argparse
import contextlib
import copy
import json
import os

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from peer_steps import memory, timed_steps

LANGUAGE = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"
EVERYWHERE = r".*(language_model.*_proj|blocks\.\d+\.(attn\.(qkv|proj)|mlp\.(\w+_proj|(linear_)?fc[12]))|merger.*\.(mlp\.[02]|linear_fc[12]))"


def base(folder, dtype=torch.float32):
    return AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa")


def adapters(folder, **settings):
    """PEFT starts B at zero, which would hide A: everything is drawn."""
    torch.manual_seed(0)
    model = get_peft_model(base(folder), LoraConfig(task_type="CAUSAL_LM", **settings))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_magnitude" in name:
                p.mul_(1 + 0.2 * torch.rand_like(p))
            elif "lora_" in name:
                p.normal_(0, 0.05)
    return model


def read_batch(path, image_token):
    batch = {n: t for n, t in load_file(path).items()
             if n in ("input_ids", "attention_mask", "labels", "pixel_values", "image_grid_thw")}
    batch["mm_token_type_ids"] = (batch["input_ids"] == image_token).long()
    return batch


def published(name):
    name = name.removeprefix("base_model.model.").replace(".default", "").replace("lora_magnitude_vector.weight", "lora_magnitude_vector")
    for new, old in (("model.visual.", "visual."), ("model.language_model.", "model.")):
        if name.startswith(new):
            return old + name[len(new):]
    return name


def merged(model):
    return {published(n).replace(".base_layer", ""): p.detach().contiguous().clone() for n, p in model.merge_and_unload().named_parameters()}


@contextlib.contextmanager
def all_in_fp64():
    """transformers asks for fp32 by name inside norms, rotations and the loss: here that name means fp64."""
    single, method = torch.float32, torch.Tensor.float
    torch.float32 = torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double
    yield
    torch.float32 = torch.float = single
    torch.Tensor.float = method


def write_result(model, batch, path):
    """The loss and the gradients of one step: PATH.json, PATH.gradients.safetensors."""
    loss = model.train()(**batch, use_cache=False).loss
    loss.backward()
    save_file({published(n): p.grad for n, p in model.named_parameters() if p.grad is not None}, f"{path}.gradients.safetensors")
    with open(f"{path}.json", "w") as file:
        json.dump({"loss": loss.item()}, file)


def check(a):
    model = adapters(a.model, r=4, lora_alpha=6, target_modules=EVERYWHERE, use_rslora=a.kind == "rslora", use_dora=a.kind == "dora")
    model.save_pretrained(os.path.join(a.case, "peft"))
    batch = read_batch(os.path.join(a.model, "two_images_padded_batch.safetensors"), model.config.image_token_id)
    with all_in_fp64():
        exact = {n: t.double() if t.is_floating_point() else t for n, t in batch.items()}
        write_result(copy.deepcopy(model).double(), exact, os.path.join(a.case, "exact"))
    write_result(model, batch, os.path.join(a.case, "peer"))
    save_file(merged(model), os.path.join(a.case, "peer.merged.safetensors"))


def worst_gradient(got, exact):
    """As ./run bench model: |got - exact| / |exact| of the worst tensor, and its name."""
    if set(got) != set(exact):
        raise SystemExit(f"gradients of different parameters: {sorted(set(got) ^ set(exact))[:10]}")
    errors = {n: ((got[n] - exact[n]).norm() / exact[n].norm().clamp_min(1e-12)).item() for n in exact}
    worst = max(errors, key=errors.get)
    return errors[worst], worst


def compare(a):
    path = lambda name: os.path.join(a.case, name)
    loss = {who: json.load(open(path(f"{who}.json")))["loss"] for who in ("ours", "peer", "exact")}
    gradients = {who: load_file(path(f"{who}.gradients.safetensors")) for who in loss}
    error, worst = worst_gradient(gradients["ours"], gradients["exact"])
    peer_error, _ = worst_gradient(gradients["peer"], gradients["exact"])
    mine, theirs = load_file(path("ours.merged.safetensors")), load_file(path("peer.merged.safetensors"))
    theirs = {n: t for n, t in theirs.items() if n in mine or n != "lm_head.weight"}   # tied: held once
    unequal = sorted(set(mine) ^ set(theirs)) + [n for n in mine if n in theirs and not torch.equal(mine[n], theirs[n])]
    again = PeftModel.from_pretrained(base(a.model), path("muster"))   # muster's own folder
    wanted = {n: t for n, t in load_file(path("peft/adapter_model.safetensors")).items()}
    read = {n.replace(".default", "").replace("lora_magnitude_vector.weight", "lora_magnitude_vector"): p
            for n, p in again.named_parameters() if "lora_" in n}
    same = set(read) == set(wanted) and all(torch.equal(read[n], wanted[n]) for n in wanted)
    off = {who: abs(loss[who] - loss["exact"]) / abs(loss["exact"]) for who in ("ours", "peer")}
    print(json.dumps(dict(case=os.path.basename(a.case), loss_rel=off["ours"], peer_loss_rel=off["peer"], grad_max_rel=error,
                          peer_grad_max_rel=peer_error, worst_gradient=worst, merge_unequal=unequal[:5], merge_equal=not unequal,
                          peft_reads_muster=same)))


def run(a):
    torch.set_num_threads(a.threads)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[a.dtype]
    model = PeftModel.from_pretrained(base(a.model, dtype), a.case, is_trainable=True).train()
    batch = read_batch(os.path.join(a.model, "batch.safetensors"), model.config.image_token_id)
    batch["pixel_values"] = batch["pixel_values"].to(dtype)
    value, seconds, cpu_seconds = timed_steps(model, batch, a.steps)
    print(json.dumps(dict(tokens=int(batch["attention_mask"].sum()), loss=value, seconds=seconds, cpu_seconds=cpu_seconds,
                          peak_bytes=memory("VmHWM"))))


def adapter(a):
    adapters(a.model, r=16, lora_alpha=32, target_modules=LANGUAGE).save_pretrained(a.case)


def main():
    parser = argparse.ArgumentParser()
    verbs = {"check": check, "compare": compare, "adapter": adapter, "run": run}
    parser.add_argument("verb", choices=verbs)
    parser.add_argument("model")
    parser.add_argument("case", help="the case's folder, or that of the adapters")
    parser.add_argument("--kind", choices=("lora", "rslora", "dora"))
    parser.add_argument("--dtype", choices=("fp32", "bf16"))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--steps", type=int)
    a = parser.parse_args()
    verbs[a.verb](a)


main()
