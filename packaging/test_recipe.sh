#!/usr/bin/env bash
# test_recipe.sh ROOT [SETTING...]: does in ROOT, a copy of a bare distribution, what slurm/muster.def says, without Apptainer: its
# files, %post, %test, then its %runscript with `demo`. The SETTINGs go to the demo as --set. Needs root; ROOT is changed.
set -euo pipefail
here=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)
root=$1
shift
recipe=$here/slurm/muster.def

# section NAME: its lines.
section() {
  awk -v name="%$1" '/^%/ {inside = ($1 == name); next} inside' "$recipe"
}

while read -r from to; do
  [ -n "$from" ] || continue
  mkdir -p "$root$(dirname "$to")"
  cp -r "$here/$from" "$root$to"
done < <(section files)
cp /etc/resolv.conf /etc/hosts "$root/etc/"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
{
  echo 'set -e'
  section environment
} >"$root/environment.sh"
{
  cat "$root/environment.sh"
  section post
} >"$root/post.sh"
{
  cat "$root/environment.sh"
  section test
} >"$root/test.sh"
{
  cat "$root/environment.sh"
  section runscript
} >"$root/run.sh"
settings=()
for setting in "$@"; do settings+=(--set "$setting"); done
# shellcheck disable=SC2016  # expanded by the inner bash
unshare --mount --pid --fork --mount-proc="$root/proc" bash -euc '
  root=$1
  shift
  mkdir -p "$root/dev/shm" "$root/work"
  mount -t tmpfs tmpfs "$root/dev/shm"
  for device in null zero random urandom; do touch "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"; done
  chroot "$root" /bin/sh /post.sh
  chroot "$root" /bin/sh /test.sh
  exec chroot "$root" env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 sh -c "cd /work && exec sh /run.sh \"\$@\"" _ demo "$@"
  ' _ "$root" "${settings[@]}" | tee /dev/stderr | grep -q '^AP50 [01]\.[0-9]'
echo "test of the recipe: passed"
