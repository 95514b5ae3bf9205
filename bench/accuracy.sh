#!/usr/bin/env bash
# ./run bench accuracy [--json]: a detector from random weights on BCCD, ten minutes on two cores: configs/bccd_small.yaml with
# configs/augment/light.yaml beside the small detector of Ultralytics, which trains from scratch on the same pictures for the same
# time, with its own augmentation. AP and AP50 on val, as pycocotools has them. muster's run is as many steps as ten minutes hold at
# the speed of its first ones; evaluation and start do not count, on either side. Run it on a machine that does nothing else.
# Environment: MUSTER_BENCH_MINUTES (10), MUSTER_BENCH_MODEL (yolov8n.yaml), MUSTER_BENCH_SIZE (320), MUSTER_BENCH_SEED (0).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
source bench/peer_venv.sh

minutes=${MUSTER_BENCH_MINUTES:-10}
seed=${MUSTER_BENCH_SEED:-0}
shared=${MUSTER_SHARED:-../shared}
if ! [ -d "$shared/data/bccd" ]; then
  echo "no $shared/data/bccd: set MUSTER_SHARED" >&2
  exit 1
fi
cmake --build build --target muster muster-torch >&2
python=$(peer_venv accuracy ultralytics==8.4.60 torch==2.11.0 torchvision==0.26.0 pycocotools)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for split in train val; do
  build/muster pack "$shared/data/bccd" --split $split --skip-bad -o "$work/$split.h5" >&2
done

cat >"$work/config.yaml" <<YAML
extends: [$PWD/configs/bccd_small.yaml, $PWD/configs/augment/light.yaml]
YAML

# ours STEPS NAME: the run's metrics are at NAME/metrics.jsonl.
ours() {
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 build/muster launch "$work/config.yaml" -n 2 \
    --set run.dir="$work/$2" --set data.train="$work/train.h5" --set data.val="$work/val.h5" --set run.seed="$seed" \
    --set tokens.tokenizer="$shared/data/qwen_tokenizer" --set schedule.max_steps="$1" --set schedule.epochs=null \
    --set eval.every_steps=0 --set eval.max_samples=0 --set checkpoint.every_steps="$1" >"$work/$2.log" 2>&1 ||
    { tail -20 "$work/$2.log" >&2; exit 1; }
}
seconds_of_steps() {   # seconds_of_steps NAME FIRST: of a step, from step FIRST on
  python3 - "$work/$1/metrics.jsonl" "$2" <<'PYTHON'
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
took = [row["seconds"] for row in rows if "seconds" in row and row["step"] >= int(sys.argv[2])]
print(sum(took) / len(took))
PYTHON
}
ours 40 probe
step=$(seconds_of_steps probe 11)
steps=$(python3 -c "print(int($minutes * 60 / $step))")
echo "muster: $steps steps of $step s in $minutes minutes" >&2
ours "$steps" run
"$python" bench/accuracy_peer.py "$shared/data/bccd" "$work" --minutes "$minutes" --model "${MUSTER_BENCH_MODEL:-yolov8n.yaml}" \
  --size "${MUSTER_BENCH_SIZE:-320}" --seed "$seed" >"$work/peer.json" 2>"$work/peer.log" || { tail -20 "$work/peer.log" >&2; exit 1; }
python3 - "$work" "$steps" "$(seconds_of_steps run 1)" "$([[ " $* " == *" --json "* ]] && echo json || echo table)" <<'PYTHON'
import json, sys
from pathlib import Path
work, steps, step_s, form = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
evaluation = [row for row in map(json.loads, open(work / "run" / "metrics.jsonl")) if "eval.AP50" in row][-1]
peer = json.loads((work / "peer.json").read_text())
report = {"ours_ap50": evaluation["eval.AP50"], "peer_ap50": peer["ap50"], "ours_ap": evaluation["eval.AP"], "peer_ap": peer["ap"],
          "ours_minutes": steps * step_s / 60, "peer_minutes": peer["seconds"] / 60, "ours_steps": steps,
          "peer_epochs": peer["epochs"], "peer": peer["model"]}
if form == "json":
    print(json.dumps(report))
else:
    print(f"{'':24}{'AP50':>8}{'AP':>8}{'minutes':>9}")
    print(f"{'muster, bccd_small':24}{report['ours_ap50']:8.3f}{report['ours_ap']:8.3f}{report['ours_minutes']:9.1f}")
    print(f"{peer['model'].removesuffix('.yaml'):24}{report['peer_ap50']:8.3f}{report['peer_ap']:8.3f}{report['peer_minutes']:9.1f}")
PYTHON
