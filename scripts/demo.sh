#!/usr/bin/env bash
# The main job, small: synthesise scenes, pack them, train a random detector on 2 ranks, evaluate on scenes it never saw.
# Called by `./run demo`; the only line on stdout is the result.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
muster=build/muster
data=runs/demo_data

for split in "train 2000 1" "val 200 2"; do
  read -r name images seed <<<"$split"
  if [ ! -f "$data/$name.h5" ]; then
    "$muster" synth "$data/$name" --images "$images" --size 168 --seed "$seed" >&2
    "$muster" pack "$data/$name/annotations.json" -o "$data/$name.h5" >&2
  fi
done
"$muster" launch configs/demo.yaml -n 2 --fresh "$@" >&2
"$muster" report runs/demo >&2
ap50=$(grep -o '"eval.AP50": *[0-9.e-]*' runs/demo/metrics.jsonl | tail -n 1 | sed 's/.*: *//')
printf 'AP50 %.2f  report runs/demo/report.html\n' "$ap50"
