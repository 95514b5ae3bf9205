"""Reads the benchmark's rows (one JSON object per engine, dtype and round) and prints the table; --json: and, last, one object
with the ratios ours/peer. Every ratio is against the best peer in that very measure and the worse of fp32 and bf16.

The engine's time is the step less the fastest forward and backward alone of all programs in the run: a program that is slower at
that alone would otherwise hide its engine behind it."""
import json
import sys


def fastest(rows):
    """The best of each measure of an engine and dtype, and engine_s against one baseline for all programs of that dtype."""
    best = {}
    for row in rows:
        row["wire_bytes"] = 2 * row["parameters"] * (row["ranks"] - 1) / row["ranks"] * (4 if row["dtype"] == "fp32" else 2)
        at = best.setdefault((row["engine"], row["dtype"]), dict(row))
        for key in ("step_s", "alone_s", "peak_bytes"):
            at[key] = min(at[key], row[key])
    for row in best.values():
        row["baseline_s"] = min(r["alone_s"] for r in best.values() if r["dtype"] == row["dtype"])
        row["engine_s"] = max(row["step_s"] - row["baseline_s"], 1e-4)  # never 0: ratios divide by it
    return list(best.values())


def ratios(rows, dtype):
    ours = [r for r in rows if r["dtype"] == dtype and r["engine"].startswith("muster")]
    peers = [r for r in rows if r["dtype"] == dtype and not r["engine"].startswith("muster")]
    if not ours or not peers:
        return None
    mine = min(ours, key=lambda r: r["step_s"])
    ratio = {f"{name}_ratio": mine[key] / min(p[key] for p in peers)
             for name, key in (("step", "step_s"), ("engine", "engine_s"), ("memory", "peak_bytes"))}
    ratio["wire_ratio"] = max(o["sent_bytes"] / o["wire_bytes"] for o in ours)
    ratio["best_peer"] = min(peers, key=lambda p: p["step_s"])["engine"]
    ratio["ours"] = mine["engine"]
    return ratio


def main():
    with open(sys.argv[1]) as f:
        rows = [json.loads(line) for line in f]
    parameters = next((r["parameters"] for r in rows if "parameters" in r), None)
    if parameters is None:
        sys.exit("no run of muster's own succeeded: nothing to compare with")
    for row in rows:
        row["parameters"] = parameters
    rows = fastest(rows)
    out = sys.stderr if "--json" in sys.argv else sys.stdout
    print(f"{parameters / 1e6:.1f} M parameters, {rows[0]['ranks']} ranks", file=out)
    print(f"{'engine':<14}{'dtype':<6}{'step':>9}{'fwd+bwd':>9}{'engine':>9}{'peak RSS':>11}{'after import':>14}"
          f"{'sent/step':>12}{'of 2P(N-1)/N':>14}{'loss':>11}", file=out)
    for r in sorted(rows, key=lambda r: (r["dtype"] != "fp32", r["step_s"])):
        print(f"{r['engine']:<14}{r['dtype']:<6}{r['step_s']:>7.3f} s{r['alone_s']:>7.3f} s{r['engine_s']:>7.3f} s"
              f"{r['peak_bytes'] / 2**20:>7.0f} MiB{r['import_bytes'] / 2**20:>10.0f} MiB{r['sent_bytes'] / 2**20:>8.0f} MiB"
              f"{r['sent_bytes'] / r['wire_bytes']:>14.3f}{r['loss']:>11.5f}", file=out)
    both = {d: ratios(rows, d) for d in ("fp32", "bf16")}
    known = [r for r in both.values() if r]
    summary = {key: round(max(r[key] for r in known), 4)
               for key in ("step_ratio", "engine_ratio", "wire_ratio", "memory_ratio")} if known else {}
    if known:
        summary["best_peer"] = max(known, key=lambda r: r["step_ratio"])["best_peer"]
        print("ours/best peer, the worse of both dtypes: " + "  ".join(f"{k} {v}" for k, v in summary.items()), file=out)
    if "--json" in sys.argv:
        print(json.dumps({**summary, **{d: r for d, r in both.items() if r}, "rows": rows}))


main()
