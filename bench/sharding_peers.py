"""One rank of a peer in the sharding benchmark: bench/sharding.cpp's transformer under DeepSpeed ZeRO-2, FSDP2 or DDP with
ZeroRedundancyOptimizer, on Gloo. Same start values, tokens, bucket size and hyper-parameters; rank 0 prints one JSON object.
With --gpu: the larger one on one GPU with NCCL; there `torch` is plain PyTorch with fp32 masters, no engine at all.

  RANK=r WORLD_SIZE=N MASTER_ADDR=... MASTER_PORT=... sharding_peers.py deepspeed|fsdp2|ddp_zero|torch fp32|bf16 STEPS [--gpu]
"""
import json
import os
import resource
import statistics
import sys
import time

import torch
import torch.distributed as dist
import torch.nn.functional as F

GPU = "--gpu" in sys.argv
DEVICE = "cuda" if GPU else "cpu"
HIDDEN, LAYERS, HEADS, VOCABULARY, TOKENS = (2048, 20, 16, 8192, 2048) if GPU else (640, 10, 10, 8192, 128)
BUCKET_ELEMENTS = 64 << 20 if GPU else 4 << 20
WARM_UP = 2


def resident_bytes():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def fill(parameter, salt):
    if parameter.dim() == 1:
        parameter.fill_(1)
        return
    flat, chunk = parameter.view(-1), 1 << 18
    for at in range(0, flat.numel(), chunk):
        end = min(flat.numel(), at + chunk)
        bits = (torch.arange(at, end, device=DEVICE) + salt * 1000003).mul_(2654435761).bitwise_and_(0xFFFFFFFF)
        flat[at:end].copy_(bits.double().div_(4294967296.0).sub_(0.5).mul_(0.07))


