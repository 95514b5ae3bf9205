"""The race of ./run bench peers: muster, Hugging Face Trainer + DeepSpeed ZeRO-2 and a loop over FSDP2, in turns."""
import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import faults

RANKS, PER_RANK, IMAGE_PX = 2, 2, 224
WARM_UP = 2  # steps that no speed is taken from
WORDS = ("the of and to in is that for it was on are as with his they at be this from have or by one had not but what "
         "all were").split()
QUESTION = "What is there to be seen in this picture?"
CONFIG, MODEL = "bench/peers.yaml", "configs/models/bccd_small"
PEERS = {"trainer_deepspeed": "bench/peers_trainer.py", "fsdp2": "bench/peers_fsdp2.py"}
NAMES = {"muster": "muster", "trainer_deepspeed": "Trainer + DeepSpeed ZeRO-2", "fsdp2": "FSDP2, by hand"}
# A loss may differ by so much, relative to the peer's. fp32: sums in another order, grown over the steps. bf16: results
# are rounded to 8 bits, at other places in each program; the two peers differ from each other by as much.
TOLERANCE = {"fp32": 1e-4, "bf16": 1e-2}
# Against Trainer + DeepSpeed: at least so many times its tokens/s, at most so much of its memory and of its start.
TARGET_SPEED = {"fp32": 3.0, "bf16": 4.0}
TARGET_MEMORY, TARGET_START = 0.33, 0.1
DOC = pathlib.Path("docs/benchmarks.md")


def answer(i):
    """40 to 240 words, each one token; mean 140."""
    return " ".join(WORDS[(i + k) % len(WORDS)] for k in range(40 + i * 67 % 201))


def write_samples(folder, count):
    names = sorted(os.listdir(folder / "images/images"))
    with open(folder / "samples.jsonl", "w") as out:
        for i in range(count):
            out.write(json.dumps({"image": f"images/images/{names[i]}", "conversations": [
                {"from": "human", "value": f"<image>\n{QUESTION}"}, {"from": "gpt", "value": answer(i)}]}) + "\n")


def one_pad(text):
    """Without the count that muster look adds to a picture's tokens."""
    return re.sub(r"(<\|image_pad\|>)( x \d+)?", r"\1", text)


