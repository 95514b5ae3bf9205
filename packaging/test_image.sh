#!/usr/bin/env bash
# test_image.sh [SETTING...]: builds the image of the Dockerfile from dist/muster-*.tar.gz, then runs `muster demo` in it. The
# SETTINGs go to the demo as --set. Needs root and buildah, which builds without a daemon.
#
# MUSTER_TEST_BASE: a folder with a bare distribution (debootstrap makes one, and so does test_tarball.sh) that stands for the
# base image where no registry can be reached.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
[ "$(id -u)" = 0 ] || { echo "test_image: root is needed" >&2; exit 69; }
command -v buildah >/dev/null || { echo "test_image: install buildah" >&2; exit 69; }
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=vfs
image=localhost/muster-test
base=$(awk '$1 == "FROM" {print $2; exit}' Dockerfile)
# What leads apt-get and pip to their packages here is the machine's business, not the image's.
options=(--network host --volume /etc/ssl/certs:/etc/ssl/certs:ro)

if [ -n "${MUSTER_TEST_BASE:-}" ]; then
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$MUSTER_TEST_BASE" / >/dev/null
  buildah commit --quiet --rm "$container" "docker.io/library/$base" >/dev/null
fi
buildah build "${options[@]}" --layers=false --pull=never --tag "$image" .
container=$(buildah from --pull-never "$image")
trap 'buildah rm "$container" >/dev/null' EXIT
settings=()
for setting in "$@"; do settings+=(--set "$setting"); done
echo "$ muster demo ${settings[*]}"
entry=$(buildah inspect --type image --format '{{index .OCIv1.Config.Entrypoint 0}}' "$image")
buildah run "${options[@]}" "$container" "$entry" --version
buildah run "${options[@]}" "$container" "$entry" demo "${settings[@]}" | tee /dev/stderr | grep -q '^AP50 [01]\.[0-9]'
echo "test of the image: passed"
