#!/usr/bin/env bash
# Speeds of the data room on this machine: JPEG to patches, tokenizer, loader threads.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
export OMP_NUM_THREADS=1
for test in "image: speed*" "tokenizer: speed*" "throughput*"; do
  build/test_data "$test" --durations yes
done
