#!/usr/bin/env bash
# ./run bench checkpoint [--json] [--parameters N] [--rounds R]: fp32 weights, masters and moments of N parameters (16 N bytes), on
# 2 CPU ranks of one thread each, saved in the background and loaded: muster against torch.distributed.checkpoint's async_save, in
# turn, on the same disk. N = 1e9 needs 30 GB of memory. Files are read from the cache of the system, by both.
# blocked: what the training thread waits while a fixed computation runs beside the save; at once: when nothing runs beside it;
# delay: blocked, and by how much the computation is slowed down.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
source bench/peer_venv.sh
readonly kRanks=2
json=""
parameters=100000000
rounds=3
while [ $# -gt 0 ]; do
  case "$1" in
    --json) json=json ;;
    --parameters | --rounds)
      if [ "$1" = --rounds ]; then rounds=${2:?}; else parameters=$(printf '%.0f' "${2:?}"); fi
      shift
      ;;
    *)
      echo "bench checkpoint: unknown option $1; there are --json, --parameters N, --rounds R" >&2
      exit 64
      ;;
  esac
  shift
done
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 GLOO_SOCKET_IFNAME=lo
if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
cmake --build build --target bench_checkpoint >&2
python=$(peer_venv peft-0.21 torch==2.11.0 transformers==5.17.0 peft==0.21.2 safetensors)

work=$(mktemp -d -p "${MUSTER_BENCH_DIR:-$PWD/build}" bench_checkpoint.XXXXXX)
trap 'rm -rf "$work"' EXIT
for ((round = 1; round <= rounds; ++round)); do   # in turns, so that a busy machine hurts both
  echo "[bench] round $round of $rounds" >&2
  mkdir -p "$work/ours/checkpoints"
  mpirun -n $kRanks --oversubscribe --bind-to none build/bench_checkpoint "$work/ours" "$parameters" 2 >>"$work/ours.jsonl"
  rm -rf "$work/ours"
  pids=()
  for ((rank = kRanks - 1; rank >= 0; --rank)); do
    RANK=$rank WORLD_SIZE=$kRanks MASTER_ADDR=127.0.0.1 MASTER_PORT=29541 \
      "$python" bench/checkpoint_peer.py "$work/peer" "$parameters" 2 >>"$work/peer.jsonl" 2>>"$work/peer.log" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do
    if ! wait "$pid"; then
      tail -5 "$work/peer.log" >&2
      exit 1
    fi
  done
  rm -rf "$work/peer"
done
"$python" - "$work" "$json" <<'PY'
import json, sys
work, as_json = sys.argv[1:]
def best(name):
    rows = [json.loads(line) for line in open(f"{work}/{name}.jsonl")]
    return {key: min(row[key] for row in rows) for key in rows[0]}
ours, peer = best("ours"), best("peer")
ratio = {key: ours[key] / peer[key] for key in ("blocked", "blocked_at_once", "delay", "write", "load")}
print(f"{'':<18}{'muster':>10}{'torch dcp':>11}{'ratio':>8}", file=sys.stderr)
for key in ("blocked", "blocked_at_once", "delay", "write", "verify", "load"):
    other = f"{peer[key]:11.3f}{ratio[key]:8.2f}" if key in peer else f"{'-':>11}{'-':>8}"
    print(f"{key + ', s':<18}{ours[key]:>10.3f}{other}", file=sys.stderr)
print(f"{'GB':<18}{ours['bytes'] / 1e9:>10.3f}{peer['bytes'] / 1e9:11.3f}", file=sys.stderr)
if as_json:
    print(json.dumps({"ours": ours, "peer": peer, "ratio": ratio}))
PY
