#!/usr/bin/env bash
# ./run bench step [--json] [--only small|half|gpu]: what a training step spends on the network, on the head and its losses, the engine
# and the loader. `small` is configs/bccd_small.yaml, `half` a network of half a billion parameters with the head of configs/base.yaml
# (open captions, language, denoising), both on BCCD's pictures and 2 CPU ranks of one thread each. `gpu`, where there is one, is
# Qwen2.5-VL-3B's sizes with that head, 3.76 billion parameters all trained, on one GPU: 8 scenes of 448 x 448 a micro-batch, and scenes of
# 8,100 vision tokens each. Engine and loader are phases of a run's steps (communication and optimizer; data), the medians of those behind
# the first third; the head's share is that of forward and backward that the network alone does not need (bench/step.cpp). With several
# shapes the JSON has the worst of each share, too.
# Environment: MUSTER_SHARED, MUSTER_BENCH_STEPS (small: 30; half: 4; gpu: 20).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
shared=$(readlink -f "${MUSTER_SHARED:-../shared}")
only="" form=table
while [ $# -gt 0 ]; do
  case "$1" in
    --json) form=json ;;
    --only)
      only=${2:?--only takes small, half or gpu}
      shift
      ;;
    *)
      echo "bench step: unknown option $1; there are --json and --only small|half|gpu" >&2
      exit 64
      ;;
  esac
  shift
done
for needed in data/bccd data/qwen_tokenizer; do
  [ -e "$shared/$needed" ] || { echo "bench step needs $shared/$needed (set MUSTER_SHARED)" >&2; exit 1; }
done
if [ "$only" = gpu ] && ! nvidia-smi -L 2>/dev/null | grep -q GPU; then
  echo "bench step: --only gpu needs an NVIDIA GPU with its driver, and this machine shows none (nvidia-smi -L)" >&2
  exit 69
fi
if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
export OMP_NUM_THREADS=1
cmake --build build --target bench_step muster muster-torch muster-rank-wrap >&2

work=$(mktemp -d -p build bench_step.XXXXXX)
trap 'rm -rf "$work"' EXIT
build/muster pack "$shared/data/bccd" --split train --skip-bad -o "$work/train.h5" >&2

# network NAME TEXT VISION MROPE: $work/NAME/config.json, that of configs/bccd_small.yaml with other sizes (JSON).
network() {
  mkdir "$work/$1"
  python3 - configs/models/bccd_small/config.json "$work/$1/config.json" "${@:2}" <<'PYTHON'
import json, sys
config = json.load(open(sys.argv[1]))
text, vision, mrope = map(json.loads, sys.argv[3:])
layers = text['num_hidden_layers']
config['text_config'].update(text, max_window_layers=layers, layer_types=['full_attention'] * layers)
config['text_config']['rope_parameters']['mrope_section'] = mrope
config['vision_config'].update(vision, out_hidden_size=text['hidden_size'])
json.dump(config, open(sys.argv[2], 'w'))
PYTHON
}
# Half a billion parameters: 24 layers of 896 as Qwen2.5-0.5B's, a tower of 12 blocks of 768.
network half '{"hidden_size": 896, "intermediate_size": 4864, "num_attention_heads": 14, "num_key_value_heads": 2,
  "num_hidden_layers": 24}' \
  '{"depth": 12, "hidden_size": 768, "num_heads": 12, "intermediate_size": 3072, "fullatt_block_indexes": [2, 5, 8, 11]}' '[8, 12, 12]'
cat >"$work/half.yaml" <<YAML
extends: $PWD/configs/base.yaml
run: {dir: $work/half_run, threads_per_rank: 1, device: cpu}
model: {path: $work/half, random_init: true, dtype: fp32, checkpoint_vision: false, checkpoint_language: false, logits_chunk_tokens: 256}
tokens: {tokenizer: $shared/data/qwen_tokenizer}
data: {train: $work/train.h5, val: "", max_pixels: 84672, loader_threads: 1, prefetch_bytes: 16777216, answer: labels}
schedule: {max_steps: 10}
batch: {micro_batches_per_step: 4, max_tokens: 2048, max_vision_tokens: 240, max_samples: 2}
sharding: {backend: mpi}
YAML

