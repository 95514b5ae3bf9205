#!/usr/bin/env bash
# ./run bench predict [--json]: pictures per second of evaluation and of `muster predict --no-overlay` beside forward passes alone, of
# the same batches on the same threads (bench/predict.cpp): the network of configs/bccd_small.yaml with random weights, on synthetic
# pictures of 640 x 640. Environment: MUSTER_SHARED, MUSTER_BENCH_PICTURES (192), MUSTER_BENCH_THREADS (all cores),
# MUSTER_BENCH_ROUNDS (3).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
shared=$(readlink -f "${MUSTER_SHARED:-../shared}")
form=table
case "${1:-}" in
  "") ;;
  --json) form=json ;;
  *)
    echo "bench predict: unknown option $1; there is --json" >&2
    exit 64
    ;;
esac
[ -e "$shared/data/qwen_tokenizer" ] || { echo "bench predict needs $shared/data/qwen_tokenizer (set MUSTER_SHARED)" >&2; exit 1; }
threads=${MUSTER_BENCH_THREADS:-$(nproc)}  # asked before the next line, which nproc heeds
export OMP_NUM_THREADS=1
cmake --build build --target bench_predict muster muster-torch >&2

work=$(mktemp -d -p build bench_predict.XXXXXX)
trap 'rm -rf "$work"' EXIT
build/muster synth "$work/pictures" --images "${MUSTER_BENCH_PICTURES:-192}" --size 640 --seed 1 >&2
build/muster pack "$work/pictures/annotations.json" -o "$work/pictures.h5" >&2
build/bench_predict configs/bccd_small.yaml --out "$work" --rounds "${MUSTER_BENCH_ROUNDS:-3}" \
  --set "run.dir=$work/run" --set "run.threads_per_rank=$threads" --set "data.train=$work/pictures.h5" \
  --set 'data.val=""' --set "tokens.tokenizer=$shared/data/qwen_tokenizer" >"$work/result.json"
python3 - "$work/result.json" "$form" <<'PYTHON'
import json, sys
result = json.load(open(sys.argv[1]))
if sys.argv[2] == 'json':
    print(json.dumps(result))
else:
    print(f"{result['pictures']} pictures, {result['threads']} threads in the model: forward alone {result['forward_pictures_per_s']:.1f} a second")
    for path in ('evaluate', 'predict'):
        print(f"{path:9} {result[path + '_pictures_per_s']:.1f} a second, {result[path + '_ratio']:.3f} of forward alone")
PYTHON
