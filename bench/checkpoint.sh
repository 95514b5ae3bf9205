#!/usr/bin/env bash
# ./run bench checkpoint [--json] [--write] [--parameters N] [--rounds R]: fp32 weights, masters and moments of N parameters (16 N bytes), on
# 2 CPU ranks of one thread each, saved in the background and loaded: muster against torch.distributed.checkpoint's async_save, in
# turn, on the same disk. N = 1e9 needs 30 GB of memory. Files are read from the cache of the system, by both.
# blocked: what the training thread waits while a fixed computation runs beside the save; at once: when nothing runs beside it;
# delay: blocked, and by how much the computation is slowed down. load: until every rank has all weights and its part of the state,
# ours with the checksums of all files; load_share: the peer's, of what each rank wrote alone. --write: into docs/reliability.md.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
source bench/peer_venv.sh
readonly kRanks=2
json=""
write=""
parameters=100000000
rounds=3
while [ $# -gt 0 ]; do
  case "$1" in
    --json) json=json ;;
    --write) write=yes ;;
    --parameters | --rounds)
      if [ "$1" = --rounds ]; then rounds=${2:?}; else parameters=$(printf '%.0f' "${2:?}"); fi
      shift
      ;;
    *)
      echo "bench checkpoint: unknown option $1; there are --json, --write, --parameters N, --rounds R" >&2
      exit 64
      ;;
  esac
  shift
done
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 GLOO_SOCKET_IFNAME=lo
if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
cmake --build build --target bench_checkpoint >&2
python=$(distributed_peers_venv)

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
"$python" bench/checkpoint_report.py "$work" "$parameters" "$json" "$write"
