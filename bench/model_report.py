"""The numbers of ./run bench model: best step of all rounds, peak memory, agreement. Arguments: folder, threads, json|table."""
import json
import sys

LOSS_TOLERANCE = {"fp32": 1e-5, "bf16": 5e-3}      # relative
GRADIENT_TOLERANCE = {"fp32": 1e-3, "bf16": 1e-1}  # worst tensor, |ours - peer| / |peer|


def read(folder, who, dtype):
    with open(f"{folder}/{who}.{dtype}.jsonl") as lines:
        rounds = [json.loads(line) for line in lines]
    best = rounds[0] | {key: min(s for r in rounds for s in r[key]) for key in ("seconds", "cpu_seconds")}
    best["peak_bytes"] = min(r["peak_bytes"] for r in rounds)
    return best


def amx():
    with open("/proc/cpuinfo") as info:
        flags = info.read()
    return [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]


def main():
    folder, threads, form = sys.argv[1:]
    result, rows = {"losses_agree": True, "threads": int(threads), "cpu_flags": amx()}, []
    for dtype in ("fp32", "bf16"):
        ours, peer = read(folder, "ours", dtype), read(folder, "peer", dtype)
        with open(f"{folder}/compare.{dtype}.json") as file:
            gradients = json.load(file)
        loss_error = abs(ours["loss"] - peer["loss"]) / abs(peer["loss"])
        agree = loss_error <= LOSS_TOLERANCE[dtype] and gradients["gradient_error"] <= GRADIENT_TOLERANCE[dtype]
        result["losses_agree"] &= agree
        result[f"tokens_per_s_ratio_{dtype}"] = peer["seconds"] / ours["seconds"]
        result[f"cpu_seconds_ratio_{dtype}"] = peer["cpu_seconds"] / ours["cpu_seconds"]
        result[f"memory_ratio_{dtype}"] = ours["peak_bytes"] / peer["peak_bytes"]
        result[f"loss_error_{dtype}"], result[f"gradient_error_{dtype}"] = loss_error, gradients["gradient_error"]
        for who, run in (("muster", ours), ("transformers", peer)):
            result[f"{who}_{dtype}"] = {"tokens_per_s": run["tokens"] / run["seconds"], "seconds": run["seconds"],
                                        "cpu_seconds": run["cpu_seconds"], "peak_bytes": run["peak_bytes"]}
            rows.append(f"| {who} {dtype} | {run['seconds']:.2f} | {run['cpu_seconds']:.2f} | {run['tokens'] / run['seconds']:.0f} "
                        f"| {run['peak_bytes'] / 2**20:.0f} |")
    result["memory_ratio"] = max(result["memory_ratio_fp32"], result["memory_ratio_bf16"])
    print("| program | step s | CPU s | tokens/s | peak MiB |\n|---|---|---|---|---|\n" + "\n".join(rows),
          file=sys.stderr if form == "json" else sys.stdout)
    if not result["losses_agree"]:
        print(f"losses or gradients do not agree, so nothing is compared: {json.dumps(result)}", file=sys.stderr)
        sys.exit(1)
    print(json.dumps(result) if form == "json" else "ratios: " + ", ".join(
        f"{key} {value:.2f}" for key, value in result.items() if "ratio" in key))


main()
