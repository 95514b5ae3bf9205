#!/usr/bin/env bash
# ./run bench serve [--json]: pictures per second of `muster serve` and of `muster predict` on the same checkpoint and
# pictures, and the server's memory over requests most of which are broken. Environment: MUSTER_BENCH_CHECKPOINT
# (runs/demo, which ./run demo makes), MUSTER_BENCH_PICTURES (a folder; runs/demo_data/val/images),
# MUSTER_BENCH_COUNT (2000 pictures asked), MUSTER_BENCH_REQUESTS (10000).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
checkpoint=${MUSTER_BENCH_CHECKPOINT:-runs/demo}
folder=${MUSTER_BENCH_PICTURES:-runs/demo_data/val/images}
count=${MUSTER_BENCH_COUNT:-2000}
requests=${MUSTER_BENCH_REQUESTS:-10000}
build=${MUSTER_BENCH_BUILD:-build}
for needed in "$checkpoint" "$folder"; do
  [ -e "$needed" ] || { echo "bench serve needs $needed: run ./run demo" >&2; exit 1; }
done
if [ "$build" = build ]; then cmake --build build --target bench_serve muster muster-torch >&2; fi

work=$(mktemp -d)
server=
cleanup() {
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap cleanup EXIT

# The same number of pictures for both: links to the folder's, as many as it takes.
mkdir -p "$work/few" "$work/many"
mapfile -t files < <(find "$(readlink -f "$folder")" -type f | sort)
for ((i = 0; i < count; ++i)); do
  file=${files[i % ${#files[@]}]}
  ln -s "$file" "$work/many/$(printf '%06d' "$i").${file##*.}"
  if ((i < count / 4)); then ln -s "$file" "$work/few/$(printf '%06d' "$i").${file##*.}"; fi
done

# cost COMMAND...: its wall seconds and its processor seconds; the latter mean something on a machine that others use, too.
cost() {
  local TIMEFORMAT='%R %U %S'
  { time "$@" >"$work/log" 2>&1; } 2>"$work/cost" || { cat "$work/log" >&2; return 1; }
  awk '{print $1, $2 + $3}' "$work/cost"
}
processor_of_server() {
  awk -v hz="$(getconf CLK_TCK)" '{print ($14 + $15) / hz}' "/proc/$server/stat"
}
# predict's rate without its start: the difference of two sizes. One batch is in the model at a time, as in the server.
echo "predict: $count pictures" >&2
cost "$build/muster" predict "$checkpoint" "$work/few" -o "$work/out" --no-overlay --threads 1 >"$work/few.cost"
cost "$build/muster" predict "$checkpoint" "$work/many" -o "$work/out" --no-overlay --threads 1 >"$work/many.cost"

"$build/muster" serve runs --try "$checkpoint" --port 0 --token bench >"$work/address" 2>"$work/serve.log" &
server=$!
for ((i = 0; i < 100; ++i)); do
  if [ -s "$work/address" ]; then break; fi
  sleep 0.1
done
port=$(sed 's#.*:\([0-9]*\)/.*#\1#' "$work/address")
"$build/bench_serve" load "$port" bench "$folder" 50 8 >/dev/null   # opens the checkpoint
echo "serve: $count pictures from 16 clients, then from 1" >&2
processor_of_server >"$work/serve.cost"
"$build/bench_serve" load "$port" bench "$folder" "$count" 16 >"$work/many.json"
processor_of_server >>"$work/serve.cost"
"$build/bench_serve" load "$port" bench "$folder" "$((count / 4))" 1 >"$work/one.json"
echo "serve: $requests requests, most of them broken" >&2
"$build/bench_serve" mixed "$port" bench "$folder" "$requests" >"$work/mixed.json"

python3 - "$work" "$count" "${1:-}" <<'PY'
import json, sys
work, count, form = sys.argv[1], int(sys.argv[2]), sys.argv[3]
read = lambda name: json.load(open(f"{work}/{name}.json"))
costs = lambda name: [float(word) for word in open(f"{work}/{name}.cost").read().split()]
more = count - count // 4
wall, processor = (many - few for many, few in zip(costs("many"), costs("few")))
before, after = costs("serve")
predict = more / wall
served, alone, mixed = read("many"), read("one"), read("mixed")
memory = mixed["resident_bytes"]
result = {"predict_pictures_per_s": predict, "serve_pictures_per_s": served["pictures_per_s"],
          "ratio": served["pictures_per_s"] / predict,
          "predict_cpu_s_per_picture": processor / more, "serve_cpu_s_per_picture": (after - before) / count,
          "failed": served["failed"] + alone["failed"],
          "p99_s_16_clients": served["p99_s"], "median_s_1_client": alone["median_s"], "requests": mixed["requests"],
          "statuses": mixed["statuses"], "resident_mib_tenth": memory[len(memory) // 10] / 2**20,
          "resident_mib_half": memory[len(memory) // 2] / 2**20, "resident_mib_end": memory[-1] / 2**20}
if form == "--json":
    print(json.dumps(result))
else:
    for name, value in result.items():
        print(f"{name:26} {value if isinstance(value, (int, dict)) else f'{value:.4g}'}")
PY
