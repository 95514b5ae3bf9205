"""The numbers of ./run bench gpu.

  card                      name, and the rate of an 8192 x 8192 x 8192 bf16 product: one JSON object
  report FOLDER [json]      a table, or one JSON object
"""
import json
import os
import statistics
import sys


def card():
    import torch
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    times = []
    for _ in range(13):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        a @ b
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end))
    seconds = statistics.median(times[3:]) / 1e3
    print(json.dumps(dict(card=torch.cuda.get_device_name(), cuda=torch.version.cuda, torch=torch.__version__,
                          product_tflop_s=2 * 8192**3 / seconds / 1e12)))


def useful_flops(batch_tokens, labels, patches, samples):
    """Of one forward and backward of the 3B, by the shapes: products of weights, and attention's two; nothing recomputed."""
    layer = 2048 * (2048 + 2 * 256 + 2048) + 3 * 2048 * 11008
    text = 36 * layer * batch_tokens + 2048 * 151936 * labels
    block = 1280 * 4 * 1280 + 3 * 1280 * 3420
    vision = (32 * block + 1280 * 1176) * patches + (5120 * 5120 + 5120 * 2048) * patches / 4
    length, image = batch_tokens / samples, patches / samples
    attention = 36 * samples * length**2 / 2 * 2 * 2048 + samples * (4 * image**2 + 28 * image * 64) * 2 * 1280
    return 6 * (text + vision + attention)


def read(folder):
    results = {}
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if os.path.isfile(path) and not name.endswith(".err") and os.path.getsize(path) > 0:
            with open(path) as file:
                results[name] = json.loads(file.readline())
    return results


def model_row(run, samples=8, patches=8 * 768):
    seconds = min(run["seconds"][2:] or run["seconds"])
    flops = useful_flops(run["tokens"], run["labels"], patches, samples)
    return dict(step_s=seconds, tokens_per_s=run["tokens"] / seconds, tflop_s=flops / seconds / 1e12, peak_bytes=run["peak_bytes"],
                loss=run["loss"])


def summary(results):
    out = dict(results.get("card", {}))
    if "kernels" in results:
        copy = results["kernels"]["copy fp32"]["gb_s"]
        out["kernels"] = {name: dict(row, of_copy=row["gb_s"] / copy) for name, row in results["kernels"].items()}
    engines = {name.split(".", 1)[1]: row for name, row in results.items() if name.startswith("engine.")}
    if engines:
        out["engine"] = {name: dict(step_s=r["step_s"], alone_s=r["alone_s"], engine_s=r["step_s"] - r["alone_s"],
                                    peak_bytes=r["peak_bytes"], loss=r["loss"]) for name, r in engines.items()}
    models = {name.split(".", 1)[1]: model_row(row) for name, row in results.items() if name.startswith("model.")}
    if models:
        for row in models.values():
            row["mfu"] = row["tflop_s"] / out["product_tflop_s"]
        out["model"] = models
    return out


def table(s):
    print(f"{s.get('card')}  CUDA {s.get('cuda')}  torch {s.get('torch')}  bf16 product {s.get('product_tflop_s', 0):.0f} TFLOP/s")
    for name, row in s.get("kernels", {}).items():
        print(f"{name:<52}{row['ms']:8.3f} ms {row['gb_s']:8.0f} GB/s {100 * row['of_copy']:6.1f} % of copy")
    for name, row in s.get("engine", {}).items():
        print(f"engine {name:<21}step {1e3 * row['step_s']:8.1f} ms  alone {1e3 * row['alone_s']:8.1f}  engine {1e3 * row['engine_s']:7.1f}"
              f"  peak {row['peak_bytes'] / 2**30:6.2f} GiB  loss {row['loss']:.4f}")
    for name, row in s.get("model", {}).items():
        print(f"model {name:<24}{1e3 * row['step_s']:8.1f} ms {row['tokens_per_s']:9.0f} tokens/s {row['tflop_s']:6.0f} TFLOP/s"
              f"  MFU {100 * row['mfu']:5.1f} %  peak {row['peak_bytes'] / 2**30:6.2f} GiB  loss {row['loss']:.3f}")


if sys.argv[1] == "card":
    card()
else:
    numbers = summary(read(sys.argv[2]))
    print(json.dumps(numbers)) if sys.argv[3:] == ["json"] else table(numbers)
