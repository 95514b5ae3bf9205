#!/usr/bin/env bash
# ./run bench step [--json] [--only small|half]: what a training step spends on the head and its losses, the engine and the loader, of
# two detectors on BCCD's pictures, 2 CPU ranks of one thread each: `small` is configs/bccd_small.yaml, `half` a network of half
# a billion parameters with the head of configs/base.yaml (open captions, language, denoising). Engine and loader are phases of a run's
# steps (communication and optimizer; data), the medians of those behind the first third; the head's share is that of forward and backward
# that the network alone does not need (bench/step.cpp). With several shapes the JSON has the worst of each share, too.
# Environment: MUSTER_SHARED, MUSTER_BENCH_STEPS (small: 30; half: 4).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
shared=$(readlink -f "${MUSTER_SHARED:-../shared}")
only="" form=table
while [ $# -gt 0 ]; do
  case "$1" in
    --json) form=json ;;
    --only)
      only=${2:?--only takes small or half}
      shift
      ;;
    *)
      echo "bench step: unknown option $1; there are --json and --only small|half" >&2
      exit 64
      ;;
  esac
  shift
done
for needed in data/bccd data/qwen_tokenizer; do
  [ -e "$shared/$needed" ] || { echo "bench step needs $shared/$needed (set MUSTER_SHARED)" >&2; exit 1; }
done
if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
export OMP_NUM_THREADS=1
cmake --build build --target bench_step muster muster-torch muster-rank-wrap >&2

work=$(mktemp -d -p build bench_step.XXXXXX)
trap 'rm -rf "$work"' EXIT
build/muster pack "$shared/data/bccd" --split train --skip-bad -o "$work/train.h5" >&2

# Half a billion parameters: 24 layers of 896 as Qwen2.5-0.5B's, a tower of 12 blocks of 768.
mkdir "$work/half"
python3 - configs/models/bccd_small/config.json "$work/half/config.json" <<'PYTHON'
import json, sys
config = json.load(open(sys.argv[1]))
config['text_config'].update(hidden_size=896, intermediate_size=4864, num_attention_heads=14, num_key_value_heads=2,
                             num_hidden_layers=24, max_window_layers=24, layer_types=['full_attention'] * 24)
config['text_config']['rope_parameters']['mrope_section'] = [8, 12, 12]
config['vision_config'].update(depth=12, hidden_size=768, num_heads=12, intermediate_size=3072, out_hidden_size=896,
                               fullatt_block_indexes=[2, 5, 8, 11])
json.dump(config, open(sys.argv[2], 'w'))
PYTHON
cat >"$work/half.yaml" <<YAML
extends: $PWD/configs/base.yaml
run: {dir: $work/half_run, threads_per_rank: 1, device: cpu}
model: {path: $work/half, random_init: true, dtype: fp32, checkpoint_vision: false, checkpoint_language: false, logits_chunk_tokens: 256}
tokens: {tokenizer: $shared/data/qwen_tokenizer}
data: {train: $work/train.h5, val: "", max_pixels: 84672, loader_threads: 1, prefetch_micro_batches: 4, answer: labels}
schedule: {max_steps: 10}
batch: {micro_batches_per_step: 4, max_tokens: 2048, max_vision_tokens: 240, max_samples: 2}
sharding: {backend: mpi}
YAML

# shape NAME CONFIG STEPS MICRO_BATCHES SETTING...: $work/NAME.json has its three shares; so many micro-batches are looked at alone.
# No step is one that the log tells of: those measure every update.
shape() {
  local name=$1 config=$2 steps=$3 micro_batches=$4
  shift 4
  local settings=(--set "run.dir=$work/${name}_run" --set "data.train=$work/train.h5" --set 'data.val=""'
    --set "tokens.tokenizer=$shared/data/qwen_tokenizer" --set "schedule.max_steps=$steps" --set checkpoint.every_steps=100000
    --set eval.every_steps=0 --set logging.every_steps=100000 --set logging.tensorboard=false --set launch.step_timeout_s=600)
  for setting in "$@"; do settings+=(--set "$setting"); done
  echo "$name: $steps steps" >&2
  build/muster launch "$config" -n 2 --fresh "${settings[@]}" >"$work/$name.log" 2>&1 || { tail -20 "$work/$name.log" >&2; exit 1; }
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
           'head_share': passes * (1 - alone['network_s'] / alone['whole_s']),
           'engine_share': phase('communication', 'optimizer'), 'loader_share': phase('data'), **alone},
          open(f'{work}/{name}.json', 'w'))
PYTHON
}
shapes=()
if [ "$only" != half ]; then
  shape small configs/bccd_small.yaml "${MUSTER_BENCH_STEPS:-30}" 4
  shapes+=(small)
fi
if [ "$only" != small ]; then
  shape half "$work/half.yaml" "${MUSTER_BENCH_STEPS:-4}" 1
  shapes+=(half)
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
        print(f"{name:6} step {s['step_s']:.3f} s: head {s['head_share']:.3f}, engine {s['engine_share']:.3f}, "
              f"loader {s['loader_share']:.3f}; a micro-batch {s['whole_s']:.3f} s, the network alone {s['network_s']:.3f} s")
PYTHON