class Race:
    """Data, start weights and order of samples that all programs share."""

    def __init__(self, folder, options):
        self.folder = pathlib.Path(folder)
        self.steps = options.steps
        self.python = options.python
        self.tokenizer = pathlib.Path(options.tokenizer).resolve()
        samples = (self.steps + 4) * RANKS * PER_RANK  # one epoch is enough
        self.muster("synth", self.folder / "images", "--images", samples, "--size", IMAGE_PX, "--seed", 1)
        write_samples(self.folder, samples)
        self.muster("pack", self.folder / "samples.jsonl", "-o", self.folder / "train.h5")
        made = self.call(self.python, "bench/peers_common.py", "make", MODEL, self.folder / "model")
        self.parameters = int(made.split()[-1])
        self.order = self.ask_order()

    def call(self, *words):
        done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"bench peers: {' '.join(map(str, words))}: {done.stderr[-2000:]}")
        return done.stdout

    def muster(self, *words):
        return self.call("build/muster", *words)

    def settings(self, dtype, run_dir):
        values = {"run.dir": run_dir, "model.path": self.folder / "model", "model.dtype": dtype,
                  "tokens.tokenizer": self.tokenizer, "data.train": self.folder / "train.h5",
                  "schedule.max_steps": self.steps}
        return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]

    def ask_order(self):
        """muster's own micro-batches of epoch 0, as trained. Each rank takes one a step, ranks in turn."""
        wanted = self.steps * RANKS * PER_RANK
        settings = self.settings("fp32", self.folder / "run")
        samples = json.loads(self.muster("look", CONFIG, *settings, "-n", wanted, "--json"))["samples"][:wanted]
        if [s["micro_batch"] for s in samples] != [i // PER_RANK for i in range(wanted)]:
            sys.exit("bench peers: a micro-batch does not hold two samples")
        order = [{"index": s["index"], "picture": s["images"][0]["path"], "tokens": s["trained"]["tokens"],
                  "text": [[part["loss"], one_pad(part["text"])] for part in s["trained"]["text"]]} for s in samples]
        (self.folder / "order.json").write_text(json.dumps(
            {"tokenizer": str(self.tokenizer), "pictures": str(self.folder), "samples": order}))
        return order

    def tokens(self, step):
        """Real ones, of all ranks, in a step counted from 0."""
        width = RANKS * PER_RANK
        return sum(s["tokens"] for s in self.order[step * width:(step + 1) * width])

    def run(self, program, dtype):
        log = self.folder / f"{program}.{dtype}.log"
        if program == "muster":
            run_dir = self.folder / "run"
            shutil.rmtree(run_dir, ignore_errors=True)
            command = ["build/muster", "launch", CONFIG, "-n", RANKS, *self.settings(dtype, run_dir)]
            result, _ = timed(command, log)
            result.take(*self.read_run(run_dir))
        else:
            torchrun = pathlib.Path(self.python).with_name("torchrun")
            command = [torchrun, "--standalone", "--nproc-per-node", RANKS, PEERS[program], self.folder, dtype,
                       self.steps]
            result, said = timed(command, log)
            told = json.loads(said.splitlines()[-1])
            result.take(told["ends"], told["losses"])
        return result

    def read_run(self, run_dir):
        """When each step ended on the later rank, and its loss. The samples must have been those of the order."""
        boxes = [read_black_box(run_dir / "black_box" / f"rank-{r}.bin") for r in range(RANKS)]
        for rank, events in enumerate(boxes):
            used = [e["samples"][:PER_RANK] for e in events if e["phase"] == FORWARD and e["bucket"] < 0]
            wanted = [[s["index"] for s in self.order[b * PER_RANK:(b + 1) * PER_RANK]]
                      for b in range(rank, self.steps * RANKS, RANKS)]
            if used != wanted:
                sys.exit(f"bench peers: rank {rank} of muster took other samples than muster look told")
        ends = [max(next(e["time"] for e in events if e["step"] == step) for events in boxes)
                for step in range(1, self.steps + 1)]
        rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
        return ends, [row["loss"] for row in rows]


FORWARD = 3  # the phase's number in docs/black_box.md


def read_black_box(file):
    """Events, oldest first; docs/black_box.md has the layout. The first one may lie before the ring's."""
    raw = file.read_bytes()
    slots = (struct.unpack_from("<QqqqqiiB7x4q", raw, at) for at in range(4096, len(raw), 128))
    events = sorted(slot for slot in slots if slot[0] > 0)
    if events[0][0] != 1:
        sys.exit(f"bench peers: {file} does not hold the whole run: fewer steps, please (MUSTER_BENCH_STEPS)")
    return [{"time": e[1] / 1e9, "step": e[2], "bucket": e[6], "phase": e[7], "samples": list(e[8:])} for e in events]


class Result:
    """One run of a program."""

    def __init__(self, begin, peak_bytes):
        self.begin = begin
        self.peak_bytes = peak_bytes

    def take(self, ends, losses):
        self.start_s = ends[0] - self.begin
        self.seconds = [b - a for a, b in zip(ends, ends[1:])]  # of the second step and those after it
        self.losses = losses


def timed(command, log):
    """(a Result, stdout). The peak is the largest of the command and of all that it waited for, which is a rank's."""
    with open(log, "w") as err, tempfile.TemporaryFile("w+") as out:
        begin = time.time()
        pid = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=out, stderr=err).pid
        _, status, usage = os.wait4(pid, 0)
        out.seek(0)
        said = out.read()
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"bench peers: {' '.join(map(str, command))} failed:\n{log.read_text()[-3000:]}{said[-1000:]}")
    return Result(begin, usage.ru_maxrss * 1024), said


def best_of(race, runs):
    """Of each number the best round: another load of the machine only ever adds."""
    def rate(run, work):
        return statistics.median(work(step) / seconds
                                 for step, seconds in enumerate(run.seconds, start=1) if step >= WARM_UP)
    return {"tokens_per_s": max(rate(run, race.tokens) for run in runs),
            "images_per_s": max(rate(run, lambda _: RANKS * PER_RANK) for run in runs),
            "step_s": min(statistics.median(run.seconds[WARM_UP - 1:]) for run in runs),
            "peak_mib": min(run.peak_bytes for run in runs) / 2**20,
            "start_s": min(run.start_s for run in runs),
            "losses": runs[-1].losses}


def worst_difference(ours, theirs):
    return max(abs(a - b) / abs(b) for a, b in zip(ours, theirs))


