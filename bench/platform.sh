#!/usr/bin/env bash
# ./run bench platform [--json]: the training of research/platform.md's table, by muster: Qwen2.5-VL shape with 46.9 M parameters,
# 151,936 words, two CPU ranks of one thread, 2 samples a rank and step, 224 x 224 images, answers of 40-240 tokens, AdamW.
# Environment: MUSTER_SHARED (the Qwen tokenizer), MUSTER_BENCH_STEPS (8).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
tokenizer=${MUSTER_SHARED:-$PWD/../shared}/data/qwen_tokenizer
steps=${MUSTER_BENCH_STEPS:-8}
if [ ! -d "$tokenizer" ]; then
  echo "bench platform: needs the Qwen tokenizer in $tokenizer (set MUSTER_SHARED)" >&2
  exit 69
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

build/muster synth "$work/images" --images 64 --size 224 --seed 1 >&2
python3 bench/platform_parts.py samples "$work" >&2
build/muster pack "$work/samples.jsonl" -o "$work/train.h5" >&2
export OMP_NUM_THREADS=1
for dtype in fp32 bf16; do
  settings=(run.dir="$work/$dtype" model.dtype="$dtype" tokens.tokenizer="$tokenizer" data.train="$work/train.h5" 'data.val=""'
    data.answer=json detection.enabled=false batch.micro_batches_per_step=2 batch.max_samples=2 schedule.max_steps="$steps"
    schedule.warmup_steps=2 eval.every_steps=0 checkpoint.every_steps=100000 logging.tensorboard=false)
  mpirun -n 2 --oversubscribe --bind-to none python3 bench/platform_parts.py rank "$work/peak.$dtype" \
    build/muster train configs/bccd_small.yaml "${settings[@]/#/--set=}" >&2
done
python3 bench/platform_parts.py report "$work" "$([[ " $* " == *" --json "* ]] && echo json || echo table)"
