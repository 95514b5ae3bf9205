#!/usr/bin/env bash
# ./run bench faults [--quick] [--json]: every kind of fault in every phase of a tiny run on 2 and 4 ranks (--quick: a few on
# 2): the same bits as undisturbed, or the one right error, with rank and phase named. Writes docs/reliability.md's table with
# the times to notice and to recover. Environment: MUSTER_BENCH_RANKS ("2 4").
set -euo pipefail
exec python3 bench/faults.py "$@"
