#!/bin/bash
# Builds the Debian packages for the Debian that runs here, from a clean copy of the sources, with the options of the preset
# `release`. The same sources give the same bytes: times are those of packaging/debian/changelog, and no path of this machine
# comes into them.
#   scripts/build_packages.sh [DIR]     the packages and SHA256SUMS go there (build/packages/debian); what lay there goes
#   JOBS=N                              so many compilers at a time
#   UNITY=yes                           sources of a folder are compiled together: half the time where no compiler cache knows them
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=$(realpath -m "${1:-build/packages/debian}")
die() { printf 'build_packages: error: %s\n' "$*" >&2; exit 1; }

docker/install-packages.sh build packages
version=$(dpkg-parsechangelog -l packaging/debian/changelog -S Version)
project=$(sed -nE 's/^project\(pageserver VERSION ([0-9.]+).*/\1/p' CMakeLists.txt)
[ "${version%%[-~+]*}" = "$project" ] ||
  die "packaging/debian/changelog is at version $version, CMakeLists.txt at $project: add an entry to the changelog"
SOURCE_DATE_EPOCH=$(dpkg-parsechangelog -l packaging/debian/changelog -S Timestamp)
export SOURCE_DATE_EPOCH

# The same folder each time, so that a compiler cache finds what it compiled there. It must not take what was compiled
# elsewhere: link-time optimisation then writes the way from one folder to the other into the lines for backtraces.
unset CCACHE_BASEDIR CCACHE_NOHASHDIR
work=${TMPDIR:-/var/tmp}/pageserver-packages.$(id -u)
[ -d "$work" ] || mkdir -m 700 "$work"
if [ ! -O "$work" ] || [ -L "$work" ]; then
  die "$work is not this user's folder: remove it, or name another place by TMPDIR"
fi
exec {lock}<"$work"
flock --nonblock "$lock" || die "packages are built in $work already: wait, or name another place by TMPDIR"
trap 'rm -rf "${work:?}"/*' EXIT
trap 'exit 130' INT TERM
rm -rf "${work:?}"/*
source=$work/pageserver-$project
mkdir "$source"
scripts/sources.sh '*' | tar --create --files-from=- --file=- | tar --extract --directory="$source" --no-same-owner
cp -r packaging/debian "$source/debian"
chmod -R u=rwX,go=rX "$source"
find "$source" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

options="nocheck parallel=${JOBS:-$(nproc)}"
[ -z "${UNITY:-}" ] || options+=" unity"
(cd "$source" && umask 022 && DEB_BUILD_OPTIONS=$options dpkg-buildpackage --build=binary --no-sign)
rm -rf "$out"
mkdir -p "$out"
mv "$work"/*.deb "$out/"
(cd "$out" && sha256sum -- *.deb >SHA256SUMS)
echo "packages: $(find "$out" -name '*.deb' | wc -l) of version $version in $out"
