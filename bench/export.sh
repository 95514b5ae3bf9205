#!/usr/bin/env bash
# ./run bench export: tiny checkpoints of every family, trained and exported by muster, are loaded by Hugging Face transformers:
# no key missing, unexpected or mis-shaped, and the same logits.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
source bench/peer_venv.sh

MUSTER_TRANSFORMERS_PYTHON=$(peer_venv transformers-5.17 torch==2.11.0 transformers==5.17.0 safetensors)
export MUSTER_TRANSFORMERS_PYTHON OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error
cmake --build build --target test_trainer >&2
build/test_trainer "[transformers]" --durations yes
