#!/usr/bin/env bash
# ./run bench sharding [--json] [--rounds R] [--steps S] [--only ENGINE] [--dtype fp32|bf16] [--rows FILE]
# The same 60 M-parameter transformer on 2 CPU ranks of one thread each, fp32 and bf16: ZeroEngine (mpi, gloo) against
# DeepSpeed ZeRO-2, FSDP2 and DDP + ZeroRedundancyOptimizer (Gloo). Each runs R times, in turn; the fastest round counts,
# since another load of the machine only ever adds time. The peers live in a throw-away environment in the cache folder.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
source bench/peer_venv.sh
readonly kRanks=2
json=()
rounds=3
steps=8
only=""
dtypes=(fp32 bf16)   # a CPU without bf16 products takes minutes for a step in bf16
rows=""
while [ $# -gt 0 ]; do
  option=$1
  shift
  case "$option" in
    --json)
      json=(--json)
      continue
      ;;
    --rounds) rounds=$1 ;;
    --steps) steps=$1 ;;
    --only) only=$1 ;;
    --dtype) dtypes=("$1") ;;
    --rows) rows=$1 ;;
    *)
      echo "bench sharding: unknown option $option; there are --json, --rounds R, --steps S, --only ENGINE, --dtype D, --rows FILE" >&2
      exit 64
      ;;
  esac
  shift
done
say() {
  printf '[bench] %s\n' "$*" >&2
}

if [ ! -f build/build.ninja ]; then
  say "build first: ./run build"
  exit 69
fi
cmake --build build --target bench_sharding >&2

python=$(distributed_peers_venv)
distributed_peers_environment

# Rows of earlier calls, when a file of them is named, count as further rounds.
results=$(mktemp -d)
rows="${rows:-$results/all.jsonl}"
trap 'rm -rf "$results"' EXIT

# A network of its own makes the loopback's counter the bytes that these ranks send.
namespace=(unshare -rn bash -c 'ip link set lo up 2>/dev/null; exec "$@"' _)
if ! unshare -rn true 2>/dev/null; then
  say "no network namespace here: the peers' sent bytes include other traffic on the loopback"
  namespace=()
fi

ours() {
  mpirun --oversubscribe --bind-to none -n $kRanks build/bench_sharding "$2" "$1" "$steps"
}

peer_ranks() {
  local r pids=()
  for ((r = 0; r < kRanks; ++r)); do
    RANK=$r LOCAL_RANK=$r WORLD_SIZE=$kRanks LOCAL_WORLD_SIZE=$kRanks MASTER_ADDR=127.0.0.1 MASTER_PORT=$((20000 + $$ % 20000)) \
      "$python" -W ignore bench/sharding_peers.py "$@" "$steps" &
    pids+=($!)
  done
  wait "${pids[@]}"
}
export -f peer_ranks
export python kRanks steps

measure() {   # ENGINE DTYPE
  local log="$results/$1-$2.log"
  local program=("${namespace[@]}" timeout 600 bash -c 'peer_ranks "$@"' _)
  if [ "$1" = mpi ] || [ "$1" = gloo ]; then program=(ours); fi
  if ! "${program[@]}" "$1" "$2" 2>"$log" | grep '^{' >>"$rows"; then
    say "$1 $2 did not run; the end of its output:"
    tail -n 5 "$log" >&2
  fi
}

for ((round = 0; round < rounds; ++round)); do
  for dtype in "${dtypes[@]}"; do
    for engine in mpi gloo deepspeed fsdp2 ddp_zero; do
      [ -z "$only" ] || [ "$only" = "$engine" ] || continue
      say "round $((round + 1)) of $rounds: $engine $dtype"
      measure "$engine" "$dtype"
    done
  done
done
python3 bench/sharding_table.py "$rows" "${json[@]}"
