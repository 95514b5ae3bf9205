#!/usr/bin/env bash
# as_new_user.sh WHEEL [SETTING...]: what somebody types who has just heard of muster. Run by test_wheel.sh and test_tarball.sh.
set -euo pipefail
wheel=$1
shift

show() {
  printf '\n$ %s\n' "$*"
  "$@"
}

echo "user $(id -un), home $HOME with $(find "$HOME" -mindepth 1 -not -path "$HOME/bin*" | wc -l) file(s)"
show python3 -m venv env
# shellcheck source=/dev/null  # made one line above
. env/bin/activate
if [ -n "${MUSTER_TEST_TORCH:-}" ]; then show python3 -m pip install --quiet --no-deps torch==2.11.0; fi
show python3 -m pip install --quiet "$wheel"
show muster --version
show muster launch --help >help.txt
settings=()
for setting in "$@"; do settings+=(--set "$setting"); done
show muster demo "${settings[@]}" | tee demo.txt
show muster --version
grep -q '^AP50 [01]\.[0-9]' demo.txt
[ -s runs/demo/report.html ]
echo "test of a new user: passed"
