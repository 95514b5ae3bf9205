#!/usr/bin/env bash
# test_wheel.sh WHEEL [SETTING...]: a user without root, sudo, compilers, MPI or an earlier cache makes an environment, installs
# the wheel and runs `muster demo`. Needs root, to become that user. The SETTINGs go to the demo as --set.
#
# MUSTER_TEST_TORCH=1: torch is installed into the environment first, as most users of Python have it.
set -euo pipefail
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
wheel=$(readlink -f "$1")
shift

# The tag is true, and the check can tell one that is not.
"$here/check_wheel.py" "$wheel"
old=$(mktemp -d)
ln -s "$wheel" "$old/muster-0-py3-none-manylinux_2_17_x86_64.whl"
if "$here/check_wheel.py" "$old"/*.whl 2>/dev/null; then echo "test_wheel: check_wheel.py takes any tag" >&2; exit 70; fi
rm -r "$old"

[ "$(id -u)" = 0 ] || { echo "test_wheel: root is needed to become user nobody" >&2; exit 69; }

home=$(mktemp -d /tmp/muster-nobody.XXXXXX)
trap 'rm -rf "$home"' EXIT
cp "$wheel" "$home/"
# PATH has the programs of a bare system and no compiler, no mpirun. The system's Python: one in root's home is not for others.
mkdir "$home/bin"
for program in python3 bash sh env ls cat head tail tee find grep sed awk mkdir rm cp mv ln chmod date uname tr sort wc sleep nproc \
  id readlink dirname basename; do
  if found=$(PATH=/usr/bin:/bin command -v "$program"); then ln -s "$(readlink -f "$found")" "$home/bin/$program"; fi
done
for compiler in gcc g++ cc c++ clang cmake ninja make mpirun mpicc; do
  if PATH="$home/bin" command -v "$compiler" >/dev/null; then echo "test_wheel: $compiler is in PATH" >&2; exit 70; fi
done
chown -R nobody "$home"
chmod 755 "$home"

variables=(HOME="$home" PATH="$home/bin" LANG=C.UTF-8 TERM=dumb MUSTER_TEST_TORCH="${MUSTER_TEST_TORCH:-}")
# What leads pip to its packages here is the machine's business, not the user's.
for name in $(compgen -e PIP_) $(compgen -e SSL_) http_proxy https_proxy no_proxy; do
  if [ -n "${!name:-}" ]; then variables+=("$name=${!name}"); fi
done
cd "$home"
setpriv --reuid=nobody --regid=nogroup --clear-groups --no-new-privs \
  env -i "${variables[@]}" bash "$here/as_new_user.sh" "$home/$(basename "$wheel")" "$@"
