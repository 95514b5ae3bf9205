# shellcheck shell=bash
# Sourced by benchmarks: environments for the programs compared with, outside the tree, each made once.

# peer_venv NAME REQUIREMENT... [--then REQUIREMENT...]: prints the path of its python; says on stderr what it installs.
# What stands behind --then is installed when the first are there, for a package that builds against them.
peer_venv() {
  local dir="${MUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/muster}/bench_peers/$1"
  shift
  if ! [ -f "$dir/complete" ]; then
    local word first=() second=()
    local -n part=first
    for word in "$@"; do
      if [ "$word" = --then ]; then
        local -n part=second
      else
        part+=("$word")
      fi
    done
    echo "installing ${first[*]} ${second[*]} into $dir (some GB)" >&2
    mkdir -p "$(dirname "$dir")"
    rm -rf "$dir"
    python3 -m venv "$dir" &&
      "$dir/bin/pip" install -q --disable-pip-version-check "${first[@]}" >&2 &&
      { [ ${#second[@]} = 0 ] || "$dir/bin/pip" install -q --disable-pip-version-check "${second[@]}" >&2; } &&
      touch "$dir/complete"
  fi
  echo "$dir/bin/python"
}

# What distributed training is compared with, one environment for all of it. DeepSpeed is a source package: it builds
# against the torch that is there, with no op compiled; torch needs its CUDA libraries to start, even on a CPU.
distributed_peers_venv() {
  DS_ACCELERATOR=cpu DS_BUILD_OPS=0 peer_venv distributed-5.17 torch==2.11.0 transformers==5.17.0 accelerate==1.15.0 \
    safetensors numpy pillow setuptools wheel --then --no-build-isolation deepspeed==0.19.8
}

# For programs of that environment: one thread, the loopback; what DeepSpeed compiles at its first start is kept there.
distributed_peers_environment() {
  local cache="${MUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/muster}/bench_peers"
  export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 DS_ACCELERATOR=cpu GLOO_SOCKET_IFNAME=lo
  export TORCH_EXTENSIONS_DIR="$cache/distributed-ops"
}
