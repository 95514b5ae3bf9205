#!/usr/bin/env bash
# run.sh BUILD SECONDS [TARGET...]: fuzzes each target for so long, as many at once as there are cores. What a target
# found in earlier calls is in BUILD/corpus and is where it goes on. An input that crashes a reader stays in BUILD/crashes.
set -euo pipefail
readonly kBuild="$1" kSeconds="$2"
shift 2
kHere=$(dirname "$(readlink -f "$0")")
readonly kHere

# fuzz_one TARGET: one line of what came of it; 1 after a crash.
fuzz_one() {
  local target="$1" log="$kBuild/logs/$1.log" found
  mkdir -p "$kBuild/corpus/$target" "$kBuild/crashes" "$kBuild/logs"
  if "$kBuild/fuzz_$target" -max_total_time="$kSeconds" -timeout=10 -rss_limit_mb=3072 -print_final_stats=1 \
    -artifact_prefix="$kBuild/crashes/$target-" "$kBuild/corpus/$target" "$kBuild/seeds/$target" >"$log" 2>&1; then
    printf 'ok    %-12s %s inputs\n' "$target" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
    return 0
  fi
  found=$(sed -n "s/.*Test unit written to //p" "$log" | tail -1)
  printf 'FAIL  %-12s %s\n' "$target" "$(grep -m1 -E '^(SUMMARY|==[0-9]+== ?ERROR|terminate)' "$log" || tail -1 "$log")"
  printf '      again: %s %s\n      all of it: %s\n' "$kBuild/fuzz_$target" "${found:-(it left no input)}" "$log"
  return 1
}

targets() {
  sed -n 's/^muster_fuzz(\([a-z_]*\).*/\1/p' "$kHere/CMakeLists.txt"
}

if [ "${FUZZ_ONE:-}" != "" ]; then
  fuzz_one "$FUZZ_ONE"
  exit
fi
if [ $# -eq 0 ]; then mapfile -t all < <(targets); else all=("$@"); fi
for target in "${all[@]}"; do
  if [ ! -x "$kBuild/fuzz_$target" ]; then
    printf 'no fuzz target %s; there are: %s\n' "$target" "$(targets | tr '\n' ' ')" >&2
    exit 1
  fi
done
"$kHere/make_seeds.sh" "$kBuild" "$kBuild/seeds"
export UBSAN_OPTIONS="print_stacktrace=1 ${UBSAN_OPTIONS:-}"
printf '%s\n' "${all[@]}" | xargs -P "$(nproc)" -I{} env FUZZ_ONE={} "$0" "$kBuild" "$kSeconds"
