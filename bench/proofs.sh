#!/usr/bin/env bash
# ./run bench proofs [--json] [SECTION...]: the tests that show what docs/reliability.md claims of clocks, beats, owners, resumes,
# checkpoints and side files, run one by one with their times. Writes its table. A test that is skipped says so there.
set -euo pipefail
exec python3 bench/proofs.py "$@"
