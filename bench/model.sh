#!/usr/bin/env bash
# ./run bench model [--json]: forward and backward of a Qwen2.5-VL of platform size against Hugging Face transformers, on the
# same weights, the same batch of unequal lengths and as many threads. Losses and gradients must agree, or nothing is compared.
# Environment: MUSTER_BENCH_THREADS (1), MUSTER_BENCH_ROUNDS (3), MUSTER_BENCH_STEPS (3 per round and program).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
source bench/peer_venv.sh

threads=${MUSTER_BENCH_THREADS:-1}
rounds=${MUSTER_BENCH_ROUNDS:-3}
steps=${MUSTER_BENCH_STEPS:-3}
export OMP_NUM_THREADS=$threads HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error
cmake --build build --target bench_model >&2
python=$(peer_venv transformers-5.17 torch==2.11.0 transformers==5.17.0 safetensors)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" bench/model_peer.py make "$work" 2>/dev/null
declare -A chunk=([fp32]=128 [bf16]=1024)   # model.logits_chunk_tokens; more than one chunk of bf16 is summed in fp32
for dtype in fp32 bf16; do
  for ((round = 0; round < rounds; ++round)); do   # in turns, so that a busy machine hurts both
    echo "round $((round + 1)) of $rounds, $dtype" >&2
    build/bench_model "$work" "$work/batch.safetensors" --dtype $dtype --threads "$threads" --steps "$steps" \
      --chunk "${chunk[$dtype]}" --gradients "$work/ours.$dtype.safetensors" >>"$work/ours.$dtype.jsonl"
    "$python" bench/model_peer.py run "$work" --dtype $dtype --threads "$threads" --steps "$steps" \
      --gradients "$work/peer.$dtype.safetensors" >>"$work/peer.$dtype.jsonl" 2>/dev/null
  done
  "$python" bench/model_peer.py compare "$work" --dtype $dtype >"$work/compare.$dtype.json"
  rm "$work"/*."$dtype".safetensors
done
"$python" bench/model_report.py "$work" "$threads" "$([[ " $* " == *" --json "* ]] && echo json || echo table)"
