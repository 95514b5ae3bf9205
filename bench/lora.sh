#!/usr/bin/env bash
# ./run bench lora [--json]: LoRA against Hugging Face PEFT. Correctness on the tiny models of ../shared/golden (losses, gradients,
# merged weights, and PEFT reading muster's own folder, for LoRA, rsLoRA and DoRA), then time and memory of forward and backward on
# the model of `./run bench model`, with the same adapters, batch and threads. If anything differs, nothing is compared.
# Environment: MUSTER_BENCH_THREADS (1), MUSTER_BENCH_ROUNDS (2), MUSTER_BENCH_STEPS (3 per round and program).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
source bench/peer_venv.sh

threads=${MUSTER_BENCH_THREADS:-1}
rounds=${MUSTER_BENCH_ROUNDS:-2}
steps=${MUSTER_BENCH_STEPS:-3}
golden=${MUSTER_SHARED:-../shared}/golden
if ! [ -d "$golden" ]; then
  echo "no golden models in $golden: set MUSTER_SHARED" >&2
  exit 1
fi
export OMP_NUM_THREADS=$threads HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error
cmake --build build --target bench_model >&2
python=$(peer_venv peft-0.21 torch==2.11.0 transformers==5.17.0 peft==0.21.2 safetensors)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
shopt -s nullglob
for model in "$golden"/qwen*; do
  for kind in lora rslora dora; do
    case="$work/$(basename "$model").$kind"
    mkdir "$case"
    echo "$(basename "$model"), $kind" >&2
    "$python" bench/lora_peer.py check "$model" "$case" --kind "$kind" 2>/dev/null
    build/bench_model "$model" "$model/two_images_padded_batch.safetensors" --dtype fp32 --threads "$threads" --steps 1 \
      --adapter "$case/peft" --adapter-copy "$case/muster" --merged "$case/ours.merged.safetensors" \
      --gradients "$case/ours.gradients.safetensors" >"$case/ours.json"
    "$python" bench/lora_peer.py compare "$model" "$case" >>"$work/cases.jsonl" 2>/dev/null
  done
done

"$python" bench/model_peer.py make "$work" 2>/dev/null
"$python" bench/lora_peer.py adapter "$work" "$work/peft" 2>/dev/null
for dtype in fp32 bf16; do
  for ((round = 0; round < rounds; ++round)); do   # in turns, so that a busy machine hurts both
    echo "round $((round + 1)) of $rounds, $dtype" >&2
    build/bench_model "$work" "$work/batch.safetensors" --dtype $dtype --threads "$threads" --steps "$steps" \
      --chunk 128 --adapter "$work/peft" >>"$work/ours.$dtype.jsonl"
    "$python" bench/lora_peer.py run "$work" "$work/peft" --dtype $dtype --threads "$threads" --steps "$steps" \
      >>"$work/peer.$dtype.jsonl" 2>/dev/null
  done
done
"$python" bench/lora_report.py "$work" "$([[ " $* " == *" --json "* ]] && echo json || echo table)"
