#!/usr/bin/env bash
# Builds the images scaleout-master and scaleout-worker from this machine's files; no image is pulled.
# Usage: deploy/build.sh [TAG]   BINARY: the static binary, default bin/scaleout
set -euo pipefail
cd "$(dirname "$0")"
tag=${1:-${SCALEOUT_TAG:-local}}
binary=${BINARY:-../bin/scaleout}
context=build
mkdir -p "$context"

static() { # an interpreter is named by what needs the system's loader
  [ -x "$1" ] && ! grep -aq 'ld-linux\|ld-musl' <(head -c 4096 "$1")
}

busybox=$(command -v busybox || true)
if [ -z "$busybox" ] || ! static "$busybox"; then
  busybox=$context/busybox
  if ! static "$busybox"; then
    echo "fetching Debian's busybox-static"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    (cd "$work" && apt-get download -q busybox-static && dpkg-deb -x busybox-static_*.deb .) ||
      { echo "a static busybox is needed: apt-get install busybox-static" >&2; exit 1; }
    install -m 755 "$(find "$work" -path '*bin/busybox' -type f | head -1)" "$context/busybox"
  fi
fi
static "$binary" || { echo "$binary is not there or not static: run 'make build'" >&2; exit 1; }
[ "$busybox" -ef "$context/busybox" ] || install -m 755 "$busybox" "$context/busybox"
install -m 755 "$binary" "$context/scaleout"
# Without the plug-in the older builder does as well.
docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0
for target in master worker; do
  docker build -q --target "$target" -t "scaleout-$target:$tag" . 2> >(grep -v -i 'deprecated\|buildkit\|^ *environment-variable\|^$' >&2)
done
