#!/usr/bin/env bash
# test_tarball.sh TARBALL [SETTING...]: another root, made of a bare distribution, with nothing of this machine in it but the
# network's settings: unpack, run `muster demo` in it as a user of its own. Needs root, debootstrap and unshare.
#
# MUSTER_TEST_SUITE: the distribution's release, bookworm unless said; jammy is Ubuntu 22.04 (packages debootstrap, ubuntu-keyring).
set -euo pipefail
tarball=$(readlink -f "$1")
shift
[ "$(id -u)" = 0 ] || { echo "test_tarball: root is needed to make another root" >&2; exit 69; }
command -v debootstrap >/dev/null || { echo "test_tarball: install debootstrap" >&2; exit 69; }
suite=${MUSTER_TEST_SUITE:-bookworm}
root=${MUSTER_TEST_ROOT:-/var/tmp/muster-root-$suite}

if [ ! -f "$root/complete" ]; then
  rm -rf "$root"
  # shellcheck disable=SC2016  # words of apt-get's own format
  mirror=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' | awk -v c="$suite" '$1==c {print $2; exit}')
  components=main
  if [ "$suite" = jammy ] || [ "$suite" = noble ]; then components=main,universe; fi   # Ubuntu's pip is in universe
  debootstrap --variant=minbase --components="$components" --include=ca-certificates,python3,python3-pip,python3-venv,libgomp1,libstdc++6 \
    "$suite" "$root" "${mirror:-}" >/dev/null
  touch "$root/complete"
fi
cp /etc/resolv.conf /etc/hosts "$root/etc/"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
rm -rf "$root/home/new"
chroot "$root" useradd --create-home --home-dir /home/new new 2>/dev/null || mkdir -p "$root/home/new"
cp "$tarball" "$root/home/new/"
cat >"$root/home/new/steps.sh" <<'STEPS'
set -euo pipefail
show() {
  printf '\n$ %s\n' "$*"
  "$@"
}
. /etc/os-release
echo "$PRETTY_NAME, user $(id -un); compilers: $(command -v gcc g++ cc clang || echo none); MPI: $(command -v mpirun || echo none)"
tar=$(echo muster-*.tar.gz)
show tar xzf "$tar"
PATH="$PWD/$(basename "$tar" .tar.gz)/bin:$PATH"
show muster --version
mkdir work
cd work
settings=()
for setting in "$@"; do settings+=(--set "$setting"); done
show muster demo "${settings[@]}" | tee demo.txt
grep -q '^AP50 [01]\.[0-9]' demo.txt
echo "test of another root: passed"
STEPS
chroot "$root" chown -R new /home/new
variables=(HOME=/home/new PATH=/usr/bin:/bin LANG=C.UTF-8)
for name in $(compgen -e PIP_) http_proxy https_proxy no_proxy; do
  if [ -n "${!name:-}" ]; then variables+=("$name=${!name}"); fi
done
# shellcheck disable=SC2016  # expanded by the inner bash
unshare --mount --pid --fork --mount-proc="$root/proc" bash -c '
  root=$1
  shift
  mount -t tmpfs tmpfs "$root/dev/shm" 2>/dev/null || { mkdir -p "$root/dev/shm"; mount -t tmpfs tmpfs "$root/dev/shm"; }
  mount --bind /dev/null "$root/dev/null"
  mount --bind /dev/urandom "$root/dev/urandom"
  exec chroot --userspec=new "$root" env -i "$@"' _ "$root" "${variables[@]}" \
  bash -c 'cd /home/new && exec bash steps.sh "$@"' _ "$@"
