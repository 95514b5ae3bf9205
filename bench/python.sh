#!/usr/bin/env bash
# ./run bench python [--json]: the detector that `muster export` wrote, run by transformers without muster (modeling_muster.py),
# beside `muster predict` on 50 pictures: boxes to 1e-3 of the picture, scores to 1e-4, captions equal. Tiny models of every
# family, from a config.json as published and from one as transformers 5 saves it, a LoRA run merged, learned queries without
# the language model and closed labels, each trained here for a minute, in several versions of transformers. The thin Python
# module (packaging/python) asks muster.
# Environment: MUSTER_BENCH_TRANSFORMERS ("4.49.0 4.57.1 5.24.0"), MUSTER_BENCH_STEPS (150).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
source bench/peer_venv.sh

versions=${MUSTER_BENCH_TRANSFORMERS:-4.49.0 4.57.1 5.24.0}
steps=${MUSTER_BENCH_STEPS:-150}
cmake --build build --target muster muster-torch >&2
export MUSTER=$PWD/build/muster OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
data() {
  build/muster synth "$work/$1" --images "$2" --size 140 --seed 1 >&2
  build/muster pack "$work/$1/annotations.json" -o "$work/$1.h5" >&2
}
data train 64
data val 4

# train CASE MODEL [KEY=VALUE]...: a run of CASE, exported to CASE.hf
train() {
  local case=$1 model=$2 set=()
  shift 2
  for key in run.dir="$work/$case" model.path="$model" tokens.tokenizer="$work/train" data.train="$work/train.h5" \
    data.val="$work/val.h5" schedule.max_steps="$steps" schedule.warmup_steps=5 checkpoint.every_steps="$steps" \
    eval.every_steps=0 "$@"; do
    set+=(--set "$key")
  done
  echo "training $case" >&2
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 build/muster launch tests/support/plain_demo.yaml -n 1 "${set[@]}" >"$work/$case.log" 2>&1 ||
    { tail -20 "$work/$case.log" >&2; exit 1; }
}

cases=()
for family in qwen2_vl qwen2_5_vl qwen3_vl; do
  python3 bench/tiny_family.py "$family" "$work/$family.model"
  train "$family" "$work/$family.model"
  build/muster export "$work/$family" -o "$work/$family.hf" >&2
  python3 bench/tiny_family.py "$family" "$work/$family.nested_model" nested
  train "${family}_nested" "$work/$family.nested_model"
  build/muster export "$work/${family}_nested" -o "$work/${family}_nested.hf" >&2
  cases+=("$family" "${family}_nested")
done
train learned "$work/qwen2_5_vl.model" detection.queries=learned detection.memory=vision data.system_prompt=Short.
build/muster export "$work/learned" -o "$work/learned.hf" >&2
# A tower with windows, whose patches come in another order; queries that read their boxes, with language and without.
train closed "$work/qwen2_5_vl.model" detection.labels=closed detection.memory=patches detection.cross_attention=boxes \
  detection.neck_layers=2 detection.one_to_many=4 loss.objectness_target=iou
train patches "$work/qwen3_vl.model" detection.memory=patches+language detection.neck_layers=1
build/muster export "$work/patches" -o "$work/patches.hf" >&2
build/muster export "$work/closed" -o "$work/closed.hf" >&2
train lora "$work/qwen3_vl.hf" model.random_init=false lora.enabled=true
build/muster export "$work/lora" -o "$work/lora.hf" --merge >&2
cases+=(learned closed patches lora)

failed=0
for version in $versions; do
  python=$(peer_venv "transformers-$version" torch==2.11.0 torchvision==0.26.0 "transformers==$version" numpy pillow safetensors)
  for case in "${cases[@]}"; do
    # Qwen3-VL came with transformers 4.57.
    if [[ $version == 4.49* ]] && grep -q '"qwen3_vl"' "$work/$case.hf/config.json"; then continue; fi
    echo "transformers $version, $case" >&2
    "$python" bench/python_check.py "$work/$case.hf" "$case" 2>"$work/check.log" >>"$work/report.jsonl" ||
      { failed=1; tail -5 "$work/check.log" >&2; }
  done
done
python3 bench/python_report.py "$work/report.jsonl" "$([[ " $* " == *" --json "* ]] && echo json || echo table)"
exit $failed
