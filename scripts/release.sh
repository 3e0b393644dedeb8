#!/bin/bash
# Makes all that a release has, from these sources: Debian packages for the Debian that runs here, an archive for other systems,
# a list of what went into them, checksums; and the container image where a Docker daemon answers. The same sources on the same
# system give the same bytes, but for the image.
#   scripts/release.sh [DIR]      (build/packages/release; what lay there goes)
#   IMAGE=no                      without the image
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=$(realpath -m "${1:-build/packages/release}")
jobs=${JOBS:-$(nproc)}
say() { printf 'release: %s\n' "$*" >&2; }

scripts/build_packages.sh "$out"
version=$(sed -nE 's/^project\(pageserver VERSION ([0-9.]+).*/\1/p' CMakeLists.txt)
SOURCE_DATE_EPOCH=$(dpkg-parsechangelog -l packaging/debian/changelog -S Timestamp)
export SOURCE_DATE_EPOCH
# As for the packages: with them a cache hands out what was compiled at another path.
unset CCACHE_BASEDIR CCACHE_NOHASHDIR

say "the archive"
cmake --preset release >/dev/null
cmake --build --preset release -j "$jobs" >/dev/null
(cd build/release && umask 022 && cpack -B "$PWD/archive" >/dev/null)
# The same archive with names in order and one time: CPack takes the moments at which it copied.
unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked"' EXIT
name=$(basename "$(find build/release/archive -maxdepth 1 -name 'pageserver-*.tar.xz')" .tar.xz)
tar -C "$unpacked" -xf "build/release/archive/$name.tar.xz"
tar -C "$unpacked" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -cf - "$name" |
  xz -T1 -6 >"$out/$name.tar.xz"
scripts/sbom.py build/release >"$out/pageserver-$version.cdx.json"

if [ "${IMAGE:-yes}" != no ] && docker info >/dev/null 2>&1; then
  say "the image"
  docker/base-image.sh
  docker build -q -f docker/Dockerfile -t "pageserver:$version" --build-arg VERSION="$version" \
    --build-arg REVISION="$(git rev-parse HEAD 2>/dev/null || echo unknown)" \
    --build-arg CREATED="$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)" . >/dev/null
  docker save "pageserver:$version" | gzip -n >"$out/pageserver-$version-image.tar.gz"
  say "pageserver:$version has $(docker image inspect -f '{{.Size}}' "pageserver:$version") bytes"
fi
cd "$out"
rm -f SHA256SUMS
sums=$(sha256sum -- *)
printf '%s\n' "$sums" >SHA256SUMS
say "$(wc -l <SHA256SUMS) files of version $version in $out"
