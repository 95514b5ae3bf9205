#!/usr/bin/env bash
# ./run bench head [--json] [--write] [--rows FILE] [--minutes M] [--seeds N] [--sets NAME...] [--only CHOICE...]: what each choice of the
# detection head brings, on small objects (shapes of 6 to 20 pixels in 336), crowds (50 to 80 of them) and BCCD. The network and schedule
# are configs/bccd_small.yaml's; `before` is the head without any of the choices, `all` has all, the others leave one out. Every run
# trains for M minutes (10) of one core, whatever its step costs: as many steps as 30 tried before all runs say, so that only those need
# a machine that does nothing else. Two run at a time, each of one rank of one thread. --rows: what was measured, a line each; an
# interrupted comparison goes on from it. --write: into docs/recipes.md.
# Environment: MUSTER_SHARED (the tokenizer; BCCD).
set -euo pipefail
exec python3 bench/head.py "$@"
