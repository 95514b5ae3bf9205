#!/usr/bin/env bash
# ./run bench gpu [--json] [--only kernels|engine|model] [--steps S]
# One NVIDIA GPU, one rank: the engine's kernels against the card's own copy; a step of 1.04 billion parameters in bf16 through
# ZeroEngine and NCCL against PyTorch with fp32 masters, FSDP2 and DeepSpeed ZeRO-2; forward and backward of a model with
# Qwen2.5-VL-3B's sizes against transformers. Peers run in the same call on the same card, each program in turn.
# MUSTER_BENCH_PYTHON: a python that has torch, transformers and, if it is to be measured, deepspeed; else one is installed.
# MUSTER_BENCH_BIN: a folder with the programs, already built.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
. bench/peer_venv.sh
json=()
only=""
steps=10
while [ $# -gt 0 ]; do
  case "$1" in
    --json) json=(json) ;;
    --only)
      only=$2
      shift
      ;;
    --steps)
      steps=$2
      shift
      ;;
    *)
      echo "bench gpu: unknown option $1; there are --json, --only kernels|engine|model, --steps S" >&2
      exit 64
      ;;
  esac
  shift
done

say() {
  printf '[bench] %s\n' "$*" >&2
}

if ! nvidia-smi -L 2>/dev/null | grep -q GPU; then
  say "needs an NVIDIA GPU with its driver, and this machine shows none (nvidia-smi -L)"
  exit 69
fi
bin="${MUSTER_BENCH_BIN:-build}"
[ -n "${MUSTER_BENCH_BIN:-}" ] || cmake --build build --target muster_cuda bench_kernels bench_sharding bench_model >&2
export OMP_NUM_THREADS=4 DS_BUILD_OPS=0 TOKENIZERS_PARALLELISM=false
python="${MUSTER_BENCH_PYTHON:-}"
if [ -z "$python" ]; then   # DeepSpeed is a source package that builds against the torch that is there
  python=$(peer_venv gpu torch==2.11.0 transformers==5.17.0 safetensors numpy setuptools wheel)
  "$python" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("deepspeed") is None)' ||
    "$python" -m pip install -q --disable-pip-version-check --no-build-isolation deepspeed==0.19.8 >&2 ||
    say "no DeepSpeed: its row will be missing"
fi
work="${MUSTER_BENCH_WORK:-$(mktemp -d)}"
mkdir -p "$work"
[ -n "${MUSTER_BENCH_WORK:-}" ] || trap 'rm -rf "$work"' EXIT

# measure FILE COMMAND...: the line of JSON that it prints, or a word of why there is none.
measure() {
  local file="$work/$1"; shift
  say "$*"
  if ! "$@" 2>"$file.err" | grep '^{' | tail -n 1 >"$file"; then
    say "did not run; the end of its output:"
    tail -n 4 "$file.err" >&2
  fi
}

wanted() {
  [ -z "$only" ] || [ "$only" = "$1" ]
}

peer() {
  MASTER_ADDR=127.0.0.1 MASTER_PORT=$((20000 + RANDOM % 20000)) RANK=0 LOCAL_RANK=0 WORLD_SIZE=1 LOCAL_WORLD_SIZE=1 \
    timeout 120 "$python" -W ignore bench/sharding_peers.py "$1" bf16 "$steps" --gpu
}

measure card "$python" bench/gpu_report.py card
if wanted kernels; then measure kernels "$bin/bench_kernels" $((1 << 28)); fi
if wanted engine; then
  measure engine.muster "$bin/bench_sharding" bf16 nccl "$steps"
  measure engine.muster.deterministic "$bin/bench_sharding" bf16 nccl "$steps" deterministic
  for name in torch fsdp2 deepspeed; do
    measure engine.$name peer $name
  done
fi
if wanted model; then
  shape="$work/shape"
  [ -f "$shape/batch.safetensors" ] || "$python" bench/model_peer.py shape "$shape" >/dev/null 2>&1
  same=(--device cuda --redraw --dtype bf16 --threads 4 --steps "$steps")
  ours() {
    "$bin/bench_model" "$shape" "$shape/batch.safetensors" "${same[@]}" --chunk 1024 "$@"
  }
  theirs() {
    "$python" -W ignore bench/model_peer.py run "$shape" "${same[@]}" "$@"
  }
  measure model.muster ours
  measure model.muster.deterministic ours --deterministic
  measure model.muster.recompute ours --recompute
  measure model.transformers theirs
  measure model.transformers.recompute theirs --recompute
  if "$python" -c 'import flash_attn' 2>/dev/null; then
    measure model.transformers.flash theirs --attention flash_attention_2
  fi
fi
"$python" bench/gpu_report.py report "$work" "${json[@]}"