def judge(race, dtype, runs):
    programs = {name: best_of(race, results) for name, results in runs.items()}
    ours = programs["muster"]
    result = {"programs": programs, "ratios": {}, "loss_difference": {}}
    for name in PEERS:
        peer = programs[name]
        result["ratios"][name] = {
            "tokens_per_s": ours["tokens_per_s"] / peer["tokens_per_s"],
            "images_per_s": ours["images_per_s"] / peer["images_per_s"],
            "memory": ours["peak_mib"] / peer["peak_mib"], "start": ours["start_s"] / peer["start_s"]}
        result["loss_difference"][name] = max(worst_difference(a.losses, b.losses)
                                              for a in runs["muster"] for b in runs[name])
    result["loss_difference"]["of the peers"] = worst_difference(*(programs[name]["losses"] for name in PEERS))
    first, second = (result["ratios"][name] for name in PEERS)
    result["targets"] = {
        "speed": first["tokens_per_s"] >= TARGET_SPEED[dtype], "memory": first["memory"] <= TARGET_MEMORY,
        "start": first["start"] <= TARGET_START,
        "ahead_of_fsdp2": second["tokens_per_s"] > 1 and second["memory"] < 1 and second["start"] < 1}
    result["losses_agree"] = all(result["loss_difference"][name] <= TOLERANCE[dtype] for name in PEERS)
    return result


def loss_table(result):
    programs = result["programs"]
    lines = ["| step | " + " | ".join(NAMES[name] for name in programs) + " |", "|---|" + "---|" * len(programs)]
    for step, losses in enumerate(zip(*(p["losses"] for p in programs.values())), start=1):
        lines.append(f"| {step} | " + " | ".join(f"{loss:.6f}" for loss in losses) + " |")
    return "\n".join(lines) + "\n"


def speed_table(results):
    lines = ["| program | tokens/s | images/s | step s | peak MiB per rank | start to first step, s | first, last loss |",
             "|---|---|---|---|---|---|---|"]
    for dtype, result in results.items():
        for name, p in result["programs"].items():
            lines.append(f"| {NAMES[name]}, {dtype} | {p['tokens_per_s']:.0f} | {p['images_per_s']:.2f} | "
                         f"{p['step_s']:.3f} | {p['peak_mib']:,.0f} | {p['start_s']:.2f} | "
                         f"{p['losses'][0]:.5f}, {p['losses'][-1]:.5f} |")
    lines += ["", "| muster against | tokens/s | memory | start | losses differ by at most |", "|---|---|---|---|---|"]
    for dtype, result in results.items():
        for name, r in result["ratios"].items():
            lines.append(f"| {NAMES[name]}, {dtype} | {r['tokens_per_s']:.2f} x | {r['memory']:.2f} x | "
                         f"{r['start']:.2f} x | {result['loss_difference'][name]:.1e} |")
    return "\n".join(lines) + "\n"


def measure(race, dtype, rounds):
    runs = {name: [] for name in NAMES}
    for turn in range(rounds):
        for name, results in runs.items():
            print(f"[bench] {dtype}, round {turn + 1} of {rounds}: {NAMES[name]}", file=sys.stderr, flush=True)
            results.append(race.run(name, dtype))
    return judge(race, dtype, runs)


def has_bf16_products():
    with open("/proc/cpuinfo") as info:
        flags = next((line for line in info if line.startswith("flags")), "")
    return re.search(r"\b(avx512_bf16|amx_bf16)\b", flags) is not None


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--write", action="store_true", help="the tables, into docs/benchmarks.md")
    arguments.add_argument("--python", required=True, help="of the peers' environment")
    arguments.add_argument("--tokenizer", required=True)
    arguments.add_argument("--rounds", type=int, default=2)
    arguments.add_argument("--steps", type=int, default=20)
    arguments.add_argument("--dtypes", default="fp32 bf16")
    options = arguments.parse_args()
    dtypes = options.dtypes.split()
    report = {"rounds": options.rounds, "steps": options.steps, "skipped": {}, "dtypes": {}}
    if "bf16" in dtypes and not has_bf16_products():
        dtypes.remove("bf16")
        report["skipped"]["bf16"] = "this processor has no bf16 products: use fp32"
        print(f"[bench] bf16 is left out: {report['skipped']['bf16']}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="muster-peers-") as folder:
        race = Race(folder, options)
        report["parameters"] = race.parameters
        for dtype in dtypes:
            report["dtypes"][dtype] = measure(race, dtype, options.rounds)
    for dtype, result in report["dtypes"].items():
        print(f"\nlosses, {dtype}\n\n{loss_table(result)}", file=sys.stderr)
    table = speed_table(report["dtypes"])
    print(table, file=sys.stderr)
    report["losses_agree"] = all(result["losses_agree"] for result in report["dtypes"].values())
    if not report["losses_agree"]:
        print("bench peers: the losses do not agree, so nothing here counts", file=sys.stderr)
    elif options.write:
        faults.put_table("peers", table, DOC)
    if options.json:
        print(json.dumps(report))
    return 0 if report["losses_agree"] else 1


if __name__ == "__main__":
    sys.exit(main())
