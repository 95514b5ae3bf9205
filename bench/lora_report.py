"""The numbers of ./run bench lora. Arguments: folder, json|table."""
import json
import sys

LOSS_TOLERANCE = 1e-5      # relative, fp32
GRADIENT_TOLERANCE = 1e-5  # |ours - exact| / |exact| of the worst tensor; exact: PEFT in fp64


def fine(case):
    """Within the tolerance, or nearer to fp64 than PEFT in fp32 where fp32 itself does not reach it (docs/lora.md)."""
    return case["grad_max_rel"] <= max(GRADIENT_TOLERANCE, case["peer_grad_max_rel"])


def lines_of(path):
    with open(path) as lines:
        return [json.loads(line) for line in lines]


def best(folder, who, dtype):
    rounds = lines_of(f"{folder}/{who}.{dtype}.jsonl")
    seconds = {key: min(s for r in rounds for s in r[key]) for key in ("seconds", "cpu_seconds")}
    return rounds[0] | seconds | {"peak_bytes": min(r["peak_bytes"] for r in rounds)}


def main():
    folder, form = sys.argv[1:]
    cases = lines_of(f"{folder}/cases.jsonl")
    out = sys.stderr if form == "json" else sys.stdout
    print("Beside PEFT's model in fp64:\n", file=out)
    print("| case | loss, relative | worst gradient | PEFT's in fp32 | merge equal | PEFT reads ours |\n|---|---|---|---|---|---|", file=out)
    for c in cases:
        print(f"| {c['case']} | {c['loss_rel']:.1e} | {c['grad_max_rel']:.1e} | {c['peer_grad_max_rel']:.1e} "
              f"| {c['merge_equal']} | {c['peft_reads_muster']} |", file=out)
    result = {"cases": len(cases),
              "loss_equal": all(c["loss_rel"] <= LOSS_TOLERANCE for c in cases),
              "grad_max_rel": max(c["grad_max_rel"] for c in cases),
              "grad_over_1e-5": [c["case"] for c in cases if c["grad_max_rel"] > GRADIENT_TOLERANCE],
              "gradients_fine": all(fine(c) for c in cases),
              "peer_grad_max_rel": max(c["peer_grad_max_rel"] for c in cases),
              "merge_equal": all(c["merge_equal"] for c in cases),
              "peft_reads_muster": all(c["peft_reads_muster"] for c in cases)}
    print("\n| program | step s | CPU s | tokens/s | peak MiB |\n|---|---|---|---|---|", file=out)
    for dtype in ("fp32", "bf16"):
        ours, peer = best(folder, "ours", dtype), best(folder, "peer", dtype)
        for who, run in (("muster", ours), ("peft", peer)):
            print(f"| {who} {dtype} | {run['seconds']:.2f} | {run['cpu_seconds']:.2f} | {run['tokens'] / run['seconds']:.0f} "
                  f"| {run['peak_bytes'] / 2**20:.0f} |", file=out)
        result[f"loss_rel_{dtype}"] = abs(ours["loss"] - peer["loss"]) / abs(peer["loss"])
        result[f"tokens_per_s_ratio_{dtype}"] = peer["seconds"] / ours["seconds"]
        result[f"cpu_seconds_ratio_{dtype}"] = peer["cpu_seconds"] / ours["cpu_seconds"]
        result[f"memory_ratio_{dtype}"] = ours["peak_bytes"] / peer["peak_bytes"]
    result["tokens_per_s_ratio"] = min(result["tokens_per_s_ratio_fp32"], result["tokens_per_s_ratio_bf16"])
    result["memory_ratio"] = max(result["memory_ratio_fp32"], result["memory_ratio_bf16"])
    correct = result["loss_equal"] and result["gradients_fine"] and result["merge_equal"] and result["peft_reads_muster"]
    if not correct:
        print(f"muster and PEFT do not agree, so nothing is compared: {json.dumps(result)}", file=sys.stderr)
        sys.exit(1)
    print(json.dumps(result) if form == "json" else "ratios: " + ", ".join(
        f"{key} {value:.2f}" for key, value in result.items() if "ratio" in key))


main()
