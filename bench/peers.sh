#!/usr/bin/env bash
# ./run bench peers [--json] [--write]: one training run by three programs, in turns on this machine: muster, Hugging
# Face Trainer with DeepSpeed ZeRO-2 (padded batches), and a careful loop over FSDP2 (no padding, logits where labels are,
# chunk by chunk). Qwen2.5-VL shape with 46.9 M parameters and 151,936 words, two CPU ranks of one thread, 2 samples a rank
# and step, 224 x 224 pictures, answers of 40-240 tokens; the same start weights, samples in each step, schedule, AdamW,
# clipping and loss. The losses of all steps must agree or the command fails. The peers live in an environment of their
# own in the cache folder. --write puts the tables into docs/benchmarks.md.
# Environment: MUSTER_SHARED (the Qwen tokenizer), MUSTER_BENCH_ROUNDS (2), MUSTER_BENCH_STEPS (20), MUSTER_BENCH_DTYPES
# ("fp32 bf16").
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
source bench/peer_venv.sh

tokenizer=${MUSTER_SHARED:-$PWD/../shared}/data/qwen_tokenizer
if [ ! -d "$tokenizer" ]; then
  echo "bench peers: needs the Qwen tokenizer in $tokenizer (set MUSTER_SHARED)" >&2
  exit 69
fi
cmake --build build --target muster muster-torch muster-rank-wrap >&2
python=$(distributed_peers_venv)
distributed_peers_environment
export HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error PYTHONWARNINGS=ignore
python3 bench/peers.py "$@" --python "$python" --tokenizer "$tokenizer" --rounds "${MUSTER_BENCH_ROUNDS:-2}" \
  --steps "${MUSTER_BENCH_STEPS:-20}" --dtypes "${MUSTER_BENCH_DTYPES:-fp32 bf16}"
