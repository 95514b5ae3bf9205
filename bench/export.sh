#!/usr/bin/env bash
# ./run bench export: tiny checkpoints of every family, trained and exported by muster, are loaded by Hugging Face transformers
# of several versions: no key missing, unexpected or mis-shaped, and the same logits. The models start from a config.json in the
# layout of transformers 5.
# Environment: MUSTER_BENCH_TRANSFORMERS ("4.49.0 4.57.1 5.24.0").
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
source bench/peer_venv.sh

export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error MUSTER_TRANSFORMERS_PYTHON
cmake --build build --target test_trainer >&2
for version in ${MUSTER_BENCH_TRANSFORMERS:-4.49.0 4.57.1 5.24.0}; do
  # The same environments as ./run bench python's.
  MUSTER_TRANSFORMERS_PYTHON=$(peer_venv "transformers-$version" torch==2.11.0 torchvision==0.26.0 "transformers==$version" \
    numpy pillow safetensors)
  echo "transformers $version" >&2
  build/test_trainer "[transformers]" --durations yes
done
