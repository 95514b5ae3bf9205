#!/usr/bin/env bash
# ./run bench data [--json]: the data rooms alone, one thread: pictures packed per second, how full and equal micro-batches
# are, the plan of a million samples, start-up with and without the cached sizes; and against transformers' fast image
# processor, `tokenizers` and Ultralytics' dataset scan on the same pictures and text. Without them (no network for pip) the
# peers' numbers are null. Environment: MUSTER_BENCH_PICTURES (4000), MUSTER_BENCH_SAMPLES (1000000), MUSTER_SHARED.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
source bench/peer_venv.sh

pictures=${MUSTER_BENCH_PICTURES:-4000}
samples=${MUSTER_BENCH_SAMPLES:-1000000}
shared=${MUSTER_SHARED:-../shared}
export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error TOKENIZERS_PARALLELISM=false YOLO_OFFLINE=true
for needed in data/bccd/JPEGImages data/qwen_tokenizer; do
  [ -e "$shared/$needed" ] || { echo "bench data needs $shared/$needed (set MUSTER_SHARED)" >&2; exit 1; }
done
cmake --build build --target bench_data muster muster-torch >&2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
now() { date +%s.%N; }
# timed NAME COMMAND...: {"seconds": wall} of the command, whose output goes to a log.
timed() {
  local name=$1 begin
  shift
  begin=$(now)
  "$@" >"$work/$name.log" 2>&1 || { cat "$work/$name.log" >&2; return 1; }
  python3 -c "print({'seconds': $(now) - $begin})" | tr "'" '"' >"$work/$name.json"
}

jpegs=$shared/data/bccd/JPEGImages tokenizer=$shared/data/qwen_tokenizer
cat README.md docs/*.md >"$work/once.txt"
while [ "$(stat -c %s "$work/text.txt" 2>/dev/null || echo 0)" -lt 1048576 ]; do cat "$work/once.txt" >>"$work/text.txt"; done

echo "ours: pictures, tokens, plan" >&2
build/bench_data images "$jpegs" >"$work/images.json"
build/bench_data tokenizer "$tokenizer" "$work/text.txt" >"$work/tokenizer.json"
build/bench_data plan "$samples" >"$work/plan.json"
echo "ours: a YOLO set of $pictures pictures of 320 x 240, scanned and packed" >&2
build/bench_data pictures "$work/yolo" "$pictures" >/dev/null
build/bench_data scan "$work/yolo" >"$work/scan.json"
timed pack build/muster-torch pack "$work/yolo" --threads 1 -o "$work/yolo.h5"
build/bench_data measure "$work/yolo.h5" "$tokenizer" >"$work/measure.json"
echo "ours: a pack of $samples samples, checked cold and warm" >&2
build/bench_data many "$work/many.h5" "$jpegs/BloodImage_00001.jpg" "$samples" >/dev/null
check=(build/muster-torch check configs/bccd_small.yaml --set "data.train=$work/many.h5" --set 'data.val=""'
  --set "tokens.tokenizer=$tokenizer")
timed cold "${check[@]}"
timed warm "${check[@]}"

# torch does not import without its CUDA libraries; ultralytics would ask for a second OpenCV.
peers=data-transformers-5.17-ultralytics-8.4
if python=$(peer_venv "$peers" transformers==5.17.0 tokenizers numpy pillow pyyaml requests scipy psutil matplotlib polars \
  opencv-python-headless filelock typing-extensions sympy networkx jinja2 fsspec setuptools) &&
  { "$python" -c 'import torch, torchvision, ultralytics' 2>/dev/null ||
    { "$python" -m pip install -q --disable-pip-version-check torch==2.11.0 torchvision==0.26.0 >&2 &&
      "$python" -m pip install -q --disable-pip-version-check --no-deps ultralytics==8.4.190 ultralytics-thop >&2; }; }; then
  echo "peers: transformers, tokenizers, ultralytics" >&2
  "$python" bench/data_peer.py images "$jpegs" >"$work/images.peer.json"
  "$python" bench/data_peer.py tokenizer "$tokenizer/tokenizer.json" "$work/text.txt" >"$work/tokenizer.peer.json"
  "$python" bench/data_peer.py scan "$work/yolo" >"$work/scan.peer.json"
else
  echo "the peers cannot be installed: their numbers are null" >&2
  rm -rf "${MUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/muster}/bench_peers/$peers"
fi
python3 bench/data_report.py "$work" "$pictures" "$([[ " $* " == *" --json "* ]] && echo json || echo table)"
