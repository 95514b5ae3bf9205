"""Parts of ./run bench platform: samples DIR | rank PEAK_FILE COMMAND... | report DIR json|table."""
import json
import os
import statistics
import sys

WORDS = "the of and to in is that for it was on are as with his they at be this from have or by one had not but what all were".split()
SAMPLES, FIRST_STEPS = 64, 2  # of each run the first steps warm up
# The peer's, on the machine of research/platform.md: seconds per step, tokens/s and peak MiB per rank.
PEER = {"fp32": ("HF + DeepSpeed ZeRO-2", 4.2, 103, 2560), "bf16": ("HF + DeepSpeed ZeRO-2", 2.7, 160, 2530)}


def samples(folder):
    """Answers of 40 to 240 words, each one token; mean 140."""
    names = sorted(os.listdir(f"{folder}/images/images"))
    with open(f"{folder}/samples.jsonl", "w") as out:
        for i in range(SAMPLES):
            answer = " ".join(WORDS[(i + k) % len(WORDS)] for k in range(40 + i * 67 % 201))
            out.write(json.dumps({"image": f"images/images/{names[i]}", "conversations": [
                {"from": "human", "value": "<image>\nWhat is there to be seen in this picture?"},
                {"from": "gpt", "value": answer}]}) + "\n")


def rank(peak_file, command):
    """Runs a rank and writes its peak resident set."""
    pid = os.spawnvp(os.P_NOWAIT, command[0], command)
    _, status, usage = os.wait4(pid, 0)
    with open(f"{peak_file}.{os.environ['OMPI_COMM_WORLD_RANK']}", "w") as out:
        out.write(str(usage.ru_maxrss))
    sys.exit(os.waitstatus_to_exitcode(status))


def measured(folder, dtype):
    with open(f"{folder}/{dtype}/metrics.jsonl") as lines:
        steps = [m for m in map(json.loads, lines) if "loss" in m and m["step"] > FIRST_STEPS]
    peaks = [int(open(f"{folder}/peak.{dtype}.{r}").read()) for r in range(2)]
    seconds = sum(m["seconds"] for m in steps)
    phases = {key[8:]: statistics.mean(m[key] for m in steps) for key in steps[0] if key.startswith("seconds.")}
    return dict(seconds_per_step=seconds / len(steps), phases=phases, tokens_per_s_per_rank=sum(m["tokens"] for m in steps) / seconds / 2,
                tokens_per_sample=statistics.mean(m["tokens"] for m in steps) / 4, peak_rss_mib=max(peaks) / 1024)


def report(folder, form):
    result = {}
    print("| | step s | tokens/s per rank | peak MiB per rank |\n|---|---|---|---|", file=sys.stderr)
    for dtype, (peer, seconds, rate, peak) in PEER.items():
        ours = result[dtype] = measured(folder, dtype)
        ours |= dict(step_ratio=seconds / ours["seconds_per_step"], tokens_per_s_ratio=ours["tokens_per_s_per_rank"] / rate,
                     memory_ratio=ours["peak_rss_mib"] / peak)
        print(f"| muster {dtype} | {ours['seconds_per_step']:.2f} | {ours['tokens_per_s_per_rank']:.0f} | {ours['peak_rss_mib']:.0f} |\n"
              f"| {peer} {dtype} (platform.md) | {seconds} | {rate} | {peak} |", file=sys.stderr)
    print(json.dumps(result if form == "json" else {d: r["tokens_per_s_ratio"] for d, r in result.items()}))


if sys.argv[1] == "samples":
    samples(sys.argv[2])
elif sys.argv[1] == "rank":
    rank(sys.argv[2], sys.argv[3:])
else:
    report(*sys.argv[2:])