# gpu_shape NAME SIDE PICTURES TOKENS: scenes of SIDE pixels, PICTURES a micro-batch, two micro-batches a step.
gpu_shape() {
  local name=$1 side=$2 pictures=$3 tokens=$4
  build/muster synth "$work/$name.scenes" --images 160 --seed 1 --size "$side" >&2
  build/muster pack "$work/$name.scenes/annotations.json" -o "$work/$name.h5" >&2
  cat >"$work/$name.yaml" <<YAML
extends: $PWD/configs/base.yaml
run: {dir: $work/${name}_run, device: cuda}
model: {path: $work/3b, random_init: true, dtype: bf16}
optimizer: {master: split}
data: {val: "", max_pixels: $((side * side)), max_vision_tokens: $tokens, answer: labels}
schedule: {max_steps: 10, warmup_steps: 1}
groups: {merger: {lr: 1e-7}, visual: {lr: 1e-7}, model: {lr: 1e-7}, lm_head: {lr: 1e-7}, detection_head: {lr: 1e-5}}
batch: {micro_batches_per_step: 2, max_tokens: $((pictures * (tokens + 400))), max_vision_tokens: $((pictures * tokens)),
        max_samples: $pictures}
sharding: {backend: nccl}
YAML
  ranks=1 pack=$work/$name.h5
  shape "$name" "$work/$name.yaml" "${MUSTER_BENCH_STEPS:-20}" 2
}

ranks=2 pack=$work/train.h5
# shape NAME CONFIG STEPS MICRO_BATCHES SETTING...: $work/NAME.json has its three shares; so many micro-batches are looked at alone.
# No step is one that the log tells of: those measure every update.
shape() {
  local name=$1 config=$2 steps=$3 micro_batches=$4
  shift 4
  local settings=(--set "run.dir=$work/${name}_run" --set "data.train=$pack" --set 'data.val=""'
    --set "tokens.tokenizer=$shared/data/qwen_tokenizer" --set "schedule.max_steps=$steps" --set checkpoint.every_steps=100000
    --set eval.every_steps=0 --set logging.every_steps=100000 --set logging.tensorboard=false --set launch.step_timeout_s=600)
  for setting in "$@"; do settings+=(--set "$setting"); done
  echo "$name: $steps steps" >&2
  build/muster launch "$config" -n "$ranks" --fresh "${settings[@]}" >"$work/$name.log" 2>&1 || { tail -20 "$work/$name.log" >&2; exit 1; }
  echo "$name: the network alone" >&2
  build/bench_step "$config" --micro-batches "$micro_batches" "${settings[@]}" >"$work/$name.alone.json"
  python3 - "$work" "$name" <<'PYTHON'
import json, statistics, sys
work, name = sys.argv[1:]
rows = [row for row in map(json.loads, open(f'{work}/{name}_run/metrics.jsonl')) if 'seconds' in row]
rows = rows[len(rows) // 3:]
alone = json.load(open(f'{work}/{name}.alone.json'))
phase = lambda *names: statistics.median(sum(row['seconds.' + n] for n in names) / row['seconds'] for row in rows)
passes = phase('forward', 'backward')
json.dump({'step_s': statistics.median(row['seconds'] for row in rows),
           'network_share': passes * alone['network_s'] / alone['whole_s'],
           'head_share': passes * (1 - alone['network_s'] / alone['whole_s']),
           'engine_share': phase('communication', 'optimizer'), 'loader_share': phase('data'),
           **({'mfu': statistics.median(row['mfu'] for row in rows)} if 'mfu' in rows[0] else {}), **alone},
          open(f'{work}/{name}.json', 'w'))
PYTHON
}
shapes=()
if [ -z "$only" ] || [ "$only" = small ]; then
  shape small configs/bccd_small.yaml "${MUSTER_BENCH_STEPS:-30}" 4
  shapes+=(small)
fi
if [ -z "$only" ] || [ "$only" = half ]; then
  shape half "$work/half.yaml" "${MUSTER_BENCH_STEPS:-4}" 1
  shapes+=(half)
fi
if [ "$only" = gpu ]; then
  # Qwen2.5-VL-3B's sizes, as Qwen publishes them.
  network 3b '{"hidden_size": 2048, "intermediate_size": 11008, "num_attention_heads": 16, "num_key_value_heads": 2,
               "num_hidden_layers": 36, "max_position_embeddings": 128000}' \
    '{"depth": 32, "hidden_size": 1280, "num_heads": 16, "intermediate_size": 3420, "fullatt_block_indexes": [7, 15, 23, 31]}' \
    '[16, 24, 24]'
  gpu_shape gpu 448 8 256
  gpu_shape gpu8k 2520 1 8100
  shapes+=(gpu gpu8k)
fi
python3 - "$work" "$form" "${shapes[@]}" <<'PYTHON'
import json, sys
work, form, names = sys.argv[1], sys.argv[2], sys.argv[3:]
shapes = {name: json.load(open(f'{work}/{name}.json')) for name in names}
shares = ('head_share', 'engine_share', 'loader_share')
if form == 'json':
    print(json.dumps({**{share: max(s[share] for s in shapes.values()) for share in shares}, 'shapes': shapes}))
else:
    for name, s in shapes.items():
        print(f"{name:6} step {s['step_s']:.3f} s: network {s['network_share']:.3f}, head {s['head_share']:.3f}, "
              f"engine {s['engine_share']:.3f}, loader {s['loader_share']:.3f}; a micro-batch {s['whole_s']:.3f} s, "
              f"the network alone {s['network_s']:.3f} s")
PYTHON
