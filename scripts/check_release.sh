#!/bin/bash
# Looks at a release build as a packager would: the programs tell the project's version, and the shared libraries
# need nothing but the C++ runtime: OpenSSL is loaded when it is needed.
#   scripts/check_release.sh build/release
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tree=$1
version=$(sed -nE 's/^project\(pageserver VERSION ([0-9.]+).*/\1/p' CMakeLists.txt)
for program in pageserverd pagectl; do
  said=$("$tree/bin/$program" --version)
  [[ "$said" == *"$version"* ]] || { echo "$program --version says '$said', expected $version"; exit 1; }
  if "$tree/bin/$program" --no-such-flag >/dev/null 2>&1; then
    echo "$program accepts an unknown flag"
    exit 1
  fi
done
for name in 'libpageserver.so' 'libpageserver++.so'; do
  library=$(find "$tree" -name "$name" | head -n 1)
  [ -n "$library" ] || { echo "no $name under $tree"; exit 1; }
  needed=$(readelf -d "$library" | sed -nE 's/.*\(NEEDED\).*\[(.*)\]/\1/p')
  for each in $needed; do
    case $each in
      libstdc++.so.* | libgcc_s.so.* | libm.so.* | libc.so.* | ld-linux*) ;;
      *) echo "$library needs $each"; exit 1 ;;
    esac
  done
done
soname=$(readelf -d "$(find "$tree" -name 'libpageserver.so' | head -n 1)" | sed -nE 's/.*\(SONAME\).*\[(.*)\]/\1/p')
[ "$soname" = libpageserver.so.1 ] || { echo "the soname of the C library is '$soname', expected libpageserver.so.1"; exit 1; }
echo "release: version $version, the libraries need only: ${needed//$'\n'/ }"
