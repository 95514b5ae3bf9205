# shellcheck shell=bash
# Sourced by benchmarks: an environment for the program compared with, outside the tree, made once.
# peer_venv NAME REQUIREMENT...: prints the path of its python; says on stderr what it installs.
peer_venv() {
  local dir="${MUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/muster}/bench_peers/$1"
  shift
  if ! [ -f "$dir/complete" ]; then
    echo "installing $* into $dir (some GB)" >&2
    mkdir -p "$(dirname "$dir")"
    rm -rf "$dir"
    python3 -m venv "$dir" &&
      "$dir/bin/pip" install -q --disable-pip-version-check "$@" >&2 &&
      touch "$dir/complete"
  fi
  echo "$dir/bin/python"
}
