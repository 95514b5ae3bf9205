#!/usr/bin/env bash
# ./run bench faults [--quick] [--json] [--rows FILE] [--jobs N]: every kind of fault in every phase of a tiny run on 2 and 4 ranks
# (--quick: a few on 2): the same bits as undisturbed, or the one right error, with rank and phase named. A fault that did not
# happen is wrong, too. Writes docs/reliability.md's table with the times to notice and to recover.
# --rows: what was measured, a line each; an interrupted matrix goes on from it. --jobs: runs at a time (2): most of a run is waiting.
# Environment: MUSTER_BENCH_RANKS ("2 4").
set -euo pipefail
exec python3 bench/faults.py "$@"
