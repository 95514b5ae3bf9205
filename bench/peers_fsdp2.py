"""What a careful user of PyTorch writes: FSDP2, samples one after the other without padding, logits only where labels
are and in chunks whose gradient is made at once, fused AdamW.

  torchrun --nproc-per-node 2 peers_fsdp2.py DIR fp32|bf16 STEPS
"""
import sys
import time

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from transformers import AttentionInterface

from peers_common import ADAMW, CLIP_NORM, LABEL_NONE, WEIGHT_DECAY, Samples, load_model, rate_factor, tell

LOGITS_CHUNK = 256
PER_RANK = 2  # samples


def packed(samples):
    ends = torch.tensor([len(s["input_ids"]) for s in samples]).cumsum(0)
    batch = {key: torch.cat([s[key] for s in samples]) for key in samples[0]}
    batch["sample_ends"] = torch.cat([torch.zeros(1, dtype=torch.int64), ends])
    return batch


def each_sample_alone(module, query, key, value, attention_mask, scaling, dropout=0.0, sample_ends=None, **_):
    """Causal attention inside each sample: on a CPU sdpa knows no unequal lengths."""
    spans = list(zip(sample_ends[:-1], sample_ends[1:]))
    parts = [F.scaled_dot_product_attention(query[:, :, a:b], key[:, :, a:b], value[:, :, a:b], is_causal=True,
                                            scale=scaling, enable_gqa=True) for a, b in spans]
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None


AttentionInterface.register("each_sample_alone", each_sample_alone)


class ChunkedCrossEntropy(torch.autograd.Function):
    """Sum over [n] labels of hidden [n, h] against weight [vocabulary, h]; forward makes the gradients, too."""

    @staticmethod
    def forward(ctx, hidden, weight, labels):
        total = hidden.new_zeros((), dtype=torch.float32)
        grad_hidden, grad_weight = torch.empty_like(hidden), torch.zeros_like(weight)
        for h, y, grad in zip(*(t.split(LOGITS_CHUNK) for t in (hidden, labels, grad_hidden))):
            logits = F.linear(h, weight).float()
            rows = torch.arange(len(y))
            log_sum = logits.logsumexp(-1)
            total += (log_sum - logits[rows, y]).sum()
            probabilities = logits.sub_(log_sum[:, None]).exp_()
            probabilities[rows, y] -= 1
            probabilities = probabilities.to(h.dtype)
            torch.mm(probabilities, weight, out=grad)
            grad_weight.addmm_(probabilities.t(), h)
        ctx.save_for_backward(grad_hidden, grad_weight)
        return total

    @staticmethod
    def backward(ctx, grad):
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden.mul_(grad), grad_weight.mul_(grad), None


class LanguageLoss(torch.nn.Module):
    """The sum of the loss over a packed batch's labels, as one module that FSDP wraps."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, batch):
        ids, types, ends = batch["input_ids"], batch["mm_token_type_ids"], batch["sample_ends"]
        grids = batch["image_grid_thw"]
        spans = list(zip(ends[:-1], ends[1:]))
        rope = self.model.model.get_rope_index
        positions = [rope(ids[None, a:b], types[None, a:b], image_grid_thw=grids[i:i + 1])[0]
                     for i, (a, b) in enumerate(spans)]
        hidden = self.model.model(input_ids=ids[None], pixel_values=batch["pixel_values"], image_grid_thw=grids,
                                  position_ids=torch.cat(positions, dim=-1), use_cache=False,
                                  sample_ends=ends).last_hidden_state[0]
        labels = batch["labels"][1:]
        at = (labels != LABEL_NONE).nonzero()[:, 0]
        return ChunkedCrossEntropy.apply(hidden[at], self.model.lm_head.weight, labels[at])


def sharded(model, dtype):
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    policy = MixedPrecisionPolicy()
    if dtype == "bf16":
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    options = dict(mesh=mesh, reshard_after_forward=False, mp_policy=policy)
    for block in [*model.model.language_model.layers, *model.model.visual.blocks]:
        fully_shard(block, **options)
    loss = LanguageLoss(model)
    fully_shard(loss, **options)
    return loss


def optimizer_of(module):
    decayed = [p for p in module.parameters() if p.dim() > 1]
    others = [p for p in module.parameters() if p.dim() <= 1]
    return torch.optim.AdamW([dict(params=decayed, weight_decay=WEIGHT_DECAY), dict(params=others, weight_decay=0.0)],
                             fused=True, **ADAMW)


def main():
    folder, dtype, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    attention = {"text_config": "each_sample_alone", "vision_config": "sdpa"}
    loss_of = sharded(load_model(folder, attn_implementation=attention), dtype)
    optimizer = optimizer_of(loss_of)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(step, steps))
    mine = [[(k * world + rank) * PER_RANK + i for i in range(PER_RANK)] for k in range(steps)]
    ends, losses = [], []
    for batch in torch.utils.data.DataLoader(Samples(folder), batch_sampler=mine, collate_fn=packed):
        count = (batch["labels"] != LABEL_NONE).sum()
        dist.all_reduce(count)
        loss = loss_of(batch) * (world / count)  # FSDP takes the mean over the ranks
        loss.backward()
        torch.nn.utils.clip_grad_norm_(loss_of.parameters(), CLIP_NORM)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        ends.append(time.time())
        losses.append(loss)
    tell(ends, losses)


main()