class Block(torch.nn.Module):
    def __init__(self, make):
        super().__init__()
        self.norm1, self.qkv, self.proj = make(HIDDEN), make(3 * HIDDEN, HIDDEN), make(HIDDEN, HIDDEN)
        self.norm2, self.up, self.down = make(HIDDEN), make(4 * HIDDEN, HIDDEN), make(HIDDEN, 4 * HIDDEN)

    def forward(self, x):
        qkv = F.linear(F.layer_norm(x, (HIDDEN,), self.norm1), self.qkv).view(1, TOKENS, 3, HEADS, HIDDEN // HEADS)
        q, k, v = (qkv.select(2, i).transpose(1, 2) for i in range(3))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + F.linear(mixed.transpose(1, 2).reshape(1, TOKENS, HIDDEN), self.proj)
        return x + F.linear(F.gelu(F.linear(F.layer_norm(x, (HIDDEN,), self.norm2), self.up)), self.down)


class Transformer(torch.nn.Module):
    def __init__(self, dtype):
        super().__init__()
        count = 0

        def make(*shape):
            nonlocal count
            count += 1
            tensor = torch.empty(*shape, dtype=dtype, device=DEVICE)
            fill(tensor, count)
            return torch.nn.Parameter(tensor)

        self.embed = make(VOCABULARY, HIDDEN)
        self.blocks = torch.nn.ModuleList(Block(make) for _ in range(LAYERS))
        self.norm, self.head = make(HIDDEN), make(VOCABULARY, HIDDEN)

    def forward(self, tokens):
        x = F.embedding(tokens[:TOKENS].view(1, TOKENS), self.embed)
        for block in self.blocks:
            x = block(x)
        logits = F.linear(F.layer_norm(x, (HIDDEN,), self.norm), self.head).view(TOKENS, VOCABULARY).float()
        return F.cross_entropy(logits, tokens[1:])


def tokens_of(step, rank):
    return ((torch.arange(TOKENS + 1, device=DEVICE) + rank * 7919 + step * 104729) * 48271).remainder(VOCABULARY)


ADAMW = dict(lr=1e-5 if GPU else 1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01, fused=True)


def ddp_zero(dtype):
    """bf16 means what it means to everybody here: fp32 masters, bf16 arithmetic and gradients of bf16 on the wire."""
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
    from torch.distributed.optim import ZeroRedundancyOptimizer
    model = torch.nn.parallel.DistributedDataParallel(
        Transformer(torch.float32), bucket_cap_mb=BUCKET_ELEMENTS * 4 / 2**20, gradient_as_bucket_view=True)
    if dtype == torch.bfloat16:
        model.register_comm_hook(None, bf16_compress_hook)
    optimizer = ZeroRedundancyOptimizer(model.parameters(), torch.optim.AdamW, parameters_as_bucket_view=True, **ADAMW)

    def step(tokens):
        with torch.autocast(DEVICE, torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = model(tokens)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss
    return step


def fsdp2(dtype):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
    mesh = init_device_mesh(DEVICE, (dist.get_world_size(),))
    policy = MixedPrecisionPolicy() if dtype == torch.float32 else MixedPrecisionPolicy(torch.bfloat16, torch.bfloat16)
    model = Transformer(torch.float32)       # fp32 shards are the masters; the policy makes bf16 of them
    for block in model.blocks:
        fully_shard(block, mesh=mesh, reshard_after_forward=False, mp_policy=policy)
    fully_shard(model, mesh=mesh, reshard_after_forward=False, mp_policy=policy)
    optimizer = torch.optim.AdamW(model.parameters(), **ADAMW)

    def step(tokens):
        loss = model(tokens)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss
    return step


def deepspeed_zero2(dtype):
    import deepspeed
    deepspeed.init_distributed("nccl" if GPU else "gloo", auto_mpi_discovery=False)
    model = Transformer(dtype)
    config = {"train_micro_batch_size_per_gpu": 1, "gradient_accumulation_steps": 1, "gradient_clipping": 1.0,
              "bf16": {"enabled": dtype == torch.bfloat16}, "zero_allow_untested_optimizer": True,
              "zero_optimization": {"stage": 2, "overlap_comm": False, "reduce_bucket_size": BUCKET_ELEMENTS,
                                    "allgather_bucket_size": BUCKET_ELEMENTS}}
    engine, *_ = deepspeed.initialize(model=model, config=config, optimizer=torch.optim.AdamW(model.parameters(), **ADAMW))

    def step(tokens):
        loss = engine(tokens)
        engine.backward(loss)
        engine.step()
        return loss
    return step


def plain_torch(dtype):
    """What an engine is compared with when there is nobody to share with: fp32 masters beside the model's own parameters."""
    model = Transformer(dtype)
    params = list(model.parameters())
    masters = [torch.nn.Parameter(p.detach().float()) for p in params] if dtype != torch.float32 else params
    optimizer = torch.optim.AdamW(masters, **ADAMW)

    def step(tokens):
        loss = model(tokens)
        loss.backward()
        if masters is not params:
            for master, p in zip(masters, params):
                master.grad, p.grad = p.grad.float(), None
        torch.nn.utils.clip_grad_norm_(masters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if masters is not params:
            with torch.no_grad():
                torch._foreach_copy_(params, masters)
        return loss
    return step


def timed(body, steps):
    times, result = [], None
    for i in range(WARM_UP + steps):
        start = time.perf_counter()
        result = body(i)
        times.append(time.perf_counter() - start)
    return statistics.median(times[WARM_UP:]), result


def alone(dtype, rank, steps):
    model = Transformer(dtype)

    def body(i):
        loss = model(tokens_of(i, rank))
        loss.backward()
        model.zero_grad(set_to_none=True)
        loss.item()      # a GPU is through with all of it
    return timed(body, steps)[0]


def sent_on_loopback():
    with open("/proc/net/dev") as f:
        return next(int(line.split()[9]) for line in f if line.strip().startswith("lo:"))


def main():
    peer, dtype_name, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
    dtype = torch.float32 if dtype_name == "fp32" else torch.bfloat16
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.set_num_threads(1)
    if peer == "deepspeed":
        import deepspeed  # noqa: F401  part of what a rank must hold
    dist.init_process_group("nccl" if GPU else "gloo")
    before = 0 if GPU else resident_bytes()
    step = {"ddp_zero": ddp_zero, "fsdp2": fsdp2, "deepspeed": deepspeed_zero2, "torch": plain_torch}[peer](dtype)
    dist.barrier()
    marks = {}

    def body(i):
        if i == 1:
            dist.barrier()
            marks["sent"] = sent_on_loopback()
        return float(step(tokens_of(i, rank)).detach())
    step_s, loss = timed(body, steps)
    dist.barrier()
    sent = (sent_on_loopback() - marks["sent"]) / world / (WARM_UP + steps - 1)
    peak = torch.cuda.max_memory_allocated() if GPU else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    del step
    numbers = torch.tensor([step_s, alone(dtype, rank, steps), peak, before, sent], dtype=torch.float64, device=DEVICE)
    dist.all_reduce(numbers, dist.ReduceOp.MAX)
    step_s, alone_s, peak, before, sent = numbers.tolist()
    if rank == 0:
        print(json.dumps({"engine": peer, "dtype": dtype_name, "ranks": world, "step_s": round(step_s, 4),
                          "alone_s": round(alone_s, 4), "peak_bytes": int(peak), "import_bytes": int(before),
                          "sent_bytes": int(sent), "loss": round(loss, 6)}), flush=True)
    dist.barrier()
    os._exit(0)      # DeepSpeed's and Gloo's exit handlers may wait for each other


main()
