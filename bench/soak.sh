#!/usr/bin/env bash
# ./run bench soak [--steps N] [--every N] [--ranks N] [--seed K] [--json]: a tiny run of N steps (4,000) without a disturbance, and the
# same run with a process of it killed at random about every N steps (500): a rank, or mpirun. The bits must be the same, memory flat, and
# no process, port, file descriptor or file of shared memory may be left. Writes docs/reliability.md's table.
set -euo pipefail
exec python3 bench/soak.py "$@"
