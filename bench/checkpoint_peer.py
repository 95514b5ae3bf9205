"""One rank of the checkpoint benchmark with torch.distributed.checkpoint (async_save): the tensors of
bench/checkpoint.cpp, and each rank holds what it writes there. bench/checkpoint.sh starts N of it.

    RANK=r WORLD_SIZE=n python checkpoint_peer.py FOLDER PARAMETERS ROUNDS      rank 0 prints one JSON object
"""
import json
import os
import shutil
import sys
import time

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp

HIDDEN = 2048


def compute():
    start = time.perf_counter()
    a = torch.full((512, 512), 1e-3)
    for _ in range(400):
        a = torch.matmul(a, a).clamp_(-1, 1)
    return time.perf_counter() - start


def slowest(seconds):
    value = torch.tensor([seconds], dtype=torch.float64)
    dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return value.item()


def weights_of(parameters):
    count = -(-parameters // (HIDDEN * HIDDEN))
    return {f"layers.{i}.weight": torch.full((HIDDEN, HIDDEN), 0.5 + 1e-3 * i) for i in range(count)}


def state_of(rank, ranks, parameters):
    """Whole weights of this rank's share; its slices of masters and moments."""
    weights = weights_of(parameters)
    count = len(weights)
    state = {name: tensor for i, (name, tensor) in enumerate(weights.items()) if i % ranks == rank}
    shard = count * HIDDEN * HIDDEN // ranks
    for kind in ("master", "exp_avg", "exp_avg_sq"):
        for begin in range(0, shard, 8 << 20):   # in windows of the same bytes
            state[f"{kind}.{rank}.{begin}"] = torch.full((min(8 << 20, shard - begin),), 0.25)
    return state


def main():
    folder, parameters, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    state = state_of(rank, ranks, parameters)
    best = {}

    def keep(key, seconds):
        best[key] = min(best.get(key, 1e9), slowest(seconds))

    for _ in range(rounds):
        keep("alone", compute())
        for computing in (True, False):
            if rank == 0:
                shutil.rmtree(folder, ignore_errors=True)
            dist.barrier()
            start = time.perf_counter()
            future = dcp.async_save(state, checkpoint_id=folder)
            blocked = time.perf_counter() - start
            busy = compute() if computing else 0
            keep("blocked" if computing else "blocked_at_once", blocked)
            if computing:
                keep("delay", blocked + max(0.0, busy - best["alone"]))
            future.result()
            keep("write", time.perf_counter() - start)
        start = time.perf_counter()
        dcp.load(state, checkpoint_id=folder)
        keep("load_share", time.perf_counter() - start)
        whole = weights_of(parameters) | {name: tensor for name, tensor in state.items() if not name.startswith("layers.")}
        start = time.perf_counter()
        dcp.load(whole, checkpoint_id=folder)
        keep("load", time.perf_counter() - start)
        del whole
    mine = torch.tensor([sum(t.numel() * t.element_size() for t in state.values())])
    dist.all_reduce(mine)
    if rank == 0:
        print(json.dumps({"bytes": mine.item(), **{k: v for k, v in best.items() if k != "alone"}}))
    dist.destroy_process_group()


main()
